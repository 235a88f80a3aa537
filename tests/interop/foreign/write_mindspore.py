"""Run by a Python that has MindSpore: writes checkpoints of the course notes' ShuffleNetV1 and of mindcv's networks.

``python write_mindspore.py FOLDER`` leaves, for each network, ``NAME.ckpt`` and ``NAME.npz`` (images, logits).
"""

from __future__ import annotations

import sys
from pathlib import Path

import mindspore
import numpy as np
from mindspore import Tensor, nn, ops

CHANNELS = {(3, "0.5x"): (12, 120, 240, 480), (8, "0.5x"): (16, 192, 384, 768), (3, "1.0x"): (24, 240, 480, 960)}


class GroupConv(nn.Cell):
    def __init__(self, inputs, outputs, groups):
        super().__init__()
        self.groups = groups
        self.convs = nn.CellList([nn.Conv2d(inputs // groups, outputs // groups, 1) for _ in range(groups)])

    def construct(self, x):
        parts = ops.split(x, x.shape[1] // self.groups, axis=1)
        return ops.cat([self.convs[i](parts[i]) for i in range(self.groups)], axis=1)


class ShuffleV1Block(nn.Cell):
    def __init__(self, inputs, outputs, group, first, stride):
        super().__init__()
        self.stride, self.group, middle = stride, group, outputs // 4
        made = outputs - inputs if stride == 2 else outputs
        self.branch_main_1 = nn.SequentialCell(
            [GroupConv(inputs, middle, 1 if first else group), nn.BatchNorm2d(middle), nn.ReLU()]
        )
        self.branch_main_2 = nn.SequentialCell(
            [
                nn.Conv2d(middle, middle, 3, stride, pad_mode="pad", padding=1, group=middle),
                nn.BatchNorm2d(middle),
                GroupConv(middle, made, group),
                nn.BatchNorm2d(made),
            ]
        )
        self.relu = nn.ReLU()
        self.branch_proj = nn.AvgPool2d(kernel_size=3, stride=2, pad_mode="same")

    def construct(self, x):
        n, c, h, w = 0, 0, 0, 0
        out = self.branch_main_1(x)
        n, c, h, w = out.shape
        out = ops.reshape(out, (n, c // self.group, self.group, h, w))
        out = ops.reshape(ops.transpose(out, (0, 2, 1, 3, 4)), (n, c, h, w))
        out = self.branch_main_2(out)
        if self.stride == 1:
            return self.relu(x + out)
        return self.relu(ops.cat((self.branch_proj(x), out), 1))


class ShuffleNetV1(nn.Cell):
    def __init__(self, group, size, classes, bias=True):
        super().__init__()
        before, *stages = CHANNELS[group, size]
        self.first_conv = nn.SequentialCell(
            [nn.Conv2d(3, before, 3, 2, pad_mode="pad", padding=1), nn.BatchNorm2d(before), nn.ReLU()]
        )
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, pad_mode="same")
        features = []
        for stage, (after, repeats) in enumerate(zip(stages, (4, 8, 4), strict=True)):
            for i in range(repeats):
                features.append(ShuffleV1Block(before, after, group, stage == 0 and i == 0, 1 if i else 2))
                before = after
        self.features = nn.SequentialCell(features)
        self.globalpool = nn.AvgPool2d(7)
        self.classifier = nn.Dense(before, classes, has_bias=bias)

    def construct(self, x):
        x = self.features(self.maxpool(self.first_conv(x)))
        return self.classifier(ops.reshape(self.globalpool(x), (x.shape[0], -1)))


def write(folder: Path, name: str, network: nn.Cell, size: int) -> None:
    random = np.random.default_rng(0)
    for parameter in network.get_parameters():
        shape, last = parameter.shape, parameter.name.rpartition(".")[2]
        if last in ("gamma", "moving_variance"):
            values = random.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            values = random.normal(0, 0.2, shape)
        else:
            values = random.normal(0, np.prod(shape[1:]) ** -0.5, shape)
        parameter.set_data(Tensor(values.astype(np.float32)))
    network.set_train(False)
    images = random.normal(0, 1, (2, 3, size, size)).astype(np.float32)
    np.savez(folder / f"{name}.npz", images=images, logits=network(Tensor(images)).asnumpy())
    mindspore.save_checkpoint(network, str(folder / f"{name}.ckpt"))


def main(folder: Path) -> None:
    mindspore.set_seed(0)
    write(folder, "shufflenet_v1_g3_x0_5.mindspore", ShuffleNetV1(3, "0.5x", 10), 224)
    write(folder, "shufflenet_v1_g8_x0_5.mindspore", ShuffleNetV1(8, "0.5x", 10), 224)
    write(folder, "shufflenet_v1_g3_x1_0.mindcv", ShuffleNetV1(3, "1.0x", 10, bias=False), 224)  # mindcv since 0.4
    try:
        from mindcv.models import mobilenet_v1_025, shufflenet_v1_g3_05
    except ImportError:
        return
    write(folder, "shufflenet_v1_g3_x0_5.mindcv", shufflenet_v1_g3_05(num_classes=10), 224)
    write(folder, "mobilenet_v1_x0_25.mindcv", mobilenet_v1_025(num_classes=10), 96)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
