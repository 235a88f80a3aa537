"""What the passes did, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from featherlight.passes.base import Step
from featherlight.passes.simplify import Simplified


def explain(simplified: Simplified) -> list[str]:
    """Lines for ``export --explain``: each pass, what it refused and why, and the operators before and after."""
    if simplified.problem is not None:
        return [f"No pass ran: the network cannot be traced ({simplified.problem}). It is exported as it is."]
    lines = [line for step in simplified.steps for line in _step(step)]
    return [*lines, *_operators(simplified)]


def _step(step: Step) -> Iterator[str]:
    places = {0: "nothing to do", 1: "1 place"}.get(step.applied, f"{step.applied:,} places")
    if step.refused and not step.applied:
        places = "nothing done"
    yield f"{step.name}: {places}"
    yield from (f"  {note}" for note in step.notes)
    for reason, count in step.refused.items():
        yield f"  left alone{'' if count == 1 else f' {count:,} times'}: {reason}"


def _operators(simplified: Simplified) -> Iterator[str]:
    if not simplified.steps:
        return
    before, after = simplified.steps[0].before, simplified.steps[-1].after
    yield f"operators: {sum(before.values()):,} before, {sum(after.values()):,} after"
    for name in sorted({*before, *after}):
        if before.get(name, 0) != after.get(name, 0):
            yield f"  {name}: {before.get(name, 0):,} -> {after.get(name, 0):,}"
