"""Images that grow while a network is trained: most of what it learns at first, it learns from smaller ones as well.

Progressive resizing, as in Howard 2018 (fast.ai's DAWNBench entry) and EfficientNetV2 (Tan and Le 2021, section 4).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

FIRST, WHOLE = 5, 8  # eighths of the side: 5, 6 and 7 while images grow, then 8
MULTIPLE = 4  # pixels; whatever the network shrinks by, little is lost at its borders


def side_at(side: int, grow: float, part_done: float) -> int:
    """Side of the images, pixels, when so much of the run is done.

    Args:
        side: of the network's input.
        grow: part of the run in which images are smaller; 0: never.
        part_done: of the run, in [0, 1].
    """
    if part_done >= grow:
        return side
    eighths = FIRST + int((WHOLE - FIRST) * part_done / grow)
    return min(side, -(-side * eighths // (WHOLE * MULTIPLE)) * MULTIPLE)


def shrink(images: Tensor, side: int) -> Tensor:
    """Images (N, C, S, S) with ``side`` pixels a side, as they would have been resized from the original."""
    if images.shape[3] == side:
        return images
    return F.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)
