"""megvii-model/ShuffleNet-Series: ShuffleNetV1 and ShuffleNetV2, written down once more.

Facts: V1 shuffles after the depthwise convolution and its norm, by reshape to (C/g, g), transpose; ReLU on the branch
before the concatenation. V2 splits even from odd channels at the start of stride-1 units; the shortcut of stride-2
units keeps its channels. Pooling 7x7, classifiers without bias.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

V1_CHANNELS = {
    (3, "x0_5"): (12, 120, 240, 480),
    (3, "x1_0"): (24, 240, 480, 960),
    (3, "x1_5"): (24, 360, 720, 1440),
    (3, "x2_0"): (48, 480, 960, 1920),
    (8, "x0_5"): (16, 192, 384, 768),
    (8, "x1_0"): (24, 384, 768, 1536),
    (8, "x1_5"): (24, 576, 1152, 2304),
    (8, "x2_0"): (48, 768, 1536, 3072),
}
V2_CHANNELS = {
    "x0_5": (24, 48, 96, 192, 1024),
    "x1_0": (24, 116, 232, 464, 1024),
    "x1_5": (24, 176, 352, 704, 1024),
    "x2_0": (24, 244, 488, 976, 2048),
}


class V1Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, group: int, first: bool, stride: int) -> None:
        super().__init__()
        self.stride, self.group, middle = stride, group, outputs // 4
        made = outputs - inputs if stride == 2 else outputs
        self.branch_main_1 = nn.Sequential(
            nn.Conv2d(inputs, middle, 1, groups=1 if first else group, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False),
            nn.BatchNorm2d(middle),
        )
        self.branch_main_2 = nn.Sequential(nn.Conv2d(middle, made, 1, groups=group, bias=False), nn.BatchNorm2d(made))

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch_main_1(x)
        n, c, h, w = out.shape
        out = out.reshape(n, c // self.group, self.group, h, w).permute(0, 2, 1, 3, 4).reshape(n, c, h, w)
        out = self.branch_main_2(out)
        if self.stride == 1:
            return F.relu(out + x)
        return torch.cat((F.avg_pool2d(x, 3, 2, 1), F.relu(out)), 1)


class ShuffleNetV1(nn.Module):
    def __init__(self, group: int, size: str, n_class: int = 1000) -> None:
        super().__init__()
        before, *stages = V1_CHANNELS[group, size]
        self.first_conv = nn.Sequential(nn.Conv2d(3, before, 3, 2, 1, bias=False), nn.BatchNorm2d(before), nn.ReLU())
        blocks = []
        for stage, (after, repeats) in enumerate(zip(stages, (4, 8, 4), strict=True)):
            for i in range(repeats):
                blocks.append(V1Block(before, after, group, stage == 0 and i == 0, 1 if i else 2))
                before = after
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(nn.Linear(before, n_class, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(F.max_pool2d(self.first_conv(x), 3, 2, 1))
        return self.classifier(F.avg_pool2d(x, 7).flatten(1))


class V2Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, middle: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.branch_main = nn.Sequential(
            nn.Conv2d(inputs, middle, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False),
            nn.BatchNorm2d(middle),
            nn.Conv2d(middle, outputs - inputs, 1, bias=False),
            nn.BatchNorm2d(outputs - inputs),
            nn.ReLU(),
        )
        if stride == 2:
            self.branch_proj = nn.Sequential(
                nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs),
                nn.Conv2d(inputs, inputs, 1, bias=False),
                nn.BatchNorm2d(inputs),
                nn.ReLU(),
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return torch.cat((x[:, 0::2], self.branch_main(x[:, 1::2])), 1)
        return torch.cat((self.branch_proj(x), self.branch_main(x)), 1)


class ShuffleNetV2(nn.Module):
    def __init__(self, size: str, n_class: int = 1000) -> None:
        super().__init__()
        before, *stages, last = V2_CHANNELS[size]
        self.first_conv = nn.Sequential(nn.Conv2d(3, before, 3, 2, 1, bias=False), nn.BatchNorm2d(before), nn.ReLU())
        blocks = []
        for after, repeats in zip(stages, (4, 8, 4), strict=True):
            blocks.append(V2Block(before, after, after // 2, 2))
            blocks += [V2Block(after // 2, after, after // 2, 1) for _ in range(repeats - 1)]
            before = after
        self.features = nn.Sequential(*blocks)
        self.conv_last = nn.Sequential(nn.Conv2d(before, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU())
        self.dropout = nn.Dropout(0.2 if size == "x2_0" else 0.0)
        self.classifier = nn.Sequential(nn.Linear(last, n_class, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(F.max_pool2d(self.first_conv(x), 3, 2, 1))
        return self.classifier(self.dropout(F.avg_pool2d(self.conv_last(x), 7)).flatten(1))
