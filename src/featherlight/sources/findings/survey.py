"""Finds everything there is to check, also where the data is not fit for training, and looks at it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featherlight.sources import open_source
from featherlight.sources.base import Source, join_splits
from featherlight.sources.cifar import open_cifar_folder
from featherlight.sources.duplicates import Duplicates, find_duplicates
from featherlight.sources.facts import Facts, Progress, collect_facts, take_facts
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
    if not os.path.isdir(path):
        return survey_source(str(data), open_source(data, as_it_is=True, group_by=group_by))
    cifar = open_cifar_folder(Path(path)) if group_by is None else None
    return survey_folder(path, group_by) if cifar is None else survey_source(str(data), cifar)


def survey_source(name: str, source: Source) -> Survey:
    """A survey of a source that can be opened."""
    images = join_splits(source)
    places = {split: SPLITS.index(split) for split in source.splits}
    splits = np.concatenate([np.full(len(split), places[key]) for key, split in source.splits.items()])
    is_ours = np.isin(splits, [places[split] for split in source.own_splits])
    return Survey(name, source.classes, images, np.where(is_ours, 0, splits), splits)


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
