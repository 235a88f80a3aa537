"""Models -> how fast, how large and how right they are in each engine, precision, batch size and number of threads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from featherlight.console import note
from featherlight.cost.latency import (
    Latency,
    check_threads,
    machine_name,
    measure_latencies,
    usable_cores,
)
from featherlight.device_profile import DeviceProfile, MeasuredNetwork, write_device_profile
from featherlight.phrases import counted
from featherlight.report.figure import check_plot_path
from featherlight.report.pareto import Point, plot_pareto
from featherlight.workflows.benchmark_subject import Subject, forward_call, open_subject
from featherlight.workflows.benchmark_subjects import Wish, prepare_subjects
from featherlight.workflows.evaluate import evaluate_engine
from featherlight.workflows.peak_memory import peak_memory_bytes

DEFAULT_BATCHES = (1, 8)
DEFAULT_PRECISIONS = ("float32",)
RUNTIMES = ("featherlight", "torch", "onnxruntime", "openvino", "ncnn", "ai-edge-litert", "executorch")

Setting = tuple[Subject, int, int]  # what runs, images in a batch, threads


@dataclass(frozen=True)
class Measurement:
    """One setting, measured.

    Attributes:
        model: as the person named it.
        network: registered name.
        num_classes: outputs.
        input_size: side of the image, pixels.
        engine: runtime.
        precision: in which it computes.
        batch: images at a time.
        threads: it may use.
        p50_ms: half of the batches are faster.
        p95_ms: 95 % of the batches are faster.
        low_ms: the lowest of the rounds' medians.
        high_ms: the highest of them; far from ``low_ms``, the machine was not quiet.
        images_per_s: at ``p50_ms``.
        size_bytes: on disk.
        peak_memory_bytes: resident, of a process that only runs this; None when it was not asked for.
        accuracy: on the person's images; None without them.
    """

    model: str
    network: str
    num_classes: int
    input_size: int
    engine: str
    precision: str
    batch: int
    threads: int
    p50_ms: float
    p95_ms: float
    low_ms: float
    high_ms: float
    images_per_s: float
    size_bytes: int
    peak_memory_bytes: int | None
    accuracy: float | None

    def to_row(self) -> dict[str, Any]:
        """The row that ``benchmark --json`` prints."""
        return asdict(self)


def benchmark(
    models: Sequence[str | Path] | str | Path,
    *,
    engines: Sequence[str] = (),
    precisions: Sequence[str] = DEFAULT_PRECISIONS,
    batches: Sequence[int] = DEFAULT_BATCHES,
    threads: Sequence[int] | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    input_size: int | None = None,
    num_classes: int | None = None,
    budget_s: float = 2.0,
    memory: bool = True,
    plot: str | Path | None = None,
    save_profile: str | Path | None = None,
) -> list[Measurement]:
    """Measures models beside each other, in one run and in alternating order.

    A call takes a batch of images of the network's size, uint8, and gives logits: what a person waits for but reading
    and resizing.

    Args:
        models: run directories, model files, exported files, or network names (untrained, fresh weights).
        engines: runtimes; by default all that are installed. An exported file runs in its own.
        precisions: ``float32``, ``bfloat16``, ``int8``; an exported file has its own.
        batches: numbers of images at a time.
        threads: numbers of threads; by default all cores of this process.
        data: images to measure accuracy on.
        split: which of them; by default test if there is one, else val.
        input_size: side of the image for networks given by name; by default 224.
        num_classes: outputs of networks given by name; by default 1000.
        budget_s: seconds to spend on each setting, about.
        memory: also start a process for each setting and look how much memory it takes.
        plot: a .png or .svg file for accuracy (else size) against latency.
        save_profile: a .json file for :func:`featherlight.device_profile.read_device_profile`.

    Returns:
        A measurement for each model, engine, precision, batch and number of threads.

    Raises:
        UsageError: unknown names, more threads than cores, nothing to measure.
        ModelFileError: no usable model file.
        MissingExtraError: a runtime that was asked for is not installed.
    """
    if plot is not None:
        check_plot_path(Path(plot))
    counts = tuple(threads or (usable_cores(),))
    for count in counts:
        check_threads(count)
    named = [models] if isinstance(models, str | Path) else list(models)
    with tempfile.TemporaryDirectory(prefix="featherlight-benchmark-") as folder:
        wish = Wish(engines, precisions, input_size, num_classes, data)
        subjects = prepare_subjects(named, wish, Path(folder))
        settings = [(subject, batch, count) for subject in subjects for batch in batches for count in counts]
        found = _measure_all(settings, budget_s, memory, data, split)
    if save_profile is not None:
        write_device_profile(Path(save_profile), device_profile(found))
    if plot is not None:
        _plot(Path(plot), found)
    return found


def device_profile(measurements: Sequence[Measurement]) -> DeviceProfile:
    """The measurements as what others can plan with: networks by their registered names."""
    names = MeasuredNetwork.__dataclass_fields__
    rows = (MeasuredNetwork(**{name: getattr(row, name) for name in names}) for row in measurements)
    facts = {"created": datetime.now(timezone.utc).isoformat(timespec="seconds"), "versions": _versions()}
    return DeviceProfile(machine_name(), facts, tuple(rows))


def _measure_all(
    settings: Sequence[Setting], budget_s: float, memory: bool, data: str | Path | None, split: str | None
) -> list[Measurement]:
    note(f"measuring {counted(len(settings), 'setting')} for about {budget_s * len(settings):.0f} s")
    latencies = _measure_latencies(settings, budget_s)
    peaks = {setting: peak_memory_bytes(*setting) for setting in settings} if memory else {}
    subjects = dict.fromkeys(subject for subject, _, _ in settings)
    accuracies = {} if data is None else {subject: _accuracy(subject, data, split) for subject in subjects}
    return [_row(setting, latencies[setting], peaks.get(setting), accuracies.get(setting[0])) for setting in settings]


def _measure_latencies(settings: Sequence[Setting], budget_s: float) -> dict[Setting, Latency]:
    """Every setting in one process, in turn; each has a loaded model of its own."""
    return measure_latencies({setting: _call(*setting) for setting in settings}, budget_s)


def _call(subject: Subject, batch: int, threads: int) -> Callable[[], object]:
    return forward_call(open_subject(subject, threads), batch, subject.input_size, threads)


def _accuracy(subject: Subject, data: str | Path, split: str | None) -> float:
    note(f"evaluating {subject.model} in {subject.engine}, {subject.precision}")
    evaluation, _ = evaluate_engine(open_subject(subject), subject.file, data, split)
    return evaluation.top1


def _row(setting: Setting, latency: Latency, peak: int | None, accuracy: float | None) -> Measurement:
    subject, batch, threads = setting
    return Measurement(
        subject.model, subject.network, subject.num_classes, subject.input_size, subject.engine, subject.precision,
        batch, threads, latency.p50_ms, latency.p95_ms, latency.low_ms, latency.high_ms, 1000 * batch / latency.p50_ms,
        subject.size_bytes, peak, accuracy,
    )  # fmt: skip


def _versions() -> dict[str, str]:
    found = {}
    for name in RUNTIMES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _plot(path: Path, rows: Sequence[Measurement]) -> None:
    """Accuracy against milliseconds an image; where accuracy is not known, smallness against it."""
    right = all(row.accuracy is not None for row in rows)
    points = [
        Point(
            f"{Path(row.model).name} {row.engine} {row.precision} b{row.batch} t{row.threads}",
            row.p50_ms / row.batch,
            100 * (row.accuracy or 0) if right else -row.size_bytes / 1e6,
        )
        for row in rows
    ]
    axes = ("ms an image (median)", "accuracy, %" if right else "size on disk, MB, negative")
    plot_pareto(path, points, machine_name(), axes)
