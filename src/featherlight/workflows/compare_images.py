"""Which images are fair to all models: those that none of them was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from featherlight.engines import Engine
from featherlight.errors import DataError, UsageError
from featherlight.phrases import counted, phrase
from featherlight.sources.base import Split, SplitName, join_splits, take
from featherlight.workflows.evaluate import ALL, choose_split, open_images_of, report_unreadable


@dataclass(frozen=True)
class SharedImages:
    """Images that all models are asked about.

    Attributes:
        images: with labels that count in ``classes``.
        classes: names.
        data: where they come from.
        split: of it.
        note: what was left out; empty: nothing.
    """

    images: Split
    classes: tuple[str, ...]
    data: str
    split: str
    note: str = ""


def find_shared_images(
    engines: Sequence[Engine], models: Sequence[str], data: str | Path | None, split: str | None
) -> SharedImages:
    """The images that were held out from all models; of data that none was trained on, all.

    Args:
        engines: open models.
        models: as the person named them.
        data: images; by default those that all models were trained on.
        split: of them; by default test if there is one, else val.

    Raises:
        UsageError: no data is named, and the models were not trained on the same.
        DataError: each image was one model's training image.
    """
    if data is None:
        _refuse_different_data(engines, models)
    found: dict[tuple[object, ...], SharedImages] = {}
    for engine, model in zip(engines, models, strict=True):
        key = _training_key(engine)
        if key not in found:
            found[key] = _open(engine, model, data, split)
    return _intersect(list(found.values()))


def _training_key(engine: Engine) -> tuple[object, ...]:
    """What decides which images were held out from a model."""
    known = engine.card.provenance
    recipe = known.get("recipe")
    group_by = recipe.get("group_by") if isinstance(recipe, dict) else None
    return str(known.get("data")), str(known.get("fingerprint")), str(group_by)


def _refuse_different_data(engines: Sequence[Engine], models: Sequence[str]) -> None:
    keys = [_training_key(engine) for engine in engines]
    for model, engine in zip(models, engines, strict=True):
        if not isinstance(engine.card.provenance.get("data"), str):
            raise UsageError(f"{model} does not say what it was trained on; name the images: {_usage(models)}")
    other = next((place for place, key in enumerate(keys) if key != keys[0]), None)
    if other is not None:
        raise UsageError(
            f"{models[0]} and {models[other]} were not trained on the same images; name some to compare on: "
            f"{_usage(models)}"
        )


def _usage(models: Sequence[str]) -> str:
    return f"featherlight compare {' '.join(models)} --data DATA"


def _open(engine: Engine, model: str, data: str | Path | None, split: str | None) -> SharedImages:
    source = open_images_of(engine, model, data, split)
    report_unreadable(source.unreadable, strict=False)
    name = choose_split(source, split)
    images = join_splits(source) if name == ALL else source.splits[cast("SplitName", name)]
    return SharedImages(images, source.classes, source.name, name)


def _intersect(found: Sequence[SharedImages]) -> SharedImages:
    """What all of them have; the smallest says where the images come from."""
    fewest = min(found, key=lambda one: len(one.images))
    common = set(fewest.images.paths).intersection(*(one.images.paths for one in found))
    if not common:
        raise DataError("each of these images was in the training of one of the models; compare them on other images")
    if len(common) == len(fewest.images):
        return fewest
    kept = np.array([place for place, path in enumerate(fewest.images.paths) if path in common])
    left = counted(len(fewest.images) - len(kept), "image")
    note = phrase("{images} left out: one of the models was trained on them", images=left)
    return replace(fewest, images=take(fewest.images, kept), note=note)
