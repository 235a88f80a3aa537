"""The loop most tutorials show, as the thing to beat: CIFAR-10 with PIL transforms, one image at a time.

It follows a published walk-through of MobileNetV1 on CIFAR-10: random crop with padding 4, flip, ToTensor, Normalize,
batch 128, SGD without momentum, weight decay 5e-4, one-cycle to 0.1 (pct_start 0.3, div 25 and 1e4), eager float32
in PyTorch's default layout, everything in one process. Two things differ: the schedule is scaled to the given minutes,
and the network gives logits (the walk-through's ends in a softmax which the loss then applies again).
It trains on the same images as Featherlight does (validation images left out) and looks at the test split once.

    python benchmarks/plain_loop.py DATA --model mobilenet_v1_x1_0 --minutes 10
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from featherlight import create_model
from featherlight.sources import open_source
from featherlight.sources.base import Split

NORMALIZE = transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
TRAIN = transforms.Compose(
    [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor(), NORMALIZE]
)
TEST = transforms.Compose([transforms.ToTensor(), NORMALIZE])
CURVE_POINTS = 10_000


class InMemory(Dataset[tuple[Tensor, int]]):
    """Decoded once, transformed as PIL images at each access, as torchvision's CIFAR10 does."""

    def __init__(self, split: Split, transform: transforms.Compose) -> None:
        self.images = [split.read(index) for index in range(len(split))]
        self.labels = split.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def one_cycle_rates() -> list[float]:
    """PyTorch's own one-cycle curve, read off at 10,000 points so that it can be stretched over minutes."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=CURVE_POINTS + 1, pct_start=0.3, div_factor=25, final_div_factor=1e4,
        cycle_momentum=False,
    )  # fmt: skip
    rates = []
    for _ in range(CURVE_POINTS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def train(model: nn.Module, loader: DataLoader[tuple[Tensor, int]], seconds: float) -> int:
    """Trains until the time is over and returns the number of images seen."""
    rates = one_cycle_rates()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=5e-4)
    start, seen = time.monotonic(), 0
    model.train()
    while True:
        for images, labels in loader:
            part = (time.monotonic() - start) / seconds
            if part >= 1:
                return seen
            optimizer.param_groups[0]["lr"] = rates[int(part * CURVE_POINTS)]
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()
            seen += len(labels)


@torch.no_grad()
def accuracy(model: nn.Module, loader: DataLoader[tuple[Tensor, int]]) -> float:
    """Top-1 accuracy, a fraction."""
    model.eval()
    correct = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in loader)
    return correct / sum(len(labels) for _, labels in loader)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data")
    parser.add_argument("--model", default="mobilenet_v1_x1_0")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    source = open_source(options.data)
    model = create_model(options.model, len(source.classes), input_size=32)
    loader = DataLoader(InMemory(source.splits["train"], TRAIN), batch_size=128, shuffle=True)
    seconds = options.minutes * 60
    seen = train(model, loader, seconds)
    test = DataLoader(InMemory(source.splits["test"], TEST), batch_size=100)
    print(
        json.dumps(
            {
                "top1": accuracy(model, test),
                "images_per_s": seen / seconds,
                "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
