"""How published networks of a family differ in what they compute. The defaults are the papers' networks.

A difference that is only an order of channels is no option: it is folded into weights when they are loaded
(``featherlight.interop``). Names in parentheses say who published what; ``variants`` has the whole combinations and
the sources. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from featherlight.errors import UsageError

Padding = Literal["symmetric", "same"]
PoolPadding = Literal["symmetric", "same", "ceil"]
Shuffle = Literal["paper", "inverse"]
Output = Literal["logits", "softmax", "log_softmax"]


@dataclass(frozen=True)
class ConvStyle:
    """What all convolutions of a network have in common.

    Attributes:
        bias: convolutions have one although a batch normalisation follows. Without a norm there always is one.
        norm_eps: added to the variance in batch normalisation.
        padding: of 3x3 convolutions with stride 2. "symmetric" pads 1 on every side. "same" is TensorFlow's and
            MindSpore's: 1 on every side of odd sizes, but only 1 at the bottom and the right of even ones.
    """

    bias: bool = False
    norm_eps: float = 1e-5
    padding: Padding = "symmetric"


@dataclass(frozen=True)
class ShuffleNetV1Options:
    """Where published ShuffleNetV1s differ in function.

    Attributes:
        shuffle: "inverse" undoes the paper's permutation: reshape to (C/g, g), transpose, flatten (Megvii, MindSpore,
            mindcv; needed with 8 groups below width 2 only, elsewhere it is an order of channels).
        middle: channels between the 1x1 convolutions of a stride-2 unit: a quarter of the unit's "output", or of what
            its "branch" adds to the shortcut (kuangliu). Stride-1 units have a quarter of the output.
        depthwise_activation: ReLU after the depthwise convolution, too (kuangliu).
        conv_bias: convolutions have a bias (jaxony).
        stem_kernel: side of the first convolution, 3 or 1 (kuangliu); 1 goes unpadded.
        stem_norm: norm and ReLU after the first convolution; without them (jaxony) it has a bias.
        pool_padding: of the poolings, see :class:`ConvStyle`. "same" (MindSpore, mindcv) leaves the padding out of an
            average's divisor, "symmetric" counts its zeros.
        stage4: channels after stage 4 where they are not the paper's (jaxony's 567 with one group).
        classifier_bias: the classifier has a bias; not with Megvii and mindcv.
        norm_eps: added to the variance in batch normalisation.
        output: what the network returns (log_softmax in jaxony's repository).

    Raises:
        UsageError: a value that does not exist.
    """

    shuffle: Shuffle = "paper"
    middle: Literal["output", "branch"] = "output"
    depthwise_activation: bool = False
    conv_bias: bool = False
    stem_kernel: Literal[3, 1] = 3
    stem_norm: bool = True
    pool_padding: Padding = "symmetric"
    stage4: int | None = None
    classifier_bias: bool = True
    norm_eps: float = 1e-5
    output: Output = "logits"

    def __post_init__(self) -> None:
        _check(self)

    @property
    def style(self) -> ConvStyle:
        """Of every convolution."""
        return ConvStyle(bias=self.conv_bias, norm_eps=self.norm_eps)


@dataclass(frozen=True)
class ShuffleNetV2Options:
    """Where published ShuffleNetV2s differ in function.

    Attributes:
        shuffle: "inverse" sends even channels past the next unit and odd ones through it, in this order (Megvii;
            needed from width 1 on, at 0.5 it is an order of channels).
        shortcut: channels that the shortcut of a stride-2 unit makes: "half" of the output, or as many as its "input"
            (Megvii, the Keras article, pytorchcv's ShuffleNetV2b). They differ in the first such unit.
        middle: channels between the 1x1 convolutions of a stride-2 unit: half of the "output", or of the "input"
            (Keras article).
        stem_norm: norm and ReLU after the first convolution; without them (Keras article) it has a bias.
        last_norm: the same for the last convolution.
        last_channels: of the last convolution where they are not the paper's (pytorchcv's 1553 and 2153).
        padding: of convolutions with stride 2, see :class:`ConvStyle` ("same": Keras article).
        pool_padding: of the pooling in the stem. "ceil" (pytorchcv) pads nothing but lets the last window reach over
            the edge; for even sizes that is "same".
        classifier_bias: the classifier has a bias; not with Megvii.
        norm_eps: added to the variance in batch normalisation (0.001 in the Keras article).
        output: what the network returns.

    Raises:
        UsageError: a value that does not exist.
    """

    shuffle: Shuffle = "paper"
    shortcut: Literal["half", "input"] = "half"
    middle: Literal["output", "input"] = "output"
    stem_norm: bool = True
    last_norm: bool = True
    last_channels: int | None = None
    padding: Padding = "symmetric"
    pool_padding: PoolPadding = "symmetric"
    classifier_bias: bool = True
    norm_eps: float = 1e-5
    output: Output = "logits"

    def __post_init__(self) -> None:
        _check(self)

    @property
    def style(self) -> ConvStyle:
        """Of every convolution."""
        return ConvStyle(norm_eps=self.norm_eps, padding=self.padding)


@dataclass(frozen=True)
class MobileNetV1Options:
    """Where published MobileNetV1s differ in function.

    Attributes:
        activation: after every norm. The paper says ReLU (so pytorchcv, mindcv, kuangliu), its authors' code uses ReLU6
            (so timm, the Ascend course).
        padding: of convolutions with stride 2, see :class:`ConvStyle` ("same" in the authors' code).
        norm_eps: added to the variance in batch normalisation (0.001 in the authors' code).
        output: what the network returns ("softmax" in the Ascend course).

    Raises:
        UsageError: a value that does not exist.
    """

    activation: Literal["relu6", "relu"] = "relu6"
    padding: Padding = "symmetric"
    norm_eps: float = 1e-5
    output: Output = "logits"

    def __post_init__(self) -> None:
        _check(self)

    @property
    def style(self) -> ConvStyle:
        """Of every convolution."""
        return ConvStyle(norm_eps=self.norm_eps, padding=self.padding)


Options = ShuffleNetV1Options | ShuffleNetV2Options | MobileNetV1Options
AnyOptions = TypeVar("AnyOptions", bound=Options)


def change_options(options: AnyOptions, changes: Mapping[str, Any]) -> AnyOptions:
    """``options`` with some values changed; nothing about ``changes`` is taken on trust.

    Raises:
        UsageError: there is no such option, or no such value.
    """
    known = get_type_hints(type(options))
    for name in changes:
        if name not in known:
            raise UsageError(f"there is no option {str(name)[:40]!r}; these exist: {', '.join(known)}")
    return replace(options, **changes)


def _check(options: Options) -> None:
    for name, kind in get_type_hints(type(options)).items():
        value, expected = getattr(options, name), _expected(kind)
        if not _fits(value, kind):
            raise UsageError(f"option {name} is {value!r:.40}; give {expected}")


def _fits(value: Any, kind: Any) -> bool:
    if get_args(kind) and kind != int | None:
        return any(value == choice and type(value) is type(choice) for choice in get_args(kind))
    if kind is bool:
        return isinstance(value, bool)
    if kind is float:
        return isinstance(value, float) and 0 < value < math.inf
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 2**16)


def _expected(kind: Any) -> str:
    if get_args(kind) and kind != int | None:
        return " or ".join(str(choice) for choice in get_args(kind))
    return {bool: "true or false", float: "a positive number"}.get(kind, "a whole number from 1 to 65,536, or nothing")
