"""jaxony/ShuffleNet, model.py, written down once more (the same network as the second article's), without its head.

Facts: shuffle (g, C/g) before the depthwise convolution, [pool, branch], every convolution with bias, first one
without norm and ReLU, ReLU after the concatenation. The repository ends in log_softmax, the article in logits.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = {1: (24, 144, 288, 567), 2: (24, 200, 400, 800), 3: (24, 240, 480, 960), 4: (24, 272, 544, 1088)}
CHANNELS[8] = (24, 384, 768, 1536)


def shuffle(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, groups: int, grouped: bool, stride: int) -> None:
        super().__init__()
        self.groups, self.stride, middle = groups, stride, outputs // 4
        made = outputs - inputs if stride == 2 else outputs
        self.g_conv_1x1_compress = nn.Sequential(
            OrderedDict(
                conv1x1=nn.Conv2d(inputs, middle, 1, groups=groups if grouped else 1),
                batch_norm=nn.BatchNorm2d(middle),
                relu=nn.ReLU(),
            )
        )
        self.depthwise_conv3x3 = nn.Conv2d(middle, middle, 3, stride, 1, groups=middle)
        self.bn_after_depthwise = nn.BatchNorm2d(middle)
        self.g_conv_1x1_expand = nn.Sequential(
            OrderedDict(conv1x1=nn.Conv2d(middle, made, 1, groups=groups), batch_norm=nn.BatchNorm2d(made))
        )

    def forward(self, x: Tensor) -> Tensor:
        out = shuffle(self.g_conv_1x1_compress(x), self.groups)
        out = self.g_conv_1x1_expand(self.bn_after_depthwise(self.depthwise_conv3x3(out)))
        if self.stride == 2:
            return F.relu(torch.cat((F.avg_pool2d(x, 3, 2, 1), out), 1))
        return F.relu(x + out)


class ShuffleNet(nn.Module):
    def __init__(
        self, groups: int = 3, in_channels: int = 3, num_classes: int = 1000, log_softmax: bool = False
    ) -> None:
        super().__init__()
        self.log_softmax = log_softmax
        stem, *stages = CHANNELS[groups]
        self.conv1 = nn.Conv2d(in_channels, stem, 3, 2, 1)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = stem
        for number, (channels, repeats) in enumerate(zip(stages, (4, 8, 4), strict=True), start=2):
            stage = OrderedDict()
            for i in range(repeats):
                grouped = number > 2 or i > 0
                stage[f"ShuffleUnit_Stage{number}_{i}"] = Unit(before, channels, groups, grouped, 1 if i else 2)
                before = channels
            setattr(self, f"stage{number}", nn.Sequential(stage))
        self.fc = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        x = self.fc(F.avg_pool2d(x, x.shape[2:]).flatten(1))
        return F.log_softmax(x, 1) if self.log_softmax else x
