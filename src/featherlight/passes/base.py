"""What a graph pass is, and what running one tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from torch.fx import GraphModule, Node

from featherlight.passes.graph import count_operators, finish

Value = TypeVar("Value")


@dataclass(frozen=True)
class Step:
    """What one pass did to a network.

    Attributes:
        name: of the pass.
        applied: how many places it rewrote.
        refused: why it left other places alone, and how often: reason -> places.
        before: how often each operator occurred before it.
        after: and after it.
        notes: what else is worth telling.
    """

    name: str
    applied: int
    refused: Mapping[str, int] = field(default_factory=dict)
    before: Mapping[str, int] = field(default_factory=dict)
    after: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass
class Tally:
    """Counts what a pass does while it runs."""

    applied: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def refuse(self, reason: str) -> None:
        """Notes a place that stays as it is."""
        self.refused[reason] = self.refused.get(reason, 0) + 1


class Pass(Protocol):
    """Rewrites a graph in place into one that computes the same."""

    @property
    def name(self) -> str:
        """As it is asked for."""

    def run(self, module: GraphModule, tally: Tally) -> None:
        """Rewrites what it can and notes what it refuses."""


@dataclass(frozen=True)
class Rule:
    """A pass that looks at one node at a time.

    Attributes:
        name: as it is asked for.
        matches: the pattern: whether the pass is about this node.
        check: why a matching node stays as it is; None if it may be rewritten.
        rewrite: does it. New nodes are added in front of the node.
    """

    name: str
    matches: Callable[[Node], bool]
    check: Callable[[Node], str | None]
    rewrite: Callable[[GraphModule, Node], None]

    def run(self, module: GraphModule, tally: Tally) -> None:
        """See :class:`Pass`."""
        for node in list(module.graph.nodes):
            if node._erased or not self.matches(node):
                continue
            reason = self.check(node)
            if reason is not None:
                tally.refuse(reason)
                continue
            with module.graph.inserting_before(node):
                self.rewrite(module, node)
            tally.applied += 1


def run_pass(one: Pass, module: GraphModule) -> Step:
    """Runs a pass and says what it did."""
    before, tally = count_operators(module), Tally()
    one.run(module, tally)
    finish(module)
    return Step(one.name, tally.applied, tally.refused, before, count_operators(module), tuple(tally.notes))


def given(value: Value | None) -> Value:
    """What the pattern or the check has already found to be there."""
    if value is None:
        raise ValueError("a rewrite without its pattern")
    return value


def never(node: Node) -> str | None:  # noqa: ARG001
    """The check of a rule that every match passes."""
    return None
