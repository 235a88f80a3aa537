"""The page of a comparison: the answer, what models reach and cost, and where they differ; it loads nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featherlight.comparison import Answers, ComparedModel, Comparison, Pair
from featherlight.report.curves import History
from featherlight.report.lines import COLOURS, Chart, Line, lines_svg, write_lines
from featherlight.report.rendering import load_template, thumbnail, write_page
from featherlight.report.texts import Texts, texts
from featherlight.sources.base import RGBImage

MAX_PICTURED = 48
MAX_CLASSES = 1000


@dataclass(frozen=True)
class _Column:
    """A figure of all models."""

    title: str
    values: Sequence[float | None]
    texts: Sequence[str]
    best: int  # place of the best; -1: none is
    ranges: Sequence[str] = ()


def write_compare_page(
    path: Path,
    comparison: Comparison,
    histories: Mapping[str, History],
    pictures: Sequence[tuple[Answers, RGBImage | None]],
    command: str,
    lang: str = "en",
) -> None:
    """Writes the page.

    Args:
        path: the HTML file.
        comparison: the result.
        histories: name of a model -> rows of its ``metrics.jsonl``; of those that have some.
        pictures: the first disagreements with their images; None: it can no longer be read.
        command: that compares again.
        lang: language of the page: ``en`` or ``zh``.

    Raises:
        UsageError: no such language.
    """
    say = texts(lang)
    charts = training_charts(comparison.models, histories, say)
    page = load_template("compare.html", lang).render(
        comparison=comparison,
        columns=_columns(comparison.models, say),
        colours=len(COLOURS),
        pairs=_place_pairs(comparison.pairs),
        charts="\n".join(lines_svg(chart, say) for chart in charts),
        class_rows=_class_rows(comparison),
        pictured=[(one, "" if image is None else thumbnail(image)) for one, image in pictures],
        command=command,
    )
    write_page(path, page)


def write_training_curves(path: Path, models: Sequence[ComparedModel], histories: Mapping[str, History]) -> None:
    """Accuracy and loss of several runs in one picture, a PNG; without histories nothing is written.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    write_lines(path, training_charts(models, histories))


def training_charts(
    models: Sequence[ComparedModel], histories: Mapping[str, History], say: Texts | None = None
) -> list[Chart]:
    """Accuracy over epochs and over time, and loss, on validation; empty where no run left rows."""
    if not any(histories.values()):
        return []
    say = say or texts()
    accuracy, loss, epoch, nth = (
        say(text) for text in ("Accuracy on validation", "Loss on validation", "epoch", "epoch {}")
    )
    wanted = (
        (accuracy, epoch, "epoch", "val_top1", True, nth),
        (accuracy, say("minutes of training"), "seconds", "val_top1", True, say("{} min")),
        (loss, epoch, "epoch", "val_loss", False, nth),
    )
    charts = []
    for title, axis, x, y, percent, unit in wanted:
        scale = 1 / 60 if x == "seconds" else 1.0
        lines = [_line(model.name, histories.get(model.name, ()), x, y, scale) for model in models]
        charts.append(Chart(title, axis, lines, percent=percent, unit=unit))
    return charts


def _line(name: str, history: History, x: str, y: str, scale: float) -> Line:
    """A model without a history keeps its place, and so its colour."""
    return Line(name, [scale * _number(row.get(x)) for row in history], [_number(row.get(y)) for row in history])


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _columns(models: Sequence[ComparedModel], say: Texts) -> list[_Column]:
    ranges = [
        say("{low} to {high}", low=f"{100 * low:.1f}", high=f"{100 * high:.1f}")
        for low, high in (model.accuracy_interval for model in models)
    ]
    accuracy = _column(say("Accuracy"), [model.accuracy for model in models], lambda v: f"{100 * v:.2f}%", best=max)
    columns = [
        replace(accuracy, ranges=ranges),
        _column("ECE", [model.ece for model in models], lambda v: f"{100 * v:.2f}%"),
        _column("NLL", [model.nll for model in models], lambda v: f"{v:.3f}"),
        _column(say("Size"), [model.size_bytes for model in models], lambda v: f"{v / 1e6:.2f} MB"),
        _column(say("Parameters"), [model.params for model in models], lambda v: f"{v / 1e6:.2f} M"),
        _column("MACs", [model.macs for model in models], lambda v: f"{v / 1e6:.1f} M"),
        _column(say("Latency"), [model.latency_ms for model in models], lambda v: f"{v:.2f} ms"),
    ]
    return [one for one in columns if any(value is not None for value in one.values)]


def _column(
    title: str,
    values: Sequence[float | None],
    text: Callable[[float], str],
    best: Callable[[Sequence[float]], float] = min,
) -> _Column:
    """A column in which one that is better than all others stands out."""
    known = [value for value in values if value is not None]
    winner = best(known) if known else None
    texts = ["-" if value is None else text(value) for value in values]
    is_seen = winner is not None and texts.count(text(winner)) == 1  # rounded alike, none looks better
    return _Column(title, values, texts, values.index(winner) if is_seen else -1)


def _place_pairs(pairs: Sequence[Pair]) -> list[tuple[Pair, dict[str, str]]]:
    """Each pair, and where its interval lies between the ends of all: 0 and 1, no difference in the middle."""
    reach = max((abs(end) for pair in pairs for end in (*pair.interval, pair.difference)), default=0) or 1.0

    def place(value: float) -> float:
        return 0.5 + 0.46 * value / reach

    placed = []
    for pair in pairs:
        low, high = (place(end) for end in pair.interval)
        middle = place(pair.difference)
        placed.append((pair, {"left": f"{low:.3f}", "width": f"{high - low:.3f}", "middle": f"{middle:.3f}"}))
    return placed


def _class_rows(comparison: Comparison) -> list[tuple[str, list[float], float]]:
    """(class, recall of each model, largest minus smallest), those where the models differ most first."""
    rows = []
    for name in comparison.classes:
        if all(name in model.recall for model in comparison.models):  # it has images
            recalls = [model.recall[name] for model in comparison.models]
            rows.append((name, recalls, max(recalls) - min(recalls)))
    return sorted(rows, key=lambda row: -row[2])[:MAX_CLASSES]
