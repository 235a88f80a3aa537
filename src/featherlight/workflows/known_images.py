"""Images as a model's training had them: the same groups on one side of each split, the same ones held out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from featherlight.sources import open_source
from featherlight.sources.base import Source
from featherlight.sources.cross_validation import take_fold
from featherlight.sources.held_out import hold_out


def is_training_data(data: str | Path, provenance: Mapping[str, Any]) -> bool:
    """Whether a model's provenance names this data, by its path or known name."""
    return provenance.get("data") in (str(data), os.path.abspath(os.path.expanduser(data)))


def open_as_trained(data: str | Path, provenance: Mapping[str, Any], *, strict: bool = False) -> Source:
    """Opens images and splits them as they were split for the training that a model's provenance tells of."""
    recipe = provenance.get("recipe")
    fields = recipe if isinstance(recipe, Mapping) else {}
    group_by, part, fold = fields.get("group_by"), fields.get("hold_out", 0.0), fields.get("fold", "")
    return open_to_train(
        data,
        group_by if isinstance(group_by, str) else None,
        part if isinstance(part, float) and 0 < part < 1 else 0.0,
        fold if isinstance(fold, str) else "",
        strict=strict,
    )


def open_to_train(data: str | Path, group_by: str | None, part: float, fold: str, *, strict: bool = False) -> Source:
    """Opens images and splits them as a recipe's ``group_by``, ``hold_out`` and ``fold`` say."""
    source = open_source(data, strict=strict, group_by=group_by)
    if fold and part == 0:
        return take_fold(source, fold, strict=strict)
    held = hold_out(source, part, strict=strict)
    return take_fold(replace(held, own_splits=()), fold, strict=strict) if fold else held
