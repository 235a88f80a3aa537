"""kuangliu/pytorch-cifar: models/shufflenet.py (the last article's), shufflenetv2.py and mobilenet.py, once more.

Facts of the first: 1x1 stem, no pooling, no shuffle in the first unit, ReLU after the depthwise convolution,
[branch, pool], middle a quarter of what the branch makes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def shuffle(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).permute(0, 2, 1, 3, 4).reshape(n, c, h, w)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, groups: int) -> None:
        super().__init__()
        self.stride, middle = stride, outputs // 4
        self.first_groups = 1 if inputs == 24 else groups
        self.conv1, self.bn1 = conv(inputs, middle, 1, groups=self.first_groups), nn.BatchNorm2d(middle)
        self.conv2, self.bn2 = conv(middle, middle, 3, stride, middle), nn.BatchNorm2d(middle)
        self.conv3, self.bn3 = conv(middle, outputs, 1, groups=groups), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        out = shuffle(F.relu(self.bn1(self.conv1(x))), self.first_groups)
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.stride == 2:
            return F.relu(torch.cat([out, F.avg_pool2d(x, 3, 2, 1)], 1))
        return F.relu(out + x)


class ShuffleNet(nn.Module):
    def __init__(self, groups: int, channels: tuple[int, int, int], num_classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 24, 1, bias=False), nn.BatchNorm2d(24)
        before = 24
        for number, (after, repeats) in enumerate(zip(channels, (4, 8, 4), strict=True), start=1):
            layers = [Bottleneck(before, after - before, 2, groups)]
            layers += [Bottleneck(after, after, 1, groups) for _ in range(repeats - 1)]
            setattr(self, f"layer{number}", nn.Sequential(*layers))
            before = after
        self.linear = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(F.avg_pool2d(x, 4).flatten(1))


def ShuffleNetG2() -> ShuffleNet:  # noqa: N802
    return ShuffleNet(2, (200, 400, 800))


def ShuffleNetG3() -> ShuffleNet:  # noqa: N802
    return ShuffleNet(3, (240, 480, 960))


class BasicBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.half = half
        self.conv1, self.bn1 = conv(half, half, 1), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = conv(half, half, 3, groups=half), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = conv(half, half, 1), nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x[:, self.half :])))
        out = F.relu(self.bn3(self.conv3(self.bn2(self.conv2(out)))))
        return shuffle(torch.cat([x[:, : self.half], out], 1), 2)


class DownBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1, self.bn1 = conv(inputs, inputs, 3, 2, inputs), nn.BatchNorm2d(inputs)
        self.conv2, self.bn2 = conv(inputs, half, 1), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = conv(inputs, half, 1), nn.BatchNorm2d(half)
        self.conv4, self.bn4 = conv(half, half, 3, 2, half), nn.BatchNorm2d(half)
        self.conv5, self.bn5 = conv(half, half, 1), nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        left = F.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        right = self.bn4(self.conv4(F.relu(self.bn3(self.conv3(x)))))
        return shuffle(torch.cat([left, F.relu(self.bn5(self.conv5(right)))], 1), 2)


class ShuffleNetV2(nn.Module):
    def __init__(self, channels: tuple[int, int, int, int], num_classes: int = 10) -> None:
        super().__init__()
        *stages, last = channels
        self.conv1, self.bn1 = conv(3, 24, 3), nn.BatchNorm2d(24)
        before = 24
        for number, (after, repeats) in enumerate(zip(stages, (3, 7, 3), strict=True), start=1):
            blocks = [DownBlock(before, after), *(BasicBlock(after) for _ in range(repeats))]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            before = after
        self.conv2, self.bn2 = conv(before, last, 1), nn.BatchNorm2d(last)
        self.linear = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(F.avg_pool2d(F.relu(self.bn2(self.conv2(x))), 4).flatten(1))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, inputs, 3, stride, inputs), nn.BatchNorm2d(inputs)
        self.conv2, self.bn2 = conv(inputs, outputs, 1), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class MobileNet(nn.Module):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, 32, 3), nn.BatchNorm2d(32)
        plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
        before, blocks = 32, []
        for after, stride in plan:
            blocks.append(Block(before, after, stride))
            before = after
        self.layers = nn.Sequential(*blocks)
        self.linear = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.linear(F.avg_pool2d(x, 2).flatten(1))
