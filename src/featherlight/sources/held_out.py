"""Images for an honest last measurement, where whoever made the data gave none: cut out of train."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from featherlight.sources.base import Source
from featherlight.sources.splitting import cut_splits


def hold_out(source: Source, part: float, *, strict: bool = False) -> Source:
    """The source with a test split; one that has one stays as it is.

    Images are cut out of train by the hash of their pixels, copies and groups stay on one side, so that they are the
    same images whenever this is called. Validation stays what it was.

    Args:
        source: any that has train and val.
        part: of the training images, in [0, 1); 0 leaves the source as it is.
        strict: an image that cannot be read while splitting is an error, not left out.

    Raises:
        DataError: too few images; with ``strict`` an UnreadableImageError.
    """
    if part <= 0 or "test" in source.splits:
        return source
    # "val" comes first: train may itself be what an earlier cut left, which is the lower end of all hashes.
    cut, unreadable = cut_splits(
        source.name, source.classes, source.splits["train"], {"val": part, "train": 1 - part}, strict=strict
    )
    splits = {**source.splits, "train": cut["train"], "test": cut["val"]}
    return replace(
        source,
        splits=splits,
        fingerprint=hashlib.sha256(f"{source.fingerprint} held out {part:g}".encode()).hexdigest()[:16],
        unreadable=(*source.unreadable, *unreadable),
        own_splits=(*source.own_splits, "test"),
    )
