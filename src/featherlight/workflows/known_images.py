"""Images as a model's training had them: the same groups on one side of each split, the same ones held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featherlight.sources import open_source
from featherlight.sources.base import Source
from featherlight.sources.held_out import hold_out


def open_as_trained(data: str | Path, provenance: Mapping[str, Any], *, strict: bool = False) -> Source:
    """Opens images and splits them as they were split for the training that a model's provenance tells of."""
    recipe = provenance.get("recipe")
    fields = recipe if isinstance(recipe, Mapping) else {}
    group_by, part = fields.get("group_by"), fields.get("hold_out", 0.0)
    source = open_source(data, strict=strict, group_by=group_by if isinstance(group_by, str) else None)
    return hold_out(source, part if isinstance(part, float) and 0 < part < 1 else 0.0, strict=strict)
