"""Finds everything there is to check, also where the data is not fit for training, and looks at it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import DataError
from featherlight.phrases import phrase
from featherlight.sources import open_other_folder, open_source
from featherlight.sources.base import Source, join_splits
from featherlight.sources.completing import missing_fractions
from featherlight.sources.duplicates import Duplicates, find_duplicates
from featherlight.sources.facts import Facts, Progress, collect_facts, take_facts
from featherlight.sources.findings.base import Finding
from featherlight.sources.findings.checked import NOWHERE, SPLITS, Survey
from featherlight.sources.findings.folder_survey import survey_folder
from featherlight.sources.splitting import choose_splits


def survey_data(data: str | Path, group_by: str | None = None) -> Survey:
    """Finds all there is to check at ``data``; what training would refuse becomes a finding as far as possible.

    Args:
        data: as :func:`featherlight.sources.open_source` takes it.
        group_by: likewise.

    Raises:
        DataError: there is nothing to check: no such path, no images, a damaged archive.
        UsageError: ``group_by`` does not fit the data.
    """
    path = os.path.expanduser(data)
    if os.path.isdir(path):
        source = open_other_folder(Path(path), strict=False, as_it_is=True, group_by=group_by)
        if source is None:
            return survey_folder(path, group_by)
    else:
        source = open_source(data, as_it_is=True, group_by=group_by)
    return survey_source(str(data), source, partial(open_source, data, group_by=group_by))


def survey_source(name: str, source: Source, open_to_train: Callable[[], Source]) -> Survey:
    """A survey of what can be opened as it is.

    Args:
        name: as the person named it.
        source: opened as it is: without splits of its own, all images are ``test``.
        open_to_train: opens it as training does.
    """
    images = replace(join_splits(source), weights=_join_weights(source))
    places = {split: SPLITS.index(split) for split in source.splits}
    splits = np.concatenate([np.full(len(split), places[key]) for key, split in source.splits.items()])
    told = tuple(Finding("unreadable", "error", (path,), phrase(reason)) for path, reason in source.unreadable)
    survey = Survey(name, source.classes, images, splits, splits, findings=told, flip_safe=source.flip_safe)
    if source.own_splits:
        is_ours = np.isin(splits, [places[split] for split in source.own_splits])
        return replace(survey, sides=np.where(is_ours, 0, splits))
    if "train" in source.splits:
        return replace(survey, fractions=missing_fractions(source.splits))
    try:
        open_to_train()
    except DataError as error:
        return replace(survey, findings=(*told, Finding("layout", "error", (name,), str(error))))
    unsplit = np.zeros_like(splits)
    return replace(survey, sides=unsplit, splits=unsplit, fractions=missing_fractions(()))


def _join_weights(source: Source) -> NDArray[np.float32] | None:
    weights = [split.weights for split in source.splits.values() if split.weights is not None]
    return np.concatenate(weights) if weights and len(weights) == len(source.splits) else None


def look_at(survey: Survey, progress: Progress = lambda _: None) -> tuple[Facts, NDArray[np.int64], Duplicates]:
    """Looks at every image once.

    Returns:
        What is known of them, the split that training uses each for, and which are copies.
    """
    facts = collect_facts(survey.images, progress)
    splits = np.where(facts.readable & (survey.images.labels != NOWHERE), survey.splits, NOWHERE)
    if survey.fractions:
        cut = np.flatnonzero(splits == 0)
        groups = survey.images.groups
        names = None if groups is None else [groups[position] for position in cut]
        for split, members in choose_splits(take_facts(facts, cut), names, survey.fractions).items():
            splits[cut[members]] = SPLITS.index(split)
    return facts, splits, find_duplicates(facts)
