"""ShuffleNetV2 of the article on training it in Keras (the fourth), written down once more in PyTorch.

Facts: ``same`` padding; stem and last convolution with bias, without norm and ReLU; norm epsilon 0.001; shuffle
(2, C/2) at the end of every unit; the shortcut of stride-2 units keeps its channels, the branch's middle is half of
them; contiguous halves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from originals.same import conv_same, max_pool_same
from torch import Tensor, nn


class SameConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return conv_same(x, self.weight, self.bias, self.stride[0], self.groups)


class ConvBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, depthwise: bool = False) -> None:
        super().__init__()
        self.conv = SameConv(inputs, outputs, kernel, stride, groups=inputs if depthwise else 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)
        self.depthwise = depthwise

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return x if self.depthwise else F.relu(x)


def shuffle(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        entry, middle = (inputs, inputs // 2) if stride == 2 else (outputs // 2, outputs // 2)
        made = outputs - inputs if stride == 2 else outputs // 2
        if stride == 2:
            self.shortcut = nn.Sequential(ConvBlock(inputs, inputs, 3, 2, depthwise=True), ConvBlock(inputs, inputs))
        self.branch = nn.Sequential(
            ConvBlock(entry, middle), ConvBlock(middle, middle, 3, stride, depthwise=True), ConvBlock(middle, made)
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = (self.shortcut(x), x) if self.stride == 2 else x.chunk(2, 1)
        return shuffle(torch.cat((left, self.branch(right)), 1))


class ShuffleNet(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = SameConv(3, 24, 3, 2)
        self.stages = nn.ModuleList()
        before = 24
        for after, repeats in ((116, 4), (232, 8), (464, 4)):
            blocks = [Unit(before, after, 2), *(Unit(after, after, 1) for _ in range(repeats - 1))]
            self.stages.append(nn.Sequential(*blocks))
            before = after
        self.last = SameConv(before, 1024, 1)
        self.dropout = nn.Dropout(0.5)
        self.dense = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = max_pool_same(self.stem(x))
        for stage in self.stages:
            x = stage(x)
        return self.dense(self.dropout(self.last(x).mean((2, 3))))
