"""Thresholds below which images are rejected: fitted, measured on images of nothing that was learnt, stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.console import note
from featherlight.engines import Engine
from featherlight.errors import UsageError, quote_names
from featherlight.metrics import area_under_roc, fit_rule, fit_to_unknown, known_scores, most_likely
from featherlight.metrics.rejection import DEFAULT_SCORE, accepts
from featherlight.model_file import (
    EXPORTED_SUFFIXES,
    REJECT_SCORES,
    SHIPPED,
    find_model_file,
    read_card,
    read_tensors,
    write_model_file,
)
from featherlight.sources import open_unlabelled
from featherlight.sources.base import Source, take
from featherlight.workflows.known_images import is_training_data
from featherlight.workflows.measuring import report_unreadable, run_split

MAX_UNKNOWN = 10_000
_SEED = 0


@dataclass(frozen=True)
class RejectOptions:
    """What :func:`featherlight.workflows.evaluate.evaluate` was asked about rejection."""

    unknown: str | Path | None = None
    false_accept_rate: float | None = None
    reject_rate: float | None = None
    score: str | None = None
    store: bool = False

    def __post_init__(self) -> None:
        problem = self._find_problem()
        if problem:
            raise UsageError(problem)

    def _find_problem(self) -> str | None:
        rates = {"false-accept rate": self.false_accept_rate, "reject rate": self.reject_rate}
        for name, rate in rates.items():
            if rate is not None and not 0 <= rate < 1:
                return f"the {name} is {rate}; a part from 0 to below 1 is expected, 0.05 for 5 %"
        if None not in rates.values():
            return "a threshold is fitted to a false-accept rate or to a reject rate, not to both"
        if self.false_accept_rate is not None and self.unknown is None:
            return "a false-accept rate needs images that should be rejected: --unknown FOLDER"
        fits = self.false_accept_rate is not None or self.reject_rate is not None
        if (self.store or self.score is not None) and not fits:
            return "there is no new threshold without --reject-rate, or --unknown with --false-accept-rate"
        if self.score is not None and self.score not in REJECT_SCORES:
            return f"the score is {self.score!r}; it can be: {', '.join(REJECT_SCORES)}"
        return None


@dataclass(frozen=True)
class Unknown:
    """Images of nothing that the model learnt.

    Attributes:
        name: where they are.
        fitting: logits (M, K) of those that a threshold may be fitted to.
        measured: logits (N, K) of those that it is measured on; others.
    """

    name: str
    fitting: NDArray[np.float32]
    measured: NDArray[np.float32]


def check_store(model: str | Path, options: RejectOptions) -> None:
    """Refuses early what could not be stored in the end.

    Raises:
        UsageError: the model is an exported file, or the one that comes with the package.
    """
    if not options.store:
        return
    path = find_model_file(model)
    if path in SHIPPED.values():
        raise UsageError(f"{model} comes with the package and stays as it is; copy it first: {path}")
    if path.suffix in EXPORTED_SUFFIXES:
        raise UsageError(f"{path} is exported; store the threshold in the model file and export that again")


def run_unknown(engine: Engine, options: RejectOptions) -> Unknown | None:
    """The model's answers to the unknown images; where a threshold is fitted to them, to one half of them.

    Raises:
        DataError: there are none.
        UsageError: the model has no threshold, and none is fitted.
    """
    if options.unknown is None:
        return None
    keeps = engine.card.reject is not None and options.reject_rate is None
    if not (keeps or options.reject_rate or options.false_accept_rate is not None):
        raise UsageError("this model rejects nothing; fit a threshold: --reject-rate 0.05 or --false-accept-rate 0.05")
    if is_training_data(options.unknown, engine.card.provenance):
        raise UsageError(f"the model was trained on {options.unknown}; --unknown is for images of other things")
    images = open_unlabelled(options.unknown)
    _warn_of_known_classes(images.paths, engine.card.classes)
    order = np.random.default_rng(_SEED).permutation(len(images))[:MAX_UNKNOWN]
    logits, positions, unreadable = run_split(engine, take(images, np.sort(order)), "looking at unknown images")
    report_unreadable(unreadable, strict=False)
    if options.false_accept_rate is None:
        return Unknown(str(options.unknown), logits[:0], logits)
    if len(logits) < 2:
        raise UsageError(
            f"{options.unknown}: one image; a threshold is fitted to half of them and measured on the rest"
        )
    mixed = np.random.default_rng(_SEED).permutation(len(positions))
    half = len(mixed) // 2
    return Unknown(str(options.unknown), logits[mixed[:half]], logits[mixed[half:]])


def _warn_of_known_classes(paths: Sequence[str], classes: Sequence[str]) -> None:
    """Folders named like classes may hold what the model knows; only a person can tell: a 3 is a digit or a gesture."""
    shared = sorted({Path(path).parent.name for path in paths} & set(classes))
    if shared:
        folders = (
            "a folder is named like a class" if len(shared) == 1 else f"{len(shared)} folders are named like classes"
        )
        note(
            f"{folders} of the model ({quote_names(shared, 5)}); if they show the same, their images are not unknown, "
            "and rejecting them is a mistake"
        )


def refit(engine: Engine, source: Source, options: RejectOptions, unknown: Unknown | None) -> None:
    """Gives the engine's card the threshold that was asked for; nothing changes where none was.

    Raises:
        UsageError: there are no validation images to fit a reject rate to.
    """
    card = engine.card
    score = options.score or (card.reject or {}).get("score", DEFAULT_SCORE)
    if options.false_accept_rate is not None and unknown is not None:
        scores = known_scores(unknown.fitting, score, card.temperature)
        rule: dict[str, Any] | None = {
            "score": score,
            "threshold": fit_to_unknown(scores, options.false_accept_rate),
            "target_false_accept_rate": options.false_accept_rate,
            "fitted_on": unknown.name,
            "num_images": len(scores),
        }
    elif options.reject_rate is not None:
        if "val" not in source.splits:
            raise UsageError(f"{source.name} has no validation images to fit a reject rate to; leave DATA out")
        logits, _, _ = run_split(engine, source.splits["val"], "fitting the threshold")
        rule = fit_rule(logits, options.reject_rate, card.temperature, score)
    else:
        return
    engine.card = dataclasses.replace(card, reject=rule)


def store_rule(engine: Engine, model: str | Path) -> None:
    """Writes the card's threshold into the model file."""
    path = find_model_file(model)
    write_model_file(path, read_tensors(path), dataclasses.replace(read_card(path), reject=engine.card.reject))
    note(f"stored in {path}; files exported before do not have it")


def describe_unknown(engine: Engine, known: NDArray[np.float32], unknown: Unknown) -> dict[str, Any]:
    """How well unknown images are told from known ones, the field ``reject["unknown"]`` of an evaluation.

    Args:
        engine: with the model.
        known: logits of the evaluated images (N, K).
        unknown: the others.
    """
    card, reject = engine.card, engine.card.reject or {}
    areas = {
        score: area_under_roc(*(known_scores(logits, score, card.temperature) for logits in (known, unknown.measured)))
        for score in REJECT_SCORES
    }
    accepted = accepts(unknown.measured, reject, card.temperature)
    return {
        "data": unknown.name,
        "num_images": len(accepted),
        "auroc": areas[reject["score"]],
        "auroc_of": areas,
        "false_accept_rate": float(accepted.mean()),
        "mean_probability": float(most_likely(unknown.measured, card.temperature)[1].mean()),
    }
