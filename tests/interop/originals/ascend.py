"""MobileNetV1 of the Ascend course (the third article), written down once more. Its forward ends in softmax."""

from __future__ import annotations

from torch import Tensor, nn


class DSCconv(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthConv = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), nn.BatchNorm2d(inputs), nn.ReLU6()
        )
        self.pointConv = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6())

    def forward(self, x: Tensor) -> Tensor:
        return self.pointConv(self.depthConv(x))


class MobileNetV1(nn.Module):
    def __init__(self, input_channel: int = 3, num_classes: int = 100, softmax: bool = True) -> None:
        super().__init__()
        self.softmax = softmax
        self.entry = nn.Sequential(nn.Conv2d(input_channel, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())
        plan = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)]
        self.stage1 = nn.Sequential(*(DSCconv(*block) for block in plan))
        self.stage2 = nn.Sequential(DSCconv(256, 512, 2), *(DSCconv(512, 512, 1) for _ in range(5)))
        self.stage3 = nn.Sequential(DSCconv(512, 1024, 2), DSCconv(1024, 1024, 1))
        self.linear = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage3(self.stage2(self.stage1(self.entry(x))))
        x = self.linear(x.mean((2, 3)))
        return x.softmax(1) if self.softmax else x
