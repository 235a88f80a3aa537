"""First weights as frameworks and authors draw them, where a recipe repeats theirs.

=====================  ==============================  ========================  ======================================
style                  convolutions                    linear layers             source
=====================  ==============================  ========================  ======================================
pytorch                uniform, He with a = sqrt(5)    likewise                  PyTorch's ``reset_parameters``
xavier-uniform         uniform, Glorot                 as pytorch                MindSpore with ``weight_init=...``
kaiming-normal         normal, He, fan out             N(0, 0.01)                torchvision's MobileNets
keras                  uniform, Glorot                 uniform, Glorot           Keras's ``glorot_uniform``
jaxony                 normal, He, fan out             N(0, 0.001)               jaxony/ShuffleNet
megvii                 N(0, 1 / channels of a group)   N(0, 0.01)                megvii-model/ShuffleNet-Series
mindcv-shufflenet      as megvii                       N(0, 0.01)                mindspore-lab/mindcv, shufflenetv1, v2
mindcv-mobilenet-v1    uniform, Glorot                 N(0, 0.01) cut at 0.02    mindspore-lab/mindcv, mobilenetv1
=====================  ==============================  ========================  ======================================

With megvii and mindcv-shufflenet the first convolution is N(0, 0.01). Biases are zero, those of PyTorch's own linear
layers and convolutions uniform, those of Megvii's batch norms 0.0001. Scales of batch norms are one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import init

from featherlight.training.recipe import Initialisation

Draw = Callable[[nn.Conv2d | nn.Linear], None]


@dataclass(frozen=True)
class Style:
    """How fresh weights are drawn.

    Attributes:
        convolution: fills a convolution's weight.
        linear: fills a linear layer's weight.
        first: fills the first convolution's weight.
        norm_bias: of batch norms.
    """

    convolution: Draw
    linear: Draw
    first: Draw | None = None
    norm_bias: float = 0.0


def initialise(network: nn.Module, style: Initialisation) -> None:
    """Draws a network's weights anew from PyTorch's random numbers; ``network`` leaves them as they are."""
    if style == "network":
        return
    drawn = _STYLES[style]
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    first = next((layer for layer in layers if isinstance(layer, nn.Conv2d)), None)
    for layer in layers:
        if isinstance(layer, nn.Linear):
            drawn.linear(layer)
        else:
            (drawn.first if layer is first and drawn.first else drawn.convolution)(layer)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            init.ones_(module.weight)
            init.constant_(module.bias, drawn.norm_bias)


def set_norm_momentum(network: nn.Module, momentum: float | None) -> None:
    """Sets the weight of a batch in the running statistics of all batch norms; None leaves them as they are."""
    for module in network.modules() if momentum is not None else ():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum


def _pytorch(layer: nn.Conv2d | nn.Linear) -> None:
    layer.reset_parameters()


def _zero_bias(fill: Callable[[Tensor], object]) -> Draw:
    def draw(layer: nn.Conv2d | nn.Linear) -> None:
        fill(layer.weight)
        if layer.bias is not None:
            init.zeros_(layer.bias)

    return draw


def _glorot(layer: nn.Conv2d | nn.Linear) -> None:
    """Uniform between -+sqrt(6 / (fan in + fan out)); grouped 1x1 convolutions are as many convolutions as groups."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) else 1
    fan_in = layer.weight[0].numel()
    fan_out = layer.weight.shape[0] // groups * layer.weight[0, 0].numel()
    bound = math.sqrt(6 / (fan_in + fan_out))
    _zero_bias(lambda weight: init.uniform_(weight, -bound, bound))(layer)


def _normal_by_channels(layer: nn.Conv2d | nn.Linear) -> None:
    _zero_bias(lambda weight: init.normal_(weight, 0, 1 / weight.shape[1]))(layer)


_he_normal = _zero_bias(lambda weight: init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu"))
_normal_001 = _zero_bias(lambda weight: init.normal_(weight, 0, 0.01))
_normal_0001 = _zero_bias(lambda weight: init.normal_(weight, 0, 0.001))
_truncated = _zero_bias(lambda weight: init.trunc_normal_(weight, 0, 0.01, -0.02, 0.02))

_STYLES: dict[str, Style] = {
    "pytorch": Style(_pytorch, _pytorch),
    "xavier-uniform": Style(_glorot, _pytorch),
    "kaiming-normal": Style(_he_normal, _normal_001),
    "keras": Style(_glorot, _glorot),
    "jaxony": Style(_he_normal, _normal_0001),
    "megvii": Style(_normal_by_channels, _normal_001, _normal_001, norm_bias=1e-4),
    "mindcv-shufflenet": Style(_normal_by_channels, _normal_001, _normal_001),
    "mindcv-mobilenet-v1": Style(_glorot, _truncated),
}
