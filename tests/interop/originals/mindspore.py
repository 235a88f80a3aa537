"""ShuffleNetV1 of MindSpore's course notes (the first article) and of mindcv, written down once more in PyTorch.

Facts: shuffle by reshape to (C/g, g), transpose, before the depthwise convolution; grouped convolutions are lists of
convolutions; poolings with ``same`` padding, which the average leaves out of its divisor. mindcv's classifier has no
bias.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from originals.megvii import V1_CHANNELS
from originals.same import avg_pool_same, max_pool_same
from torch import Tensor, nn


class GroupConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        parts = (nn.Conv2d(inputs // groups, outputs // groups, 1, bias=False) for _ in range(groups))
        self.convs = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.chunk(len(self.convs), 1)
        return torch.cat([convolution(part) for convolution, part in zip(self.convs, parts, strict=True)], 1)


class ShuffleV1Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, group: int, first: bool, stride: int) -> None:
        super().__init__()
        self.stride, self.group, middle = stride, group, outputs // 4
        made = outputs - inputs if stride == 2 else outputs
        self.branch_main_1 = nn.Sequential(
            GroupConv(inputs, middle, 1 if first else group), nn.BatchNorm2d(middle), nn.ReLU()
        )
        self.branch_main_2 = nn.Sequential(
            nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False),
            nn.BatchNorm2d(middle),
            GroupConv(middle, made, group),
            nn.BatchNorm2d(made),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch_main_1(x)
        n, c, h, w = out.shape
        out = out.reshape(n, c // self.group, self.group, h, w).transpose(1, 2).reshape(n, c, h, w)
        out = self.branch_main_2(out)
        if self.stride == 1:
            return F.relu(x + out)
        return F.relu(torch.cat((avg_pool_same(x), out), 1))


class ShuffleNetV1(nn.Module):
    def __init__(self, group: int, size: str, n_class: int = 1000, bias: bool = True) -> None:
        super().__init__()
        before, *stages = V1_CHANNELS[group, size]
        self.first_conv = nn.Sequential(nn.Conv2d(3, before, 3, 2, 1, bias=False), nn.BatchNorm2d(before), nn.ReLU())
        blocks = []
        for stage, (after, repeats) in enumerate(zip(stages, (4, 8, 4), strict=True)):
            for i in range(repeats):
                blocks.append(ShuffleV1Block(before, after, group, stage == 0 and i == 0, 1 if i else 2))
                before = after
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Linear(before, n_class, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(max_pool_same(self.first_conv(x)))
        return self.classifier(x.mean((2, 3)))
