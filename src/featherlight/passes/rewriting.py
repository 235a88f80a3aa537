"""Operators anew, on channels in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from featherlight.passes.affine import weights_of
from featherlight.passes.assembly import FILL, Assembler, Part, Run
from featherlight.passes.channels import Channels, Numbers
from featherlight.passes.demands import Demands, Use
from featherlight.passes.forms import Form
from featherlight.passes.graph import add_constant, aten, call, constant
from featherlight.passes.roles import Role, is_squeeze
from featherlight.passes.weights import places_of, reorder_grouped, take

_LEAST_WAY = 4  # channels that go one way, on average, before a grouped convolution is split


class Rewriter:
    """Writes operator after operator anew, in front of the one it replaces."""

    def __init__(self, module: GraphModule, channels: Channels, roles: dict[Node, Role], form: Form) -> None:
        self.module, self.channels, self.form = module, channels, form
        self.demands = Demands(channels, roles)
        self.assembler = Assembler(module, channels, form)
        self._roles = roles
        self._write = {
            "dense": self._dense,
            "grouped": self._grouped,
            "depthwise": self._channelwise,
            "channelwise": self._channelwise,
            "join": self._join,
            "opaque": self._opaque,
        }

    def run(self) -> None:
        """Writes all operators anew."""
        for node, role in self._roles.items():
            with self.module.graph.inserting_before(node):
                self._write[role.kind](node, role)
        if self.form.cuts_once:
            self.assembler.merge_cuts()

    def _set(self, *parts: Part) -> None:
        for part in parts:
            self.assembler.add(part)

    def _own(self, node: Node, places: Tensor) -> Numbers:
        """Numbers of a source's channels that stand at these places of it."""
        numbers: Numbers = np.where(places.numpy() < 0, FILL, places.numpy() + self.channels.sources[node])
        return numbers

    def _opaque(self, node: Node, role: Role) -> None:
        for source in role.inputs:
            if source in self.channels.held:
                numbers = self.channels.held[source]
                runs = self.assembler.runs(Use(numbers, np.arange(len(numbers))), may_take_more=False)
                node.replace_input_with(source, self.assembler.join(runs).node)
        if node in self.channels.sources:
            self._set(Part(node, self.channels.held[node]))

    def _join(self, node: Node, role: Role) -> None:  # noqa: ARG002
        (use,) = self.demands.uses_of(node)
        part = self.assembler.join(self.assembler.runs(use, may_take_more=True))
        self._set(Part(part.node, self._own(node, places_of(part.numbers, use.numbers))))

    def _channelwise(self, node: Node, role: Role) -> None:
        uses = self.demands.uses_of(node)
        if len(uses) > 1:
            inputs = self._agreeing(node, [use.numbers for use in uses])
            self._set(self._copied(node, role, inputs, uses[0].numbers))
            return
        numbers = uses[0].numbers
        # What already lies together stays as it is; whoever needs another order brings it about later.
        parts = self.assembler.all_parts(numbers)
        if not parts or (len(parts) > 1 and role.kind == "depthwise") or not self.form.reorders:
            parts = [self.assembler.join(self.assembler.runs(uses[0], may_take_more=True))]
        self._set(*(self._copied(node, role, (part,), numbers) for part in parts))

    def _copied(self, node: Node, role: Role, inputs: Sequence[Part], numbers: Numbers) -> Part:
        """An operator that treats each channel by itself, on channels in the order of ``inputs``."""
        places = places_of(inputs[0].numbers, numbers)
        new = {source: part.node for source, part in zip(role.inputs, inputs, strict=True)}
        if is_squeeze(node):
            return Part(call(self.module, aten.flatten.using_ints, (inputs[0].node, 1)), self._own(node, places))
        args = [new.get(value, value) if isinstance(value, Node) else value for value in node.args]
        if role.kind == "depthwise":
            self._reorder_rows(node, args, places)
            args[6] = len(places)
        for place in role.parameters:
            args[place] = self._reordered(args[place], places)
        return Part(call(self.module, node.target, tuple(args)), self._own(node, places))

    def _reorder_rows(self, node: Node, args: list[object], places: Tensor) -> None:
        weight, bias = weights_of(node)
        args[1] = self._constant(node, "weight", take(weight, places))
        if bias is not None:
            args[2] = self._constant(node, "bias", take(bias, places))

    def _constant(self, node: Node, kind: str, value: Tensor) -> Node:
        """A weight, in the precision of the layer."""
        old = constant(node.args[1])
        assert old is not None
        stem = str(node.args[1].target).removesuffix("weight").rstrip("._")  # type: ignore[union-attr]
        return add_constant(self.module, f"{stem}_{kind}", value.to(old.dtype).contiguous())

    def _reordered(self, value: object, places: Tensor) -> object:
        tensor = constant(value)
        if tensor is None or tensor.numel() == 1:
            return value
        dimension = 0 if tensor.ndim == 1 else next(d for d, size in enumerate(tensor.shape) if size == tensor.numel())
        return add_constant(self.module, str(value.target), take(tensor, places, dimension, 1.0))  # type: ignore[attr-defined]

    def _agreeing(self, node: Node, numbers: Sequence[Numbers]) -> list[Part]:
        """Inputs of one order: the one that costs the fewest copies."""
        kinds, count = self.demands.kinds(node), len(numbers[0])
        orders = [np.arange(count)]
        for own in numbers:
            runs = self.assembler.runs(Use(own, kinds), may_take_more=False)
            orders.append(places_of(np.concatenate([run.numbers for run in runs]), own).numpy())
        choices = [
            [self.assembler.runs(Use(own, np.argsort(order)), may_take_more=False) for own in numbers]
            for order in orders
        ]
        return [self.assembler.join(runs) for runs in min(choices, key=_copies)]

    def _dense(self, node: Node, role: Role) -> None:  # noqa: ARG002
        (use,) = self.demands.uses_of(node)
        has_twice = len(np.unique(use.numbers)) < len(use.numbers)  # then they are taken as they are, one by one
        part = self.assembler.join(self.assembler.runs(use, may_take_more=not has_twice))
        weight, bias = weights_of(node)
        if not has_twice:
            weight = take(weight, places_of(part.numbers, use.numbers), 1)
        rows = np.arange(len(weight))
        if self.form.reorders:
            rows = np.argsort(self.demands.kinds(node), kind="stable")
        self._set(self._layer(node, part, weight[rows], bias, torch.from_numpy(rows), node.args[3:]))

    def _layer(
        self, node: Node, part: Part, weight: Tensor, bias: Tensor | None, rows: Tensor, rest: Sequence[Any]
    ) -> Part:
        """A convolution or linear layer with new weights, for some output channels of the old one."""
        new_weight = self._constant(node, "weight", weight)
        new_bias = None if bias is None else self._constant(node, "bias", take(bias, rows))
        return Part(call(self.module, node.target, (part.node, new_weight, new_bias, *rest)), self._own(node, rows))

    def _grouped(self, node: Node, role: Role) -> None:
        (use,) = self.demands.uses_of(node)
        part = self._in_groups(use, role.groups)
        weight, bias = weights_of(node)
        columns = places_of(part.numbers, use.numbers)
        for rows in self._grouped_rows(node, role.groups):
            new = reorder_grouped(weight, rows, columns, role.groups)
            self._set(self._layer(node, part, new, bias, rows, node.args[3:]))

    def _in_groups(self, use: Use, groups: int) -> Part:
        """The input of a grouped convolution; where it is filled up, all groups have to be so alike."""
        runs = self.assembler.runs(use, may_take_more=True)
        numbers = np.concatenate([run.numbers for run in runs])
        blocks = dict(zip(use.numbers.tolist(), use.blocks.tolist(), strict=True))
        size, rest = divmod(len(numbers), groups)
        if rest or any(number != FILL and blocks.get(number) != k // size for k, number in enumerate(numbers.tolist())):
            runs = self.assembler.runs(use, may_take_more=False)
        return self.assembler.join(runs)

    def _grouped_rows(self, node: Node, groups: int) -> list[Tensor]:
        """The output channels of a grouped convolution, in their new order, by tensor."""
        count = len(self.channels.held[node])
        kinds = self.demands.kinds(node) if self.form.reorders else np.zeros(count, np.int64)
        several = len(np.unique(kinds))
        if 1 < several <= count / _LEAST_WAY and self.form.splits_groups:
            return [torch.from_numpy(way) for way in _targets(kinds, groups)]
        if 1 < several <= count / _LEAST_WAY and self.form.transposes:
            grid = np.stack(_targets(kinds, groups)).reshape(several, groups, -1)
            return [torch.from_numpy(grid.transpose(1, 0, 2).reshape(-1))]
        group = np.arange(count) // (count // groups)
        return [torch.from_numpy(np.lexsort((np.arange(count), kinds, group)))]


def _copies(choice: Sequence[Sequence[Run]]) -> int:
    return sum(len(run.numbers) for runs in choice if len(runs) > 1 or not runs[0].is_whole for run in runs)


def _targets(kinds: Numbers, groups: int) -> list[Numbers]:
    """For each kind its channels, group after group, with as many -1 as make all groups of all kinds equal."""
    by_group = kinds.reshape(groups, -1)
    places = np.arange(kinds.size).reshape(groups, -1)
    size = max(int((row == kind).sum()) for kind in np.unique(kinds) for row in by_group)
    ways = []
    for kind in np.unique(kinds):
        rows = [place[row == kind] for place, row in zip(places, by_group, strict=True)]
        ways.append(np.concatenate([np.pad(row, (0, size - len(row)), constant_values=-1) for row in rows]))
    return ways
