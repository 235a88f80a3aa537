"""The winner as files: finished, exported, verified, measured; if that fails, the next best takes its place."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from featherlight.choosing import show_figures
from featherlight.console import note, silence
from featherlight.device_profile import DeviceProfile
from featherlight.engines import open_engine
from featherlight.errors import GateFailedError, UsageError
from featherlight.files import sweep_staging
from featherlight.model_file import MODEL_FILE_NAME
from featherlight.passes import DEFAULT_FORM
from featherlight.phrases import phrase
from featherlight.sources.base import Source
from featherlight.workflows.choose_measure import BUDGET_S, latency_of_file
from featherlight.workflows.choose_race import may_time_forms, standing
from featherlight.workflows.choose_state import State
from featherlight.workflows.evaluate import EVALUATION_FILE_NAME, evaluate_split
from featherlight.workflows.export import Export, export
from featherlight.workflows.train import resume

SECOND_LOOK = 3  # times as long: a latency that breaks its limit is measured once more before it counts


def deliver(state: State, source: Source, profile: DeviceProfile | None) -> str | None:
    """Makes files of the best network that keeps its promises; returns its name, or None if none does.

    One whose exported file gives other answers, or breaks a limit, is dropped with the reason.

    Raises:
        FeatherlightError: something cannot be written.
    """
    for name in standing(state):
        entry = state.entries[name]
        if not entry.delivered:
            entry.dropped = _deliver(name, state, source, profile)
            if entry.dropped:
                note(f"{name} is out: {entry.dropped}")
            state.save()
        if not entry.dropped:
            return name
    return None


def _deliver(name: str, state: State, source: Source, profile: DeviceProfile | None) -> str:
    """Makes and measures the files of one network; returns why they will not do, or nothing."""
    order, entry, run = state.order, state.entries[name], state.run_of(name)
    note(f"exporting and verifying {name}")
    with silence():
        if not (run / MODEL_FILE_NAME).exists() or not (run / EVALUATION_FILE_NAME).exists():
            resume(run)
        try:
            made = _export(state, run)
        except (GateFailedError, UsageError) as error:
            return str(error).partition(" Details:")[0].rstrip(".")
        measured = _measure(state, made.path, entry.input_size)
    latency = entry.latency_ms if profile is not None else measured
    if broken := order.limits.broken_by(latency, made.size_bytes, entry.macs):
        shutil.rmtree(state.folder / order.target, ignore_errors=True)  # a file that is refused must not be taken
        return phrase("exported: {limits}", limits=broken)
    with silence():
        engine = open_engine(made.path, "auto", "auto", order.threads)
        evaluation, _ = evaluate_split(engine, source, "test", str(made.path))
    entry.latency_ms, entry.size_bytes = latency, made.size_bytes
    entry.delivered = {
        "accuracy": evaluation.top1,
        "interval": list(evaluation.top1_interval or ()),
        "num_images": evaluation.num_images,
        "agreement": made.verification.agreement,
        "latency_here_ms": measured,
        "files": [str(path.relative_to(state.folder)) for path in (*made.files, run / MODEL_FILE_NAME)],
    }
    note(f"{name}: {show_figures(latency, made.size_bytes, entry.macs)}")
    return ""


def _export(state: State, run: Path) -> Export:
    order = state.order
    options: dict[str, Any] = {"int8": order.int8, "half_weights": order.half_weights}
    form = "auto" if may_time_forms(state) else DEFAULT_FORM
    out = state.folder / order.target
    sweep_staging(out)
    return export(run, order.target, out=out, form=form, **options)


def _measure(state: State, file: Path, input_size: int) -> float:
    """Median milliseconds; one that is too slow is looked at twice, since something else may have been running."""
    limit = state.order.limits.latency_ms
    found = latency_of_file(file, state.order, input_size, BUDGET_S)
    if limit is not None and found > limit:
        found = min(found, latency_of_file(file, state.order, input_size, SECOND_LOOK * BUDGET_S))
    return found
