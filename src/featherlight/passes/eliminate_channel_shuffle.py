"""Channel shuffles into weights: the permutation is carried as a symbol and absorbed where weights can take it.

Pattern: anything that only moves whole channels, however it is written (:mod:`featherlight.passes.channels`): shuffles,
splits and concatenations between them, gathers. Check: whether it does keep channels whole, and whether the operators
around it are understood (:mod:`featherlight.passes.roles`); one that is not gets its channels as they were. Rewrite
(:mod:`featherlight.passes.rewriting`): from the end to the beginning every operator says which channels it needs
together; from the beginning to the end every convolution makes its channels in an order that suits all who take them,
and takes its own in the order in which they come. What remains are contiguous slices and concatenations, or what the
form says (:mod:`featherlight.passes.forms`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch.fx import GraphModule, Node

from featherlight.passes.base import Tally
from featherlight.passes.channels import Channels, find_channels, is_move
from featherlight.passes.forms import FORMS, Form
from featherlight.passes.graph import operator_name
from featherlight.passes.rewriting import Rewriter
from featherlight.passes.roles import Role, is_squeeze, role_of


@dataclass(frozen=True)
class EliminateChannelShuffle:
    """The pass, for one form."""

    form: Form = FORMS["slices"]
    name: str = "eliminate_channel_shuffle"

    def run(self, module: GraphModule, tally: Tally) -> None:
        """See :class:`featherlight.passes.base.Pass`."""
        squeezes = frozenset(node for node in module.graph.nodes if is_squeeze(node))
        channels = find_channels(module, squeezes)
        shuffles = find_shuffles(module, channels)
        _explain_torn(channels, squeezes, tally)
        if not shuffles:
            return
        joins = self._joins(module, channels)
        if joins:
            channels = find_channels(module, squeezes | joins)
        rewriter = Rewriter(module, channels, _roles(module, channels, joins), self.form)
        rewriter.run()
        tally.applied = len(shuffles)
        made = rewriter.assembler
        tally.notes.append(f"form {self.form.name}: {self.form.what}")
        tally.notes.append(
            f"remain: {made.slices} slices, {made.splits} splits, {made.joins} concatenations, {made.gathers} gathers"
        )

    def _joins(self, module: GraphModule, channels: Channels) -> frozenset[Node]:
        """The concatenations of whole channels that the form keeps."""
        return frozenset(
            node
            for node in module.graph.nodes
            if self.form.keeps_joins
            and operator_name(node) == "cat"
            and node not in channels.computing
            and _has_distinct(node, channels)
        )


def _has_distinct(node: Node, channels: Channels) -> bool:
    numbers = channels.held.get(node)
    sources = node.all_input_nodes
    if numbers is None or any(source not in channels.held for source in sources):
        return False
    return len(np.unique(numbers)) == len(numbers) == sum(len(channels.held[source]) for source in sources)


def _roles(module: GraphModule, channels: Channels, joins: frozenset[Node]) -> dict[Node, Role]:
    """The roles of all nodes that compute; those that take a channel twice get it as it was."""
    roles: dict[Node, Role] = {}
    for node in module.graph.nodes:
        if node.op in ("placeholder", "get_attr") or not is_move(node) or node in channels.computing:
            role = role_of(node, joins)
            if role.kind != "opaque" and not _is_understood(node, role, channels):
                role = Role("opaque", tuple(node.all_input_nodes))
            roles[node] = role
    return roles


def _is_understood(node: Node, role: Role, channels: Channels) -> bool:
    if node not in channels.sources:
        return False
    if role.kind == "join":
        return True
    held = [channels.held.get(source) for source in role.inputs]
    return all(numbers is not None and len(np.unique(numbers)) == len(numbers) for numbers in held)


def find_shuffles(module: GraphModule, channels: Channels) -> list[Node]:
    """Moves that bring channels out of their sequence."""
    return [node for node in module.graph.nodes if _is_shuffle(node, channels)]


def _is_shuffle(node: Node, channels: Channels) -> bool:
    if not is_move(node) or node in channels.computing or node not in channels.held:
        return False
    before = [channels.held[source] for source in _held_before(node, channels)]
    if not before:
        return False
    where = {number: place for place, number in enumerate(np.concatenate(before).tolist())}
    places = np.array([where.get(number, -1) for number in channels.held[node].tolist()])
    return bool((np.diff(places) != 1).any())


def _held_before(node: Node, channels: Channels) -> list[Node]:
    """The nearest tensors with whole channels that a move comes from, across others that move them."""
    found: list[Node] = []
    for source in node.all_input_nodes:
        if source in channels.held:
            found.append(source)
        elif is_move(source):
            found.extend(_held_before(source, channels))
    return found


def _explain_torn(channels: Channels, squeezes: frozenset[Node], tally: Tally) -> None:
    for node in channels.computing - squeezes:
        tally.refuse(f"{operator_name(node)} does not keep channels whole, or what it does depends on the batch")
