"""What a chain of convolutions consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["norm", "pointwise", "depthwise", "stem"]
ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 2, "hardswish": 3}


@dataclass(frozen=True)
class Link:
    """One convolution with its batch norm and activation.

    Attributes:
        kind: ``norm`` is a batch norm of what comes in, without a convolution; ``stem`` a convolution of few channels.
        activation: after the norm.
        groups: of a pointwise convolution.
        stride: of a depthwise convolution or a stem.
        padding: of a depthwise convolution or a stem.
        momentum: of the running statistics.
        eps: of the norm.
        shuffle: a pointwise convolution's input channels are first shuffled in that many groups; 1: not.
        shuffled: of a depthwise convolution: its parameters stand for channels that were shuffled in that many groups,
            but input and output are not; 0: they are. A shuffle in front of a depthwise convolution is the same as one
            behind it, where the next pointwise convolution undoes it for nothing.
    """

    kind: Kind
    activation: str
    groups: int = 1
    stride: int = 1
    padding: int = 0
    momentum: float = 0.1
    eps: float = 1e-5
    shuffle: int = 1
    shuffled: int = 0


@dataclass(frozen=True)
class Ending:
    """What becomes of a chain's result z.

    Attributes:
        kind: ``plain``: nothing.
            ``split``: a unit of ShuffleNetV2. The chain begins with a pointwise convolution, keeps the shape and
            computes the second half of the channels; then both halves are concatenated and shuffled in two groups.
            ``join``: the same with another tensor of z's shape in the place of the first half.
            ``add``: a residual connection, ``activation(z + other)``; ``other`` is the chain's input unless one is
            given. The last link has no activation, and the first one is a pointwise convolution.
            ``pool``: a unit of ShuffleNetV1 that halves the image, ``activation(cat(pooled, z))``, with the chain's
            input averaged over 3 x 3 pixels at stride 2 in front. The links are as for ``add``.
            ``mean``: over all pixels of an image, in float32.
        activation: after adding or concatenating: "none", "relu" or "relu6".
    """

    kind: Literal["plain", "split", "join", "add", "pool", "mean"] = "plain"
    activation: str = "none"


PLAIN = Ending()
