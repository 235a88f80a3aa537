"""Where channels really are, and how they are brought together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.fx import GraphModule, Node

from featherlight.passes.channels import Channels, Numbers
from featherlight.passes.demands import Use
from featherlight.passes.forms import Form
from featherlight.passes.graph import add_constant, aten, call

FILL = -1  # the number of a channel that is only there to fill a block


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

    def __init__(self, module: GraphModule, channels: Channels, form: Form) -> None:
        self.module, self.channels, self.form = module, channels, form
        self.parts: dict[Node, tuple[Part, ...]] = {}
        self.slices = self.joins = self.gathers = 0
        self._made: dict[tuple[object, ...], Part] = {}

    def runs(self, use: Use, may_take_more: bool) -> list[Run]:
        """The longest runs that hold the channels of a use, block after block.

        Args:
            use: what is needed.
            may_take_more: channels that are not needed do no harm.
        """
        places = [self._places()[number] for number in use.numbers]
        order = sorted(range(len(places)), key=lambda k: (use.blocks[k], places[k]))
        runs: list[Run] = []
        for part_index, place in (places[k] for k in order):
            part = self._all[part_index]
            if runs and runs[-1].part is part and runs[-1].stop == place:
                runs[-1] = Run(part, runs[-1].start, place + 1)
            else:
                runs.append(Run(part, place, place + 1))
        return self._widened(runs) if may_take_more else runs

    def _widened(self, runs: list[Run]) -> list[Run]:
        """Runs with what fills their blocks, or whole tensors where the form says so."""
        if self.form.whole:
            parts = dict.fromkeys(run.part.node for run in runs)
            by_node = {run.part.node: run.part for run in runs}
            return [Run(by_node[node], 0, len(by_node[node].numbers)) for node in parts]
        return [self._filled(run) for run in runs]

    def _filled(self, run: Run) -> Run:
        rest = run.part.numbers[run.stop :]
        return Run(run.part, run.start, len(run.part.numbers)) if len(rest) and (rest == FILL).all() else run

    def _places(self) -> dict[int, tuple[int, int]]:
        """Number -> (tensor, place in it), of all that has been made so far."""
        if getattr(self, "_known", -1) != len(self.parts):
            self._all = [part for parts in self.parts.values() for part in parts]
            self._where = {
                int(number): (index, place)
                for index, part in enumerate(self._all)
                for place, number in enumerate(part.numbers)
                if number != FILL
            }
            self._known = len(self.parts)
        return self._where

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
            self._made[key] = Part(node, run.numbers)
        return self._made[key].node

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
        starts = dict(zip((part.node for part in parts), np.cumsum([0, *(len(p.numbers) for p in parts)]), strict=False))
        index = np.concatenate([np.arange(run.start, run.stop) + starts[run.part.node] for run in runs])
        self.gathers += 1
        indices = add_constant(self.module, "channel_order", torch.from_numpy(index))
        return Part(call(self.module, aten.index_select.default, (whole.node, 1, indices)), whole.numbers[index])
