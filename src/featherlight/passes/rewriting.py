"""Operators anew, on channels in another order."""

from __future__ import annotations

from collections.abc import Sequence

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
from featherlight.passes.weights import columns_in_groups, places_of, take

_LEAST_WAY = 4  # channels that a convolution must have on average before it is split


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
        runs = self.assembler.runs(uses[0], may_take_more=True)
        if not (self.form.splits and self._are_all_parts(runs)):
            part = self.assembler.join(runs)
            runs = [Run(part, 0, len(part.numbers))]
        self._set(*(self._copied(node, role, (run.part,), uses[0].numbers) for run in runs))

    def _are_all_parts(self, runs: Sequence[Run]) -> bool:
        """Whether the runs are the whole of one source, which was split."""
        owners = {self.channels.owners[number] for run in runs for number in run.numbers if number != FILL}
        return len(owners) == 1 and all(run.is_whole for run in runs)

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
        runs = self.assembler.runs(use, may_take_more=len(np.unique(use.numbers)) == len(use.numbers))
        inputs = [self._cut(run) for run in runs] if self.form.adds else [self.assembler.join(runs)]
        weight, bias = weights_of(node)
        columns = [take(weight, places_of(part.numbers, use.numbers), 1) for part in inputs]
        if len(np.unique(use.numbers)) < len(use.numbers):
            columns = [weight]  # taken as they are, one by one
        self._set(*(self._rows(node, rows, inputs, columns, bias) for rows in self._ways(node)))

    def _cut(self, run: Run) -> Part:
        return Part(self.assembler.cut(run), run.numbers)

    def _rows(
        self, node: Node, rows: Tensor, inputs: Sequence[Part], columns: Sequence[Tensor], bias: Tensor | None
    ) -> Part:
        """One convolution for some output channels; a sum where there are several inputs."""
        total: Node | None = None
        for part, weight in zip(inputs, columns, strict=True):
            new_bias = self._constant(node, "bias", take(bias, rows)) if bias is not None and total is None else None
            new_weight = self._constant(node, "weight", take(weight, rows))
            layer = call(self.module, node.target, (part.node, new_weight, new_bias, *node.args[3:6]))
            total = layer if total is None else call(self.module, aten.add.Tensor, (total, layer))
        assert total is not None
        return Part(total, self._own(node, rows))

    def _ways(self, node: Node) -> list[Tensor]:
        """The output channels of a layer, in their new order, by tensor."""
        if not self.form.reorders:
            return [torch.arange(len(self.channels.held[node]))]
        kinds = self.demands.kinds(node)
        order = np.argsort(kinds, kind="stable")
        count = len(np.unique(kinds))
        if not self.form.splits or count == 1 or count * _LEAST_WAY > len(order):
            return [torch.from_numpy(order)]
        return [torch.from_numpy(_filled(way, self.form.block)) for way in _packed(order, kinds, self.form.block)]

    def _grouped(self, node: Node, role: Role) -> None:
        (use,) = self.demands.uses_of(node)
        part = self.assembler.join(self.assembler.runs(use, may_take_more=False))
        weight, bias = weights_of(node)
        group = np.arange(len(weight)) // (len(weight) // role.groups)
        kinds = self.demands.kinds(node) if self.form.reorders else np.zeros(len(weight), np.int64)
        rows = torch.from_numpy(np.lexsort((np.arange(len(weight)), kinds, group)))
        columns = places_of(part.numbers, use.numbers)
        if self.form.dense and len(np.unique(kinds)) > 1:
            rows, role = torch.from_numpy(np.argsort(kinds, kind="stable")), Role("dense", role.inputs)
            weight = _as_dense(weight, group)[rows][:, columns]
        else:
            weight = columns_in_groups(weight, rows, columns, role.groups)
        new_weight = self._constant(node, "weight", weight)
        new_bias = None if bias is None else self._constant(node, "bias", bias[rows])
        args = (part.node, new_weight, new_bias, *node.args[3:6], role.groups)
        self._set(Part(call(self.module, node.target, args), self._own(node, rows)))


def _copies(choice: Sequence[Sequence[Run]]) -> int:
    return sum(len(run.numbers) for runs in choice if len(runs) > 1 or not runs[0].is_whole for run in runs)


def _packed(order: Numbers, kinds: Numbers, block: int) -> list[Numbers]:
    """Channels of a kind together; kinds that would fill less than half a block share one."""
    ways, shared = [], []
    for kind in np.unique(kinds):
        way = order[kinds[order] == kind]
        if 2 * len(way) > block:
            ways.append(way)
            continue
        if sum(map(len, shared)) + len(way) > block:
            ways.append(np.concatenate(shared))
            shared = []
        shared.append(way)
    return [*ways, np.concatenate(shared)] if shared else ways


def _filled(places: Numbers, block: int) -> Numbers:
    """``places`` and as many -1 as fill a block."""
    return np.concatenate([places, np.full(-len(places) % block, -1)])


def _as_dense(weight: Tensor, group: Numbers) -> Tensor:
    """A grouped convolution's weight for all input channels, with zeros in between."""
    groups, per_group = int(group[-1]) + 1, weight.shape[1]
    dense = weight.new_zeros(len(weight), groups * per_group, *weight.shape[2:])
    for row in range(len(weight)):
        dense[row, group[row] * per_group : (group[row] + 1) * per_group] = weight[row]
    return dense
