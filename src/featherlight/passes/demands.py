"""What each operator asks of the order of its channels, followed from the end of the graph to its beginning.

A demand gives each channel of a tensor the number of its block: the blocks have to stand one after another, within a
block any order will do. A dense convolution has one block, a grouped one a block for each group; an operator that
must see its channels as they are has a block for each channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch.fx import Node

from featherlight.passes.channels import Channels, Numbers
from featherlight.passes.roles import Role


@dataclass(frozen=True)
class Use:
    """An operator takes these channels, in these blocks.

    Attributes:
        numbers: the channels, in the sequence of the graph as it was.
        blocks: the block of each.
    """

    numbers: Numbers
    blocks: Numbers

    @property
    def key(self) -> tuple[bytes, bytes]:
        """Equal for equal uses."""
        return self.numbers.tobytes(), self.blocks.tobytes()


class Demands:
    """All uses of all sources."""

    def __init__(self, channels: Channels, roles: dict[Node, Role]) -> None:
        self._channels, self._roles = channels, roles
        self._uses: dict[Node, dict[tuple[bytes, bytes], Use]] = {}
        for node in reversed(roles):
            for use in self.uses_of(node):
                self._note(use)

    def uses_of(self, node: Node) -> list[Use]:
        """The tensors with channels that an operator takes, and how."""
        held, role = self._channels.held, self._roles[node]
        if role.kind == "join":
            numbers = np.concatenate([held[source] for source in role.inputs])
            return [Use(numbers, self._inherited(node, 1))]
        return [Use(held[source], self._blocks(node, role, held[source])) for source in role.inputs if source in held]

    def _blocks(self, node: Node, role: Role, numbers: Numbers) -> Numbers:
        count = len(numbers)
        if role.kind == "opaque" or len(np.unique(numbers)) < count:
            return np.arange(count)
        if role.kind == "dense":
            return np.zeros(count, np.int64)
        if role.kind == "grouped":
            return np.arange(count) // (count // role.groups)
        return self._inherited(node, len(role.inputs))

    def _inherited(self, node: Node, inputs: int) -> Numbers:
        """An operator that keeps channels apart asks for what is asked of it; with two inputs, of both the same."""
        kinds = self.kinds(node)
        return kinds if inputs == 1 else np.argsort(np.argsort(kinds, kind="stable"))

    def _note(self, use: Use) -> None:
        for owner in dict.fromkeys(self._channels.owners[number] for number in use.numbers):
            self._uses.setdefault(owner, {})[use.key] = use

    def kinds(self, node: Node) -> Numbers:
        """For each channel of a source its kind: channels of a kind always go together."""
        first = self._channels.sources[node]
        count = len(self._channels.held[node])
        rows = [np.zeros(count, np.int64)]
        for use in reversed(self._uses.get(node, {}).values()):
            row = np.full(count, -1)
            is_ours = (use.numbers >= first) & (use.numbers < first + count)
            row[use.numbers[is_ours] - first] = use.blocks[is_ours]
            rows.append(row)
        kinds: Numbers = np.unique(np.stack(rows, 1), axis=0, return_inverse=True)[1].reshape(-1)
        return kinds
