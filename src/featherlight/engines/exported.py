"""What an exported file says of itself: the card, what its input is, and how it was verified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from featherlight.errors import ModelFileError
from featherlight.model_file import ModelCard, card_from_metadata, card_to_metadata, json_field

IMAGE: Final = "image"  # names of the input, and what it takes
TENSOR: Final = "tensor"
LOGITS, PROBABILITIES = "logits", "probabilities"  # names of the outputs
Input = Literal["image", "tensor"]


@dataclass(frozen=True)
class ExportedCard:
    """The metadata of an exported file.

    Attributes:
        card: as in a model file.
        input: ``image``: uint8 (N, height, width, 3), resized and normalised inside; ``tensor``: float32 (N, C, S, S),
            normalised.
        verification: how it compared with the model that it was made of; empty before that.
        notes: what else the export did, for example ``{"precision": "int8"}``.
    """

    card: ModelCard
    input: Input = "image"
    verification: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        """Texts for the file's metadata."""
        return card_to_metadata(self.card) | {
            "input": self.input,
            "verification": json.dumps(dict(self.verification)),
            "notes": json.dumps(dict(self.notes)),
        }


def read_exported_card(path: Path, metadata: Mapping[str, str]) -> ExportedCard:
    """Reads and checks what :meth:`ExportedCard.to_metadata` wrote; ``path`` is for messages.

    Raises:
        ModelFileError: the file was not made by ``featherlight export``, or says something impossible.
    """
    if "featherlight" not in metadata or "model" not in metadata:
        raise ModelFileError(
            f"{path}: not exported by Featherlight (no classes or preprocessing inside). Make one: featherlight export"
        )
    given = metadata.get("input", IMAGE)
    if given not in (IMAGE, TENSOR):
        raise ModelFileError(f"{path}: its 'input' is {given[:40]!a}, neither image nor tensor")
    return ExportedCard(
        card_from_metadata(path, metadata),
        "image" if given == IMAGE else "tensor",
        json_field(path, {"verification": "{}", **metadata}, "verification", dict),
        json_field(path, {"notes": "{}", **metadata}, "notes", dict),
    )
