"""A network's exact forms, timed in the engine that will run it: the fastest is exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import log
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from featherlight.console import counting
from featherlight.cost.latency import Latency, measure_latencies
from featherlight.engines import open_engine
from featherlight.engines.exported import ExportedCard
from featherlight.errors import UsageError
from featherlight.passes import KEPT, Simplified, explain, simplify, simplify_forms
from featherlight.targets.base import Draft, Target

BATCHES = (1, 16)
BUDGET_S = 1.0  # on each form and batch
_Calls = dict[tuple[str, int], Callable[[], object]]


@dataclass(frozen=True)
class Chosen:
    """The network to export, and why it looks as it does, in lines."""

    network: nn.Module
    explanation: tuple[str, ...]


def choose_form(network: nn.Module, target: Target, exported: ExportedCard, form: str = "auto") -> Chosen:
    """Runs the graph passes; of several exact forms takes the one that is fastest here.

    Args:
        network: as it was trained.
        target: what will write it.
        exported: of the file to be.
        form: a form's name, or ``auto`` to measure.

    Raises:
        UsageError: an unknown form, or the target can write none.
    """
    size, channels = exported.card.preprocessing.input_size, exported.card.preprocessing.in_channels
    example = torch.zeros(1, channels, size, size)
    if form == "auto" and target.auto_form is not None:
        form = target.auto_form
    if form != "auto":
        return _as_chosen(simplify(network, example, form=form), ())
    forms = simplify_forms(network, example)
    if len(forms) == 1:
        return _as_chosen(next(iter(forms.values())), ())
    latencies, refused = _measure(forms, target, exported)
    written = [name for name in forms if name not in refused]
    best = min(written, key=lambda name: sum(log(latencies[name, batch].p50_ms) for batch in BATCHES))
    reasons = [f"  {name}: {reason}" for name, reason in refused.items()]
    return _as_chosen(forms[best], [*_table(written, best, latencies), *reasons])


def _as_chosen(simplified: Simplified, lines: Sequence[str]) -> Chosen:
    return Chosen(simplified.module.eval(), (*explain(simplified), *lines))


def _measure(
    forms: dict[str, Simplified], target: Target, exported: ExportedCard
) -> tuple[dict[tuple[str, int], Latency], dict[str, UsageError]]:
    """All forms beside each other: files without preprocessing, which is the same in all; and why some have no file."""
    size = exported.card.preprocessing.input_size
    calls: _Calls = {}
    refused: dict[str, UsageError] = {}
    with TemporaryDirectory(prefix="featherlight-forms-") as place, counting("forms", len(forms), "forms") as advance:
        for name, simplified in forms.items():
            folder = Path(place) / name
            folder.mkdir()
            advance(1)
            try:
                target.write(Draft(simplified.module.eval(), replace(exported, input="tensor")), folder)
            except UsageError as error:
                refused[name] = error
                continue
            engine = open_engine(folder / target.file_names[0], target.engine)
            for batch in BATCHES:
                calls[name, batch] = partial(engine.logits, np.zeros((batch, size, size, 3), np.uint8))
        if not calls:
            raise next(iter(refused.values()))
        return measure_latencies(calls, BUDGET_S), refused


def _table(names: Sequence[str], best: str, latencies: dict[tuple[str, int], Latency]) -> list[str]:
    lines = [f"forms, in ms for a batch of {' / '.join(map(str, BATCHES))} on this machine:"]
    for name in names:
        times = " / ".join(f"{latencies[name, batch].p50_ms:.2f}" for batch in BATCHES)
        lines.append(f"  {'as it was' if name == KEPT else name}: {times}{', taken' if name == best else ''}")
    return lines
