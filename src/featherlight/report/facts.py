"""What a report says beside the evaluation: cost, latency, training; and the tables under its charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featherlight.report.curves import History
from featherlight.report.rendering import percent
from featherlight.report.texts import Texts

MAX_EPOCHS_LISTED = 100
_QUIET = 1.5  # times; on a quiet machine rounds differ by less


@dataclass(frozen=True)
class CostFacts:
    """What a network costs; None where it is not known.

    Attributes:
        size_bytes: of the file.
        params: parameters.
        macs: multiply-adds for one image.
        activation_bytes: of all tensors it computes for one image.
    """

    size_bytes: int | None = None
    params: int | None = None
    macs: int | None = None
    activation_bytes: int | None = None


@dataclass(frozen=True)
class LatencyFacts:
    """How long one image takes, and where that was measured.

    Attributes:
        p50_ms: half of the calls are faster.
        p95_ms: 95 % of the calls are faster.
        num_calls: calls that were timed.
        engine: runtime.
        threads: it may use.
        machine: processor and operating system.
        input: ``224 x 224 px``.
        low_ms: the lowest of the rounds' medians.
        high_ms: the highest of them.
    """

    p50_ms: float
    p95_ms: float
    num_calls: int
    engine: str
    threads: int
    machine: str
    input: str
    low_ms: float = 0.0
    high_ms: float = 0.0

    @property
    def is_unsteady(self) -> bool:
        """Whether rounds differ so much that the machine was not quiet."""
        return self.high_ms > _QUIET * self.low_ms


@dataclass(frozen=True)
class NumberTable:
    """The numbers of a chart; the first column names the row."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def training_facts(history: History, say: Texts) -> str:
    """``20 epochs · 9 min 56 s · 193 images/s``."""
    if not history:
        return ""
    last = history[-1]
    facts = [say.count(len(history), "epoch")]
    if last.get("seconds"):
        facts.append(_duration(last["seconds"], say))
    if last.get("images_per_s"):
        facts.append(say("{number} images/s", number=f"{last['images_per_s']:,.0f}"))
    return " · ".join(facts)


def epochs_table(history: History, say: Texts) -> NumberTable:
    """Losses, accuracy and learning rate; of more than 100 epochs some, the last among them."""
    step = -(-len(history) // MAX_EPOCHS_LISTED)
    rows = [row for place, row in enumerate(history, 1) if (len(history) - place) % max(1, step) == 0]
    columns = ["epoch", "train loss", "validation loss", "validation accuracy", "learning rate"]
    return NumberTable(say("Training"), [say(name) for name in columns], [_epoch(row) for row in rows])


def _epoch(row: Mapping[str, Any]) -> list[str]:
    numbers = [row.get(key) for key in ("train_loss", "val_loss", "val_top1", "learning_rate")]
    train, validation, accuracy, rate = numbers
    return [
        str(row["epoch"]),
        _number(train, ".4f"),
        _number(validation, ".4f"),
        "–" if accuracy is None else percent(accuracy, 2),
        _number(rate, ".3g"),
    ]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def bins_table(reliability: Mapping[str, Any], say: Texts) -> NumberTable:
    """What the bars of the reliability diagram hold."""
    before: Sequence[Mapping[str, Any]] = reliability.get("bins_before") or ()
    columns = ["probability", "images", "mean probability", "accuracy"]
    titles = [say(name) for name in columns]
    if before:
        titles += [say("{what}, without temperature", what=name) for name in titles[1:]]
    rows = []
    for place, entry in enumerate(reliability["bins"]):
        row = [f"{entry['low']:.0%}–{entry['high']:.0%}", *_bin(entry)]
        rows.append([*row, *_bin(before[place])] if before else row)
    return NumberTable(say("Is it as right as it is sure?"), titles, rows)


def _bin(entry: Mapping[str, Any]) -> list[str]:
    numbers = [entry["confidence"], entry["accuracy"]]
    return [f"{entry['count']:,}", *("–" if number is None else percent(number) for number in numbers)]


def _duration(seconds: float, say: Texts) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return say("{hours} h {minutes} min", hours=hours, minutes=minutes)
    return say("{minutes} min {rest} s", minutes=minutes, rest=rest) if minutes else say("{rest} s", rest=rest)
