"""Where a choice stands, in one file that is rewritten after each piece of work: a kill loses at most one piece."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from featherlight.errors import UsageError
from featherlight.files import write_text
from featherlight.phrases import pack, unpack
from featherlight.training.checkpoint import read_progress
from featherlight.workflows.choose_order import Order

STATE_FILE_NAME = "state.json"
FORMAT = 1


def _now() -> float:
    return time.monotonic()


@dataclass
class Entry:
    """A candidate and what is known of it.

    Attributes:
        model: registered network name.
        input_size: side of the image, pixels.
        settings: fields of the recipe that a trial changed.
        macs: multiply-adds of an image.
        params: parameters.
        expected: published accuracy on ImageNet.
        latency_ms: exported, an image at a time.
        size_bytes: exported.
        export_s: how long making and measuring the exported file took; 0: it was remembered.
        top1: on validation, where it stands.
        first_top1: on validation, after the first round.
        loss: likewise.
        images_per_s: of training.
        validation_s: a pass over validation.
        trained_s: seconds of training.
        counted_s: of them, those that the choice's time has in it already.
        rungs: how many it has finished.
        pretrained: what its weights start from, once that is settled.
        dropped: why it is out.
        trial: what was drawn for it, by Optuna's names.
        delivered: facts of its exported file, once that is measured; names of files are relative to the folder.
    """

    model: str
    input_size: int
    settings: dict[str, Any] = field(default_factory=dict)
    macs: int = 0
    params: int = 0
    expected: float = 0.0
    latency_ms: float | None = None
    size_bytes: int | None = None
    export_s: float = 0.0
    top1: float | None = None
    first_top1: float | None = None
    loss: float = 0.0
    images_per_s: float = 0.0
    validation_s: float = 0.0
    trained_s: float = 0.0
    counted_s: float = 0.0
    rungs: int = 0
    pretrained: str = ""
    dropped: str = ""
    trial: dict[str, Any] = field(default_factory=dict)
    delivered: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``dropped`` so that a page can still say it in another language."""
        return {**asdict(self), "dropped": pack(self.dropped)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Entry:
        """What :meth:`to_dict` gave; fields of later versions are ignored."""
        names = {item.name for item in fields(cls)}
        known = {name: value for name, value in values.items() if name in names}
        return cls(**{**known, "dropped": unpack(known.get("dropped", ""))})


@dataclass
class Rung:
    """One round of the race.

    Attributes:
        entrants: names of candidates.
        until_s: seconds of training in all that each has at its end.
    """

    entrants: list[str]
    until_s: float


@dataclass
class State:
    """Everything that a choice has found out so far.

    Attributes:
        folder: where it lies.
        order: what was asked for.
        fingerprint: of the images.
        hold_out: part of the training images that is held out for the end; 0: there is a test split.
        elapsed_s: seconds of work up to the last save.
        entries: candidates by name.
        starters: names that enter the race; empty: not chosen yet.
        rungs: of the race, those begun.
        unit_overhead_s: what training a network for a round takes beside the training itself: reading images, saving.
        offline: published weights could not be fetched.
    """

    folder: Path
    order: Order
    fingerprint: str
    hold_out: float = 0.0
    elapsed_s: float = 0.0
    entries: dict[str, Entry] = field(default_factory=dict)
    starters: list[str] = field(default_factory=list)
    rungs: list[Rung] = field(default_factory=list)
    unit_overhead_s: float = 1.0
    offline: bool = False
    _since: float = field(default_factory=_now, repr=False)

    @property
    def spent_s(self) -> float:
        """Seconds of work so far, across kills."""
        return self.elapsed_s + _now() - self._since

    @property
    def left_s(self) -> float:
        """Seconds of the budget that are left."""
        return self.order.time_s - self.spent_s

    def run_of(self, name: str) -> Path:
        """The run directory of a candidate."""
        return self.folder / "runs" / name

    def save(self) -> None:
        """Writes the file.

        Raises:
            FeatherlightError: it cannot be written.
        """
        content = {
            "format": FORMAT,
            "order": self.order.to_dict(),
            "fingerprint": self.fingerprint,
            "hold_out": self.hold_out,
            "elapsed_s": round(self.spent_s, 3),
            "entries": {name: entry.to_dict() for name, entry in self.entries.items()},
            "starters": self.starters,
            "rungs": [asdict(rung) for rung in self.rungs],
            "unit_overhead_s": self.unit_overhead_s,
            "offline": self.offline,
        }
        write_text(self.folder / STATE_FILE_NAME, json.dumps(content, indent=1) + "\n")


def read_state(folder: Path) -> State | None:
    """What an earlier process left; None: nothing.

    Raises:
        UsageError: the file is damaged, or of another version.
    """
    path = folder / STATE_FILE_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); choose another --out") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{path}: of another version of Featherlight; choose another --out")
    try:
        return _from_content(folder, content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: damaged ({error!r:.100}); choose another --out") from error


def _from_content(folder: Path, content: dict[str, Any]) -> State:
    state = State(
        folder,
        Order.from_dict(content["order"]),
        str(content["fingerprint"]),
        float(content["hold_out"]),
        float(content["elapsed_s"]),
        {name: Entry.from_dict(values) for name, values in content["entries"].items()},
        list(content["starters"]),
        [Rung(**values) for values in content["rungs"]],
        float(content["unit_overhead_s"]),
        bool(content["offline"]),
    )
    _count_unsaved(state)
    return state


def _count_unsaved(state: State) -> None:
    """Adds the training that checkpoints hold and the file does not know of: it was under way when all was killed."""
    for name, entry in state.entries.items():
        seconds = read_progress(state.run_of(name)).seconds
        state.elapsed_s += max(0.0, seconds - entry.counted_s)
        entry.counted_s = max(seconds, entry.counted_s)
