"""Images -> what is wrong with them, before anybody trains on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from featherlight.console import counting, note
from featherlight.errors import MissingExtraError, UsageError
from featherlight.files import atomic_path
from featherlight.phrases import counted
from featherlight.report import check_language, write_check_page
from featherlight.sources.findings import Checked, Enough, Finding, Findings, Survey, find_all, order_findings
from featherlight.sources.findings.checked import SPLITS
from featherlight.sources.findings.cleaning import clean
from featherlight.sources.findings.manifest import (
    MANIFEST_FILE_NAME,
    REMOVED_FILE_NAME,
    refuse_unlisted,
    write_manifest,
)
from featherlight.sources.findings.survey import look_at, survey_data
from featherlight.training.defaults import default_input_size
from featherlight.training.recipe import read_duration
from featherlight.workflows.run_directory import refuse_taken

CHECK_FILE_NAME = "check.json"
PAGE_FILE_NAME = "check.html"
USUAL_SIDE = 224  # where not one image can be read
INPUT_SIZES = range(16, 4097)


def check(
    data: str | Path,
    *,
    out: str | Path | None = None,
    fix: str | Path | None = None,
    labels: bool = False,
    labels_time: str = "2m",
    enough: bool = False,
    time: str = "10m",
    group_by: str | None = None,
    input_size: int | None = None,
    device: str = "auto",
    lang: str = "en",
) -> Findings:
    """Looks for everything that is wrong with images, labels and splits; the data itself is never changed.

    Args:
        data: as training takes it: a folder of images, a manifest, a known name.
        out: folder for ``check.json`` and the page ``check.html``.
        fix: new folder for ``manifest.csv``, which lists what is fit for training, and ``removed.csv``, which says what
            was left out and why.
        labels: also look for wrong labels, by networks that are trained on parts of the data.
        labels_time: how long that may take, about: ``90s``, ``2m``, ``1h``.
        enough: also find out whether more photos, a bigger network or cleaner labels would bring most, by a small and a
            larger network that are trained on parts of the data.
        time: how long that may take, about.
        group_by: which images belong together, as for training.
        input_size: side of the network's input that sizes are compared with; by default what training would choose.
        device: where networks are trained.
        lang: language of the page: ``en`` or ``zh``.

    Raises:
        DataError: there is nothing to check.
        UsageError: an argument does not fit, ``fix`` is not empty, or ``out`` or ``fix`` lies within the data.
        MissingExtraError: ``labels`` or ``enough`` needs packages that are not installed.
    """
    if input_size is not None and input_size not in INPUT_SIZES:
        raise UsageError(f"--input-size {input_size}: {INPUT_SIZES[0]} to {INPUT_SIZES[-1]} is expected")
    check_language(lang)
    refuse_taken(fix, "--fix")
    budget_s = read_duration(labels_time)
    enough_s = read_duration(time)
    find_label_errors = _load_label_finder() if labels else None
    find_enough = _load_enough_finder() if enough else None
    survey = survey_data(data, group_by)
    for place in (out, fix):
        _refuse_inside(place, survey.name)
    if fix is not None:
        refuse_unlisted(survey.images.paths, survey.name)
    checked = _look(survey, input_size)
    found = list(find_all(checked))
    doubts = None if find_label_errors is None else find_label_errors(checked, budget_s, device)
    findings = _summarise(checked, [*found, *(doubts or ())])
    if find_enough is not None:
        findings = replace(findings, enough=find_enough(checked, enough_s, device, doubts))
    if out is not None:
        _write_results(Path(out), findings, checked, lang)
    if fix is not None:
        _write_fix(Path(fix), checked)
    return findings


def _load_label_finder() -> Callable[[Checked, float, str], list[Finding]]:
    """Fails at once if something is not installed, not after the images have been looked at."""
    try:
        import cleanlab.filter  # noqa: F401  (takes no time compared with looking at all images)

        from featherlight.workflows.label_errors import find_label_errors
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        raise MissingExtraError(module, "labels", "looking for wrong labels") from error
    return find_label_errors


def _load_enough_finder() -> Callable[[Checked, float, str, Sequence[Finding] | None], Enough]:
    """Fails at once, likewise."""
    try:
        from featherlight.workflows.enough import find_enough
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        raise MissingExtraError(module, "train", "learning curves") from error
    return find_enough


def _refuse_inside(place: str | Path | None, data: str) -> None:
    """What is written among images would be one more class the next time.

    Raises:
        UsageError: ``place`` lies within the folder ``data``.
    """
    if place is None or not os.path.isdir(data):
        return
    if Path(os.path.realpath(place)).is_relative_to(os.path.realpath(data)):
        raise UsageError(f"{place} would lie within the data, {data}; choose another folder")


def _look(survey: Survey, input_size: int | None) -> Checked:
    with counting("looking at images", len(survey.images)) as advance:
        facts, splits, duplicates = look_at(survey, advance)
    sides = facts.sizes[facts.readable].min(axis=1)
    size = input_size or default_input_size(int(np.median(sides)) if len(sides) else USUAL_SIDE)
    return Checked(survey, facts, splits, duplicates, size)


def _summarise(checked: Checked, found: Iterable[Finding]) -> Findings:
    counts = checked.counts()
    present = checked.present_splits()
    classes = {
        name: {split: int(row[SPLITS.index(split)]) for split in present}
        for name, row in zip(checked.survey.classes, counts, strict=True)
    }
    return Findings(checked.survey.name, len(checked.survey.images), classes, checked.input_size, order_findings(found))


def _write_results(out: Path, findings: Findings, checked: Checked, lang: str) -> None:
    with atomic_path(out / CHECK_FILE_NAME) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(findings.json_parts())
    write_check_page(out / PAGE_FILE_NAME, findings, checked, lang)


def _write_fix(folder: Path, checked: Checked) -> None:
    cleaned = clean(checked)
    write_manifest(folder, checked, cleaned)
    count, left_out = len(checked.survey.images), len(cleaned.left_out)
    note(
        f"{folder / MANIFEST_FILE_NAME} lists {counted(count - left_out, 'image')}; "
        f"{counted(left_out, 'image')} left out, {folder / REMOVED_FILE_NAME} says why"
    )
    if cleaned.remark:
        note(cleaned.remark)
