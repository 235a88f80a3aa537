"""Which part of a data set is meant, where it has several: ``DATA#image=left,label=species``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields

from featherlight.errors import UsageError

_CHOICE = re.compile(r"(?P<place>.+)#(?P<choice>\w+=[^#]*)", re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """What the user chose; None: what there is must be clear by itself.

    Attributes:
        image: column or file extension that holds the image.
        label: column, file extension or JSON field that holds the label.
        config: configuration of a Hugging Face data set.
    """

    image: str | None = None
    label: str | None = None
    config: str | None = None

    def __str__(self) -> str:
        chosen = [f"{field.name}={getattr(self, field.name)}" for field in fields(self) if getattr(self, field.name)]
        return f"#{','.join(chosen)}" if chosen else ""


def split_choice(data: str) -> tuple[str, Choice]:
    """Takes apart where the data is and what of it is meant. An existing path is taken as it is.

    Raises:
        UsageError: something else is chosen than :class:`Choice` has, or twice.
    """
    match = None if os.path.exists(data) else _CHOICE.fullmatch(data)
    if match is None:
        return data, Choice()
    names = [field.name for field in fields(Choice)]
    pairs = [part.partition("=")[::2] for part in match["choice"].split(",")]
    chosen = {name.strip(): value.strip() for name, value in pairs}
    if len(chosen) < len(pairs) or not set(chosen) <= set(names) or not all(chosen.values()):
        known = ", ".join(f"{name}=NAME" for name in names)
        raise UsageError(f"{data}: after # can stand, each once and with commas between them: {known}")
    return match["place"], Choice(**chosen)
