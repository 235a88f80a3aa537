"""The report: what a model does well and where it fails, as one HTML page that loads nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from featherlight.metrics import TOP_K, Evaluation
from featherlight.report.class_rows import class_rows
from featherlight.report.curves import History, curves_svg
from featherlight.report.facts import CostFacts, LatencyFacts, bins_table, epochs_table, training_facts
from featherlight.report.matrix import confused_pairs, make_matrix
from featherlight.report.mistakes import Mistake, show_mistakes
from featherlight.report.reliability import reliability_svg
from featherlight.report.rendering import load_template, write_page
from featherlight.report.robustness import robustness_svg, robustness_table
from featherlight.report.texts import Texts, texts

MAX_UNREADABLE = 100


def write_report(
    path: Path,
    evaluation: Evaluation,
    *,
    mistakes: Sequence[Mistake] = (),
    history: History = (),
    recipe: Mapping[str, object] = MappingProxyType({}),
    reproduce: str = "",
    cost: CostFacts | None = None,
    latency: LatencyFacts | None = None,
    lang: str = "en",
) -> None:
    """Writes the page; parts without content are left out.

    Args:
        path: the HTML file.
        evaluation: the numbers.
        mistakes: wrong images, with their pixels, in any order.
        history: rows of ``metrics.jsonl``, for the curves.
        recipe: field -> value, as the run used them.
        reproduce: the command that makes this run again.
        cost: what the network costs.
        latency: how long an image takes.
        lang: language of the page: ``en`` or ``zh``.

    Raises:
        UsageError: no such language.
    """
    say = texts(lang)
    parts = {
        **_mistakes(mistakes, evaluation),
        **_calibration(evaluation, say),
        **_robustness(evaluation, say),
        "curves": curves_svg(history, say),
        "cost": cost,
        "latency": latency,
        "reproduce": reproduce,
    }
    page = load_template("report.html", lang).render(
        **parts,
        sections=_sections(evaluation, parts, say),
        evaluation=evaluation,
        right=_right(evaluation),
        top_k=TOP_K,
        unreadable=evaluation.unreadable[:MAX_UNREADABLE],
        training=training_facts(history, say),
        epochs=epochs_table(history, say),
        matrix=make_matrix(evaluation),
        listed=class_rows(evaluation),
        pairs=confused_pairs(evaluation),
        recipe={key: _value(value) for key, value in recipe.items()},
        made_with=f"Featherlight {version('featherlight')}, Python {sys.version.split()[0]}",
    )
    write_page(path, page)


def _sections(evaluation: Evaluation, parts: Mapping[str, Any], say: Texts) -> list[tuple[str, str]]:
    """Id and name of the parts that the page has, in their order."""
    wanted = [
        ("training", "Training", parts["curves"]),
        ("confusion", "Confusion matrix", True),
        ("classes", "Classes", True),
        ("mistakes", "Mistakes", parts["mistakes"]),
        ("calibration", "Calibration", parts["diagram"]),
        ("rejection", "Rejection", evaluation.reject),
        ("corruptions", "Robustness", parts["robustness"]),
        ("tta", "Averaging", evaluation.tta),
        ("cost", "Cost", parts["cost"] or parts["latency"]),
        ("reproduce", "Do it again", parts["reproduce"]),
    ]
    return [(place, say(title)) for place, title, is_there in wanted if is_there]


def _right(evaluation: Evaluation) -> int:
    true, predicted, count = evaluation.confusions()
    return int(count[true == predicted].sum())


def _mistakes(mistakes: Sequence[Mistake], evaluation: Evaluation) -> dict[str, Any]:
    shown = show_mistakes(mistakes, evaluation)
    return {
        "mistakes": shown,
        "wrong_shown": sum(one.is_wrong for one in shown),
        "has_pairs": any(one.pair >= 0 for one in shown),
        "has_heats": any(one.heats for one in shown),
    }


def _calibration(evaluation: Evaluation, say: Texts) -> dict[str, Any]:
    if not evaluation.reliability:
        return {"diagram": "", "bins": None}
    return {
        "diagram": reliability_svg(evaluation.reliability, say),
        "bins": bins_table(evaluation.reliability, say),
    }


def _robustness(evaluation: Evaluation, say: Texts) -> dict[str, Any]:
    found = evaluation.corruptions
    if not found:
        return {"robustness": "", "strengths": None}
    return {"robustness": robustness_svg(found, say), "strengths": robustness_table(found, say)}


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
