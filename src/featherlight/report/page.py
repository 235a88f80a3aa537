"""The report: what a model does well and where it fails, as one HTML page that loads nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.console import counted
from featherlight.metrics import TOP_K, Evaluation
from featherlight.report.curves import History, curves_svg
from featherlight.report.rendering import load_template, thumbnail, write_page
from featherlight.sources.base import RGBImage

MAX_MISTAKES = 36
MAX_UNREADABLE = 100
MAX_MATRIX_CLASSES = 100  # a table grows with the square
MAX_LISTED_CLASSES = 1000
MAX_NUMBERED_CLASSES = 30  # above, cells are too small for numbers and have tooltips only


@dataclass(frozen=True)
class Mistake:
    """One image the model named wrongly.

    Attributes:
        path: what names the image.
        image: RGB uint8 (H, W, 3).
        true: name of its class.
        predicted: name the model gave.
        probability: the model's confidence in ``predicted``.
    """

    path: str
    image: RGBImage
    true: str
    predicted: str
    probability: float


def write_report(
    path: Path,
    evaluation: Evaluation,
    *,
    mistakes: Sequence[Mistake] = (),
    history: History = (),
    recipe: Mapping[str, object] = MappingProxyType({}),
    reproduce: str = "",
) -> None:
    """Writes the page; parts without content are left out.

    Args:
        path: the HTML file.
        evaluation: the numbers.
        mistakes: wrong images in any order; the most confident ones are shown.
        history: rows of ``metrics.jsonl``, for the curves.
        recipe: field -> value, as the run used them.
        reproduce: the command that makes this run again.
    """
    page = load_template("report.html").render(
        evaluation=evaluation,
        right=_right(evaluation),
        top_k=TOP_K,
        unreadable=evaluation.unreadable[:MAX_UNREADABLE],
        curves=curves_svg(history),
        training=_training_facts(history),
        matrix=_matrix(evaluation),
        listed=_listed_classes(evaluation),
        pairs=_pairs(evaluation),
        mistakes=_worst(mistakes),
        recipe={key: _value(value) for key, value in recipe.items()},
        reproduce=reproduce,
    )
    write_page(path, page)


def _right(evaluation: Evaluation) -> int:
    true, predicted, count = evaluation.confusions()
    return int(count[true == predicted].sum())


def _training_facts(history: History) -> str:
    if not history:
        return ""
    last = history[-1]
    facts = [counted(len(history), "epoch")]
    if last.get("seconds"):
        facts.append(_duration(last["seconds"]))
    if last.get("images_per_s"):
        facts.append(f"{last['images_per_s']:,.0f} images/s")
    return " · ".join(facts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _matrix(evaluation: Evaluation) -> dict[str, Any]:
    """The classes shown and, per row, cells as (count, strength of colour, is it right)."""
    shown = _shown_classes(evaluation)
    support = np.array([evaluation.per_class[evaluation.classes[i]]["support"] for i in shown])
    counts = _counts_among(evaluation, shown)
    share = counts / np.maximum(support, 1)[:, None]
    strength = np.where(np.eye(len(shown), dtype=bool), share, np.sqrt(share))  # the root keeps rare errors visible
    rows = [
        (i, int(support[k]), [(int(counts[k, n]), f"{strength[k, n]:.2f}", i == j, j) for n, j in enumerate(shown)])
        for k, i in enumerate(shown)
    ]
    size = "compact" if len(shown) > MAX_NUMBERED_CLASSES else "roomy" if len(shown) <= 12 else "middle"
    upright = size != "compact" and max(len(evaluation.classes[i]) for i in shown) <= 3
    return {"shown": shown, "rows": rows, "size": size, "upright": upright}


def _shown_classes(evaluation: Evaluation) -> list[int]:
    """All classes, or those in most confusions when there are too many for a table; in class order."""
    true, predicted, count = evaluation.confusions()
    wrong = true != predicted
    confusions = np.zeros(len(evaluation.classes), np.int64)
    for side in (true, predicted):
        np.add.at(confusions, side[wrong], count[wrong])
    return sorted(np.argsort(-confusions, kind="stable")[:MAX_MATRIX_CLASSES].tolist())


def _counts_among(evaluation: Evaluation, shown: Sequence[int]) -> NDArray[np.int64]:
    """The confusion matrix of some classes alone, (S, S)."""
    true, predicted, count = evaluation.confusions()
    inside = np.isin(true, shown) & np.isin(predicted, shown)
    counts = np.zeros((len(shown), len(shown)), np.int64)
    counts[np.searchsorted(shown, true[inside]), np.searchsorted(shown, predicted[inside])] = count[inside]
    return counts


def _listed_classes(evaluation: Evaluation) -> list[tuple[int, str, dict[str, float]]]:
    """(place, name, scores) of all classes; when there are too many for a page, of those with the lowest F1."""
    rows = [(place, name, scores) for place, (name, scores) in enumerate(evaluation.per_class.items(), 1)]
    if len(rows) <= MAX_LISTED_CLASSES:
        return rows
    with_images = [row for row in rows if row[2]["support"]]
    return sorted(with_images, key=lambda row: row[2]["f1"])[:MAX_LISTED_CLASSES]


def _pairs(evaluation: Evaluation) -> list[tuple[str, str, int, float]]:
    """(true, predicted, count, fraction of the true class), most frequent first."""
    return [
        (true, predicted, count, count / evaluation.per_class[true]["support"])
        for true, predicted, count in evaluation.most_confused
    ]


def _worst(mistakes: Sequence[Mistake]) -> list[tuple[Mistake, str]]:
    worst = sorted(mistakes, key=lambda mistake: -mistake.probability)[:MAX_MISTAKES]
    return [(mistake, thumbnail(mistake.image)) for mistake in worst]


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
