"""What Pillow makes of an image, in the plainest way: the measure for what Featherlight makes of it."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def decode_plainly(data: bytes) -> np.ndarray | None:
    """RGB uint8 (H, W, 3), upright, on white; None when Pillow cannot read it or warns that it is a bomb.

    Images of more than 8 bits come as their mode's numbers (H, W): how they become 8 bits is not Pillow's to say.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                image.load()
                if image.mode == "P" and image.palette is None:  # Pillow shows the bare numbers, browsers show nothing
                    return None
                return _flatten(_upright(image))
        except Exception:
            return None


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF that cannot be read says nothing
        return image


def _flatten(image: Image.Image) -> np.ndarray:
    if image.mode[0] in "IF":
        return np.array(image)
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.new("RGBA", over.size, "white")
        image.alpha_composite(over)
    return np.array(image.convert("RGB"))
