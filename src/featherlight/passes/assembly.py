"""Where channels really are, and how they are brought together."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.fx import GraphModule, Node

from featherlight.passes.channels import Numbers
from featherlight.passes.demands import Use
from featherlight.passes.forms import Form
from featherlight.passes.graph import add_constant, aten, call, replace


@dataclass(frozen=True)
class Part:
    """A tensor of the new graph and the numbers of its channels."""

    node: Node
    numbers: Numbers


@dataclass(frozen=True)
class Run:
    """Channels ``start`` to ``stop`` of a tensor."""

    part: Part
    start: int
    stop: int

    @property
    def is_whole(self) -> bool:
        """Whether nothing is cut off."""
        return self.stop - self.start == len(self.part.numbers)

    @property
    def numbers(self) -> Numbers:
        """Of its channels."""
        return self.part.numbers[self.start : self.stop]


class Assembler:
    """Brings channels together in the new graph; the same ones only once."""

    def __init__(self, module: GraphModule, form: Form) -> None:
        self.module, self.form = module, form
        self.slices = self.splits = self.joins = self.gathers = 0
        self._parts: list[Part] = []
        self._places: dict[int, tuple[int, int]] = {}  # number -> (part, place in it)
        self._cuts: dict[Node, list[tuple[int, int, Node]]] = {}
        self._made: dict[tuple[object, ...], Part] = {}

    def runs(self, use: Use) -> list[Run]:
        """The longest runs that hold the channels of a use, block after block."""
        places = [self._places[number] for number in use.numbers.tolist()]
        order = sorted(range(len(places)), key=lambda k: (use.blocks[k], places[k]))
        runs: list[Run] = []
        for index, place in (places[k] for k in order):
            part = self._parts[index]
            if runs and runs[-1].part is part and runs[-1].stop == place:
                runs[-1] = Run(part, runs[-1].start, place + 1)
            else:
                runs.append(Run(part, place, place + 1))
        return runs

    def add(self, part: Part) -> None:
        """A tensor of the new graph that holds all channels of a source."""
        self._parts.append(part)
        for place, number in enumerate(part.numbers.tolist()):
            self._places[number] = len(self._parts) - 1, place

    def whole(self, numbers: Numbers) -> Part | None:
        """The tensor that holds these channels and no others."""
        indices = {self._places[number][0] for number in numbers.tolist()}
        part = self._parts[indices.pop()]
        return part if not indices and len(part.numbers) == len(numbers) else None

    def join(self, runs: Sequence[Run]) -> Part:
        """One tensor of all the runs."""
        if len(runs) == 1 and runs[0].is_whole:
            return runs[0].part
        key = tuple((run.part.node, run.start, run.stop) for run in runs)
        if key not in self._made:
            self._made[key] = self._gather(runs) if self.form.gathers else self._concatenate(runs)
        return self._made[key]

    def cut(self, run: Run) -> Node:
        """The tensor of one run."""
        if run.is_whole:
            return run.part.node
        key = (run.part.node, run.start, run.stop)
        if key not in self._made:
            self.slices += 1
            node = call(self.module, aten.slice.Tensor, (run.part.node, 1, run.start, run.stop))
            self._cuts.setdefault(run.part.node, []).append((run.start, run.stop, node))
            self._made[key] = Part(node, run.numbers)
        return self._made[key].node

    def merge_cuts(self) -> None:
        """Slices of one tensor that do not overlap become one split."""
        for node, cuts in self._cuts.items():
            cuts.sort(key=lambda cut: cut[:2])
            if len(cuts) > 1 and all(before[1] <= after[0] for before, after in pairwise(cuts)):
                self._split(node, cuts)

    def _split(self, node: Node, cuts: Sequence[tuple[int, int, Node]]) -> None:
        size = next(len(part.numbers) for part in self._parts if part.node is node)
        borders = sorted({0, size, *(border for cut in cuts for border in cut[:2])})
        with self.module.graph.inserting_after(node):
            split = call(self.module, aten.split_with_sizes.default, (node, [b - a for a, b in pairwise(borders)], 1))
        with self.module.graph.inserting_after(split):
            for start, _, cut in cuts:
                replace(cut, call(self.module, operator.getitem, (split, borders.index(start))))
        self.slices -= len(cuts)
        self.splits += 1

    def _concatenate(self, runs: Sequence[Run]) -> Part:
        nodes = [self.cut(run) for run in runs]
        numbers = np.concatenate([run.numbers for run in runs])
        if len(nodes) == 1:
            return Part(nodes[0], numbers)
        self.joins += 1
        return Part(call(self.module, aten.cat.default, (nodes, 1)), numbers)

    def _gather(self, runs: Sequence[Run]) -> Part:
        parts = list({run.part.node: run.part for run in runs}.values())
        if all(run.is_whole for run in runs):
            return self._concatenate(runs)
        whole = self.join([Run(part, 0, len(part.numbers)) for part in parts])
        starts = dict(
            zip((part.node for part in parts), np.cumsum([0, *(len(p.numbers) for p in parts)]), strict=False)
        )
        index = np.concatenate([np.arange(run.start, run.stop) + starts[run.part.node] for run in runs])
        self.gathers += 1
        indices = add_constant(self.module, "channel_order", torch.from_numpy(index))
        return Part(call(self.module, aten.index_select.default, (whole.node, 1, indices)), whole.numbers[index])
