"""open-mmlab/mmpretrain: ImageClassifier with ShuffleNetV1 or V2, global pooling and LinearClsHead, once more.

Facts: V1 as the paper, but with the shuffle (g, C/g) behind the depthwise convolution and ReLU on the branch before the
concatenation; V2 as torchvision's. Convolution, norm and activation are a ConvModule: children conv, bn.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

V1_CHANNELS = {1: (144, 288, 576), 2: (200, 400, 800), 3: (240, 480, 960), 4: (272, 544, 1088), 8: (384, 768, 1536)}


def shuffle(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ConvModule(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return F.relu(x) if self.act else x


class ShuffleUnit(nn.Module):
    def __init__(self, inputs: int, outputs: int, groups: int, first: bool, stride: int) -> None:
        super().__init__()
        self.groups, self.stride, middle = groups, stride, outputs // 4
        made = outputs - inputs if stride == 2 else outputs
        self.g_conv_1x1_compress = ConvModule(inputs, middle, 1, groups=1 if first else groups)
        self.depthwise_conv3x3_bn = ConvModule(middle, middle, 3, stride, middle, act=False)
        self.g_conv_1x1_expand = ConvModule(middle, made, 1, groups=groups, act=False)

    def forward(self, x: Tensor) -> Tensor:
        out = shuffle(self.depthwise_conv3x3_bn(self.g_conv_1x1_compress(x)), self.groups)
        out = self.g_conv_1x1_expand(out)
        if self.stride == 2:
            return torch.cat((F.avg_pool2d(x, 3, 2, 1), F.relu(out)), 1)
        return F.relu(x + out)


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, half = stride, outputs // 2
        if stride == 2:
            self.branch1 = nn.Sequential(
                ConvModule(inputs, inputs, 3, 2, inputs, act=False), ConvModule(inputs, half, 1)
            )
        self.branch2 = nn.Sequential(
            ConvModule(inputs if stride == 2 else half, half, 1),
            ConvModule(half, half, 3, stride, half, act=False),
            ConvModule(half, half, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = (self.branch1(x), x) if self.stride == 2 else x.chunk(2, 1)
        return shuffle(torch.cat((left, self.branch2(right)), 1), 2)


class Backbone(nn.Module):
    """Stem and layers; ``blocks`` is a list of lists of blocks."""

    def __init__(self, stem: int, blocks: list[list[nn.Module]], last: ConvModule | None = None) -> None:
        super().__init__()
        self.conv1 = ConvModule(3, stem, 3, 2)
        self.layers = nn.ModuleList([nn.Sequential(*stage) for stage in blocks] + ([last] if last else []))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(x), 3, 2, 1)
        for layer in self.layers:
            x = layer(x)
        return x


class ImageClassifier(nn.Module):
    def __init__(self, backbone: Backbone, channels: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Module()
        self.head.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head.fc(self.backbone(x).mean((2, 3)))


def shufflenet_v1(groups: int, width_mult: float, num_classes: int = 1000) -> ImageClassifier:
    stem = before = int(24 * width_mult)
    blocks: list[list[nn.Module]] = []
    for stage, (channels, repeats) in enumerate(zip(V1_CHANNELS[groups], (4, 8, 4), strict=True)):
        after = int(channels * width_mult + 4) // 8 * 8
        blocks.append([])
        for i in range(repeats):
            blocks[-1].append(ShuffleUnit(before, after, groups, stage == 0 and i == 0, 1 if i else 2))
            before = after
    return ImageClassifier(Backbone(stem, blocks), before, num_classes)


def shufflenet_v2(channels: tuple[int, int, int, int], num_classes: int = 1000) -> ImageClassifier:
    *stages, last = channels
    before = 24
    blocks: list[list[nn.Module]] = []
    for after, repeats in zip(stages, (4, 8, 4), strict=True):
        blocks.append([InvertedResidual(before, after, 2)])
        blocks[-1] += [InvertedResidual(after, after, 1) for _ in range(repeats - 1)]
        before = after
    return ImageClassifier(Backbone(24, blocks, ConvModule(before, last, 1)), last, num_classes)
