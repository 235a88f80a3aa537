"""Random networks of the operators that the passes know, with shuffles written in many ways."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn


class Moved(nn.Module):
    """A permutation of channels, in one of its spellings."""

    def __init__(self, spelling: str, channels: int, groups: int, seed: int) -> None:
        super().__init__()
        self.spelling, self.groups = spelling, groups
        self.module = nn.ChannelShuffle(groups)
        order = torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("order", order)
        self.list = order.tolist()

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.spelling)(x)

    def view_transpose(self, x: Tensor) -> Tensor:
        n, c, h, w = x.size()
        return x.contiguous().view(n, self.groups, c // self.groups, h, w).transpose(1, 2).contiguous().view(n, c, h, w)

    def reshape_permute(self, x: Tensor) -> Tensor:
        n, c = x.shape[:2]
        return x.reshape(n, self.groups, c // self.groups, -1).permute(0, 2, 1, 3).reshape(x.shape)

    def flat(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.reshape(n * c // self.groups, self.groups, h * w).permute(1, 0, 2)
        return x.reshape(self.groups, n, c // self.groups, h, w).transpose(0, 1).flatten(1, 2)

    def unflatten(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.groups, -1)).swapaxes(1, 2).flatten(1, 2)

    def functional(self, x: Tensor) -> Tensor:
        return F.channel_shuffle(x, self.groups)

    def shuffle_module(self, x: Tensor) -> Tensor:
        return self.module(x)

    def index_select(self, x: Tensor) -> Tensor:
        return torch.index_select(x, 1, self.order)

    def index(self, x: Tensor) -> Tensor:
        return x[:, self.list]

    def flip(self, x: Tensor) -> Tensor:
        return x.flip(1)

    def roll(self, x: Tensor) -> Tensor:
        return x.roll(1, 1)

    def stack_parts(self, x: Tensor) -> Tensor:
        return torch.stack(x.chunk(self.groups, 1), 2).flatten(1, 2)


SPELLINGS = [
    "view_transpose",
    "reshape_permute",
    "flat",
    "unflatten",
    "functional",
    "shuffle_module",
    "index_select",
    "index",
    "flip",
    "roll",
    "stack_parts",
]


class Cut(nn.Module):
    """Cuts channels in two, works on one part, and puts them together."""

    def __init__(self, spelling: str, first: int, second: int, work: nn.Module, swap: bool) -> None:
        super().__init__()
        self.spelling, self.sizes, self.work, self.swap = spelling, (first, second), work, swap

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.sizes
        if self.spelling == "slice":
            left, right = x[:, :first], x[:, first:]
        elif self.spelling == "narrow":
            left, right = x.narrow(1, 0, first), x.narrow(1, first, second)
        else:
            left, right = x.split([first, second], dim=1)
        parts = (self.work(right), left) if self.swap else (left, self.work(right))
        return torch.cat(parts, dim=1)


class Residual(nn.Module):
    """Adds, or concatenates, what a branch makes."""

    def __init__(self, branch: nn.Module, other: nn.Module, join: str) -> None:
        super().__init__()
        self.branch, self.other, self.join = branch, other, join

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.branch(x), self.other(x)
        if self.join == "cat":
            return F.relu(torch.cat((a, b), 1))
        return F.relu(a + b) if self.join == "add" else torch.maximum(a, b)


class Squeeze(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


def _norm(channels: int) -> nn.Module:
    norm = nn.BatchNorm2d(channels)
    nn.init.normal_(norm.weight, 1, 0.3)
    nn.init.normal_(norm.bias, 0, 0.3)
    norm.running_mean.normal_(0, 0.3)
    norm.running_var.uniform_(0.5, 2)
    return norm


@st.composite
def layers(draw: Any, channels: int, depth: int = 2) -> nn.Module:
    """Two to four layers that keep ``channels``."""
    return nn.Sequential(*(draw(layer(channels, depth)) for _ in range(draw(st.integers(2, 4)))))


@st.composite
def layer(draw: Any, channels: int, depth: int) -> nn.Module:
    kinds = ["dense", "grouped", "depthwise", "norm", "act", "pool", "move", "move", "squeeze"]
    kind = draw(st.sampled_from([*kinds, "cut", "cut", "residual", "join"] if depth and channels >= 4 else kinds))
    groups = draw(st.sampled_from([g for g in range(2, channels + 1) if channels % g == 0]))
    simple = {
        "dense": lambda: nn.Conv2d(channels, channels, 1, bias=draw(st.booleans())),
        "grouped": lambda: nn.Conv2d(channels, channels, 1, groups=groups, bias=draw(st.booleans())),
        "depthwise": lambda: nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=draw(st.booleans())),
        "norm": lambda: _norm(channels),
        "act": lambda: draw(st.sampled_from([nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardswish(), nn.SiLU()])),
        "pool": lambda: draw(st.sampled_from([nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1)])),
        "move": lambda: Moved(draw(st.sampled_from(SPELLINGS)), channels, groups, draw(st.integers(0, 99))),
        "squeeze": lambda: Squeeze(channels),
    }
    return simple[kind]() if kind in simple else _nested(draw, kind, channels, depth - 1)


def _nested(draw: Any, kind: str, channels: int, depth: int) -> nn.Module:
    if kind == "cut":
        first = draw(st.integers(1, channels - 2))
        spelling = draw(st.sampled_from(["slice", "narrow", "split"]))
        return Cut(spelling, first, channels - first, draw(layers(channels - first, depth)), draw(st.booleans()))
    branch, other = draw(layers(channels, depth)), draw(layers(channels, depth))
    if kind == "residual":
        return Residual(branch, other, draw(st.sampled_from(["add", "maximum"])))
    return nn.Sequential(Residual(branch, other, "cat"), nn.Conv2d(2 * channels, channels, 1))


@st.composite
def networks(draw: Any) -> nn.Module:
    """A network for images (N, 3, 5, 4) with a classifier, or features, at its end."""
    torch.manual_seed(draw(st.integers(0, 9)))
    channels = draw(st.sampled_from([4, 6, 9, 12, 15]))
    ends: dict[str, list[nn.Module]] = {
        "classifier": [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, 7)],
        "features": [],
        "flat": [nn.Flatten(), nn.Linear(channels * 20, 3)],
    }
    body = [draw(layers(channels)) for _ in range(draw(st.integers(1, 3)))]
    return nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), *body, *ends[draw(st.sampled_from(sorted(ends)))])
