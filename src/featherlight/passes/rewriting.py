"""Operators anew, on channels in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from featherlight.passes.affine import weights_of
from featherlight.passes.assembly import Assembler, Part, Run
from featherlight.passes.channels import Channels, Numbers
from featherlight.passes.demands import Demands, Use
from featherlight.passes.forms import Form
from featherlight.passes.graph import add_constant, aten, call, constant, known
from featherlight.passes.roles import Role, is_squeeze
from featherlight.passes.weights import places_of, reorder_grouped


class Rewriter:
    """Writes operator after operator anew, in front of the one it replaces."""

    def __init__(self, module: GraphModule, channels: Channels, roles: dict[Node, Role], form: Form) -> None:
        self.module, self.channels, self.form = module, channels, form
        self.demands = Demands(channels, roles)
        self.assembler = Assembler(module, form)
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

    def _own(self, node: Node, places: Tensor) -> Numbers:
        """Numbers of a source's channels that stand at these places of it."""
        numbers: Numbers = places.numpy() + self.channels.sources[node]
        return numbers

    def _opaque(self, node: Node, role: Role) -> None:
        for source in role.inputs:
            if source in self.channels.held:
                numbers = self.channels.held[source]
                runs = self.assembler.runs(Use(numbers, np.arange(len(numbers))))
                node.replace_input_with(source, self.assembler.join(runs).node)
        if node in self.channels.sources:
            self.assembler.add(Part(node, self.channels.held[node]))

    def _join(self, node: Node, role: Role) -> None:  # noqa: ARG002
        (use,) = self.demands.uses_of(node)
        part = self.assembler.join(self.assembler.runs(use))
        self.assembler.add(Part(part.node, self._own(node, places_of(part.numbers, use.numbers))))

    def _channelwise(self, node: Node, role: Role) -> None:
        uses = self.demands.uses_of(node)
        if len(uses) > 1:
            inputs = self._agreeing(node, [use.numbers for use in uses])
            self.assembler.add(self._copied(node, role, inputs, uses[0].numbers))
            return
        numbers = uses[0].numbers
        # What already lies together stays as it is; whoever needs another order brings it about later.
        part = self.assembler.whole(numbers) if self.form.reorders else None
        self.assembler.add(
            self._copied(node, role, (part or self.assembler.join(self.assembler.runs(uses[0])),), numbers)
        )

    def _copied(self, node: Node, role: Role, inputs: Sequence[Part], numbers: Numbers) -> Part:
        """An operator that treats each channel by itself, on channels in the order of ``inputs``."""
        places = places_of(inputs[0].numbers, numbers)
        new = {source: part.node for source, part in zip(role.inputs, inputs, strict=True)}
        if is_squeeze(node):
            return Part(call(self.module, aten.flatten.using_ints, (inputs[0].node, 1)), self._own(node, places))
        args: list[Any] = [new.get(value, value) if isinstance(value, Node) else value for value in node.args]
        if role.kind == "depthwise":
            self._reorder_rows(node, args, places)
        for place in role.parameters:
            args[place] = self._reordered(args[place], places)
        return Part(call(self.module, node.target, tuple(args)), self._own(node, places))

    def _reorder_rows(self, node: Node, args: list[Any], places: Tensor) -> None:
        weight, bias = weights_of(node)
        args[1] = self._constant(node, "weight", weight[places])
        if bias is not None:
            args[2] = self._constant(node, "bias", bias[places])

    def _constant(self, node: Node, kind: str, value: Tensor) -> Node:
        """A weight, in the precision of the layer."""
        old: Any = node.args[1]
        stem = str(old.target).removesuffix("weight").rstrip("._")
        return add_constant(self.module, f"{stem}_{kind}", value.to(known(old).dtype).contiguous())

    def _reordered(self, value: object, places: Tensor) -> object:
        tensor = constant(value)
        if tensor is None or tensor.numel() == 1:
            return value
        dimension = 0 if tensor.ndim == 1 else next(d for d, size in enumerate(tensor.shape) if size == tensor.numel())
        return add_constant(self.module, str(value.target), tensor.index_select(dimension, places))  # type: ignore[attr-defined]

    def _agreeing(self, node: Node, numbers: Sequence[Numbers]) -> list[Part]:
        """Inputs of one order: the one that costs the fewest copies."""
        kinds, count = self.demands.kinds(node), len(numbers[0])
        orders = [np.arange(count)]
        for own in numbers:
            runs = self.assembler.runs(Use(own, kinds))
            orders.append(places_of(np.concatenate([run.numbers for run in runs]), own).numpy())
        choices = [[self.assembler.runs(Use(own, np.argsort(order))) for own in numbers] for order in orders]
        return [self.assembler.join(runs) for runs in min(choices, key=_copies)]

    def _dense(self, node: Node, role: Role) -> None:  # noqa: ARG002
        (use,) = self.demands.uses_of(node)
        part = self.assembler.join(self.assembler.runs(use))
        weight, bias = weights_of(node)
        if len(np.unique(use.numbers)) == len(use.numbers):  # else they are taken as they are, one by one
            weight = weight[:, places_of(part.numbers, use.numbers)]
        kinds = self.demands.kinds(node) if self.form.reorders else np.zeros(len(weight))
        rows = torch.from_numpy(np.argsort(kinds, kind="stable"))
        self.assembler.add(self._layer(node, part, weight[rows], bias, rows))

    def _layer(self, node: Node, part: Part, weight: Tensor, bias: Tensor | None, rows: Tensor) -> Part:
        """A convolution or linear layer with new weights, whose output channels are these of the old one."""
        new_weight = self._constant(node, "weight", weight)
        new_bias = None if bias is None else self._constant(node, "bias", bias[rows])
        layer = call(self.module, node.target, (part.node, new_weight, new_bias, *node.args[3:]))
        return Part(layer, self._own(node, rows))

    def _grouped(self, node: Node, role: Role) -> None:
        (use,) = self.demands.uses_of(node)
        part = self.assembler.join(self.assembler.runs(use))
        weight, bias = weights_of(node)
        group = np.arange(len(weight)) // (len(weight) // role.groups)
        kinds = self.demands.kinds(node) if self.form.reorders else group
        rows = torch.from_numpy(np.lexsort((kinds, group)))
        new = reorder_grouped(weight, rows, places_of(part.numbers, use.numbers), role.groups)
        self.assembler.add(self._layer(node, part, new, bias, rows))


def _copies(choice: Sequence[Sequence[Run]]) -> int:
    return sum(len(run.numbers) for runs in choice if len(runs) > 1 or not runs[0].is_whole for run in runs)
