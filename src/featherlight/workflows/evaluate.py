"""Model and images -> honest numbers, and the page that shows them."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featherlight.console import note
from featherlight.engines import Engine, open_engine
from featherlight.errors import DataError, UsageError
from featherlight.files import write_text
from featherlight.metrics import Evaluation
from featherlight.report import Mistake, check_language, plot_corruptions, write_report
from featherlight.sources import open_source
from featherlight.sources.base import Source
from featherlight.workflows.averaging import measure_test_time
from featherlight.workflows.corruptions import measure_corruptions
from featherlight.workflows.known_images import is_training_data, open_as_trained
from featherlight.workflows.measuring import (
    ALL,
    Measured,
    align_classes,
    measure_split,
    read_mistakes,
    report_unreadable,
    run_split,
)
from featherlight.workflows.rejection import (
    RejectOptions,
    Unknown,
    check_store,
    describe_unknown,
    refit,
    run_unknown,
    store_rule,
)
from featherlight.workflows.report_facts import add_heats, check_can_look, cost_of, latency_of, list_heats

__all__ = [
    "ALL",
    "align_classes",
    "choose_split",
    "evaluate",
    "evaluate_engine",
    "evaluate_split",
    "open_images_of",
    "report_unreadable",
    "run_split",
    "write_evaluation",
]

EVALUATION_FILE_NAME = "evaluation.json"
REPORT_FILE_NAME = "report.html"
CORRUPTIONS_FILE_NAME = "corruptions.png"


def evaluate(
    model: str | Path,
    data: str | Path | None = None,
    *,
    split: str | None = None,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    out: str | Path | None = None,
    strict: bool = False,
    corruptions: bool = False,
    tta: bool = False,
    unknown: str | Path | None = None,
    false_accept_rate: float | None = None,
    reject_rate: float | None = None,
    reject_score: str | None = None,
    store: bool = False,
    cam: bool = False,
    lang: str = "en",
) -> Evaluation:
    """Evaluates a model on images it was not trained on.

    Args:
        model: run directory, model file, exported file or folder.
        data: images; by default those the model was trained on.
        split: ``test``, ``val``, ``train`` or ``all``; by default test if there is one, else val.
        engine: runtime.
        device: where the torch engine computes.
        threads: how many the runtime computes with; None: its own choice.
        out: folder for ``evaluation.json``, ``report.html`` and pictures.
        strict: an unreadable image is an error.
        corruptions: measure also on images made worse.
        tta: measure also the mean answer to variants of each image.
        unknown: images of nothing that the model learnt; measures how many of them are rejected.
        false_accept_rate: fit the threshold of rejection so that this part of the unknown images is accepted: to one
            half of them, the other is measured.
        reject_rate: fit it so that this part of the validation images is rejected; 0: reject nothing.
        reject_score: of a new threshold: ``energy`` or ``probability``; by default that of the old one.
        store: write the new threshold into the model file.
        cam: show in the report where the network looked at its mistakes.
        lang: language of the report: ``en`` or ``zh``.

    Raises:
        ModelFileError: no usable model.
        DataError: no usable images, or classes that training never saw.
        UsageError: options that do not fit each other.
    """
    options = RejectOptions(unknown, false_accept_rate, reject_rate, reject_score, store)
    asked = Asked(options, Path(out) if out is not None else None, strict, corruptions, tta, cam, lang, threads)
    check_store(model, options)
    opened = open_engine(model, engine, device, threads)
    if cam:
        check_can_look(opened)
    return _evaluate(opened, model, open_images_of(opened, model, data, split, strict=strict), split, asked)


@dataclass(frozen=True)
class Asked:
    """What is to be measured and written besides the plain numbers; see :func:`evaluate`."""

    reject: RejectOptions
    out: Path | None
    strict: bool
    corruptions: bool
    tta: bool
    cam: bool
    lang: str
    threads: int | None

    def __post_init__(self) -> None:
        check_language(self.lang)
        if self.cam and self.out is None:
            raise UsageError("class-activation maps are shown in the report; name a folder for it with --out")

    @property
    def flags(self) -> list[str]:
        """As the command line takes them."""
        flags = {
            "--corruptions": self.corruptions,
            "--tta": self.tta,
            "--cam": self.cam,
            "--lang=zh": self.lang == "zh",
        }
        return [flag for flag, is_on in flags.items() if is_on]


def _evaluate(engine: Engine, model: str | Path, source: Source, split: str | None, asked: Asked) -> Evaluation:
    report_unreadable(source.unreadable, strict=asked.strict)
    chosen = choose_split(source, split)
    strangers = run_unknown(engine, asked.reject)
    refit(engine, source, asked.reject, strangers)
    measured = measure_split(engine, source, chosen, str(model), strict=asked.strict)
    evaluation = _measure_further(engine, measured, strangers, asked)
    if asked.reject.store:
        store_rule(engine, model)
    if asked.out is None:
        return evaluation
    mistakes = read_mistakes(measured)
    if asked.cam:
        mistakes = add_heats(engine, mistakes)
        evaluation = list_heats(evaluation, mistakes)
    write_evaluation(
        asked.out, evaluation, mistakes, reproduce=_command(evaluation, asked), cost=cost_of(engine, model),
        latency=latency_of(engine, asked.threads), lang=asked.lang,
    )  # fmt: skip
    return evaluation


def _measure_further(engine: Engine, measured: Measured, unknown: Unknown | None, asked: Asked) -> Evaluation:
    """The evaluation with what else was asked for."""
    evaluation = measured.evaluation
    if unknown is not None and evaluation.reject is not None:
        rejection = {**evaluation.reject, "unknown": describe_unknown(engine, measured.logits, unknown)}
        evaluation = dataclasses.replace(evaluation, reject=rejection)
    if asked.corruptions:
        found = measure_corruptions(engine, measured.images, measured.labels)
        evaluation = dataclasses.replace(evaluation, corruptions=found)
    if asked.tta:
        evaluation = dataclasses.replace(evaluation, tta=measure_test_time(engine, measured))
    return evaluation


def _command(evaluation: Evaluation, asked: Asked) -> str:
    """What measures the same again."""
    options = asked.reject
    values = {
        "--unknown": options.unknown,
        "--false-accept-rate": options.false_accept_rate,
        "--reject-rate": options.reject_rate,
        "--reject-score": options.score,
    }
    given = [part for name, value in values.items() if value is not None for part in (name, str(value))]
    where = [evaluation.model, evaluation.data, "--split", evaluation.split]
    return shlex.join(["featherlight", "evaluate", *where, *asked.flags, *given])


def evaluate_engine(
    engine: Engine, model: str | Path, data: str | Path | None, split: str | None, *, strict: bool = False
) -> tuple[Evaluation, list[Mistake]]:
    """Evaluates an open model; arguments and errors as of :func:`evaluate`.

    Returns:
        The evaluation and the most confident mistakes, worst first.
    """
    source = open_images_of(engine, model, data, split, strict=strict)
    report_unreadable(source.unreadable, strict=strict)
    return evaluate_split(engine, source, choose_split(source, split), str(model), strict=strict)


def open_images_of(
    engine: Engine, model: str | Path, data: str | Path | None, split: str | None = None, *, strict: bool = False
) -> Source:
    """The images to measure on: of the training data the part that was held out, of others all."""
    known = engine.card.provenance
    if data is None:
        source = open_as_trained(_training_data(engine, model), known, strict=strict)
        if source.fingerprint != known.get("fingerprint"):
            note(
                f"{source.name} has changed since this model was trained; its {'/'.join(source.splits)} images are used"
            )
        return source
    if split == ALL:
        return open_source(data, strict=strict, as_it_is=True)
    if is_training_data(data, known):
        return open_as_trained(data, known, strict=strict)
    if split is not None:
        return open_source(data, strict=strict)
    with suppress(DataError, UsageError):  # too few images to train on, say: then it is not the training data
        source = open_as_trained(data, known)
        if source.fingerprint == known.get("fingerprint"):
            return source
    return open_source(data, as_it_is=True)


def choose_split(source: Source, split: str | None) -> str:
    """The split to evaluate on.

    Raises:
        UsageError: the source has no such split.
    """
    name = split or ("test" if "test" in source.splits else "val")
    if name != ALL and name not in source.splits:
        raise UsageError(f"{source.name} has no {name} split; it has: {', '.join(source.splits)}")
    return name


def evaluate_split(
    engine: Engine, source: Source, split: str, model: str, *, strict: bool = False
) -> tuple[Evaluation, list[Mistake]]:
    """Runs the engine over one split.

    Returns:
        The evaluation and the most confident mistakes, worst first.

    Raises:
        DataError: a class that training never saw; with ``strict`` also an unreadable image.
    """
    measured = measure_split(engine, source, split, model, strict=strict)
    return measured.evaluation, read_mistakes(measured)


def write_evaluation(out: Path, evaluation: Evaluation, mistakes: Sequence[Mistake], **others: Any) -> None:
    """Writes ``evaluation.json``, ``report.html`` and pictures into ``out``.

    Args:
        out: the folder.
        evaluation: the numbers.
        mistakes: with their images.
        others: what else :func:`featherlight.report.write_report` shows.
    """
    write_text(out / EVALUATION_FILE_NAME, evaluation.to_json())
    if evaluation.corruptions is not None:
        plot_corruptions(out / CORRUPTIONS_FILE_NAME, evaluation.corruptions)
    write_report(out / REPORT_FILE_NAME, evaluation, mistakes=mistakes, **others)


def _training_data(engine: Engine, model: str | Path) -> str:
    data = engine.card.provenance.get("data")
    if not isinstance(data, str):
        raise UsageError(
            f"{model} does not say what it was trained on; name the images: featherlight evaluate {model} DATA"
        )
    return data
