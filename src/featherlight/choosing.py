"""A network chosen for a task and a device: what was asked for, what each candidate was worth, and the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from featherlight.console import duration
from featherlight.phrases import joined, phrase


@dataclass(frozen=True)
class Limits:
    """What the network may cost, and what it must reach; None: no limit.

    Attributes:
        latency_ms: median of an image at a time.
        size_bytes: of the exported files.
        macs: multiply-adds of an image.
        accuracy: at least, a fraction.
    """

    latency_ms: float | None = None
    size_bytes: int | None = None
    macs: int | None = None
    accuracy: float | None = None

    def broken_by(self, latency_ms: float | None = None, size_bytes: int | None = None, macs: int | None = None) -> str:
        """Which limits these figures break, in words; empty: none. What is not known breaks nothing."""
        found = (
            (latency_ms, self.latency_ms, show_latency),
            (size_bytes, self.size_bytes, show_size),
            (macs, self.macs, lambda count: f"{show_count(count)} MACs"),
        )
        told = [
            phrase("{value} where {limit} are allowed", value=show(value), limit=show(limit))
            for value, limit, show in found
            if value is not None and limit is not None and value > limit
        ]
        return joined(told, last=", ") if told else ""

    def excess(self, latency_ms: float | None, size_bytes: int | None, macs: int | None) -> float:
        """How many times the tightest limit these figures are: at most 1 where all hold."""
        pairs = ((latency_ms, self.latency_ms), (size_bytes, self.size_bytes), (macs, self.macs))
        return max((value / limit for value, limit in pairs if value is not None and limit is not None), default=0.0)


@dataclass(frozen=True)
class Candidate:
    """One network at one image size, with what is known of it in the end.

    Attributes:
        name: unique here, and of its run's folder.
        model: registered network name.
        input_size: side of the image, pixels.
        settings: fields of the recipe that a trial changed.
        latency_ms: an image at a time, exported; None: not measured.
        size_bytes: of the exported files; None: not known.
        macs: multiply-adds of an image.
        params: parameters.
        expected: published accuracy on ImageNet, which orders candidates before anything is trained.
        accuracy: on validation, where it stands; None: not trained.
        trained_s: seconds of training.
        dropped: why it is out; None: it is not.
        curve: (seconds of training, accuracy on validation), in order.
    """

    name: str
    model: str
    input_size: int
    settings: Mapping[str, Any]
    latency_ms: float | None
    size_bytes: int | None
    macs: int
    params: int
    expected: float
    accuracy: float | None
    trained_s: float
    dropped: str | None
    curve: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Pick:
    """The chosen network, as its exported files are.

    Attributes:
        name: of the candidate.
        model: registered network name.
        input_size: side of the image, pixels.
        accuracy: of the exported file on images that took no part in choosing, a fraction.
        interval: where it lies with 95 % certainty; empty: not known.
        split: which images: ``test``, or ``held-out`` where they were cut out of train.
        num_images: of them.
        validation_accuracy: by which it was chosen.
        latency_ms: an image at a time; of the exported file, or out of a device profile.
        size_bytes: of the exported files.
        macs: multiply-adds of an image.
        params: parameters.
        agreement: of the exported file with the model, a fraction of the validation images.
        files: absolute paths, the exported file that names the model first, then the model file.
        run: the run directory.
    """

    name: str
    model: str
    input_size: int
    accuracy: float
    interval: tuple[float, ...]
    split: str
    num_images: int
    validation_accuracy: float
    latency_ms: float | None
    size_bytes: int
    macs: int
    params: int
    agreement: float
    files: tuple[str, ...]
    run: str


@dataclass(frozen=True)
class Choice:
    """The answer: the content of ``choose.json``.

    Attributes:
        data: the images.
        classes: their names.
        budget: what was asked for: the limits, ``time_s`` and the options.
        candidates: all networks that were looked at, the best first.
        pick: the chosen one; None: no network keeps the limits.
        sentence: the answer in a sentence or two.
        advice: what to do next, or what to relax, in lines.
        reached: every limit and the accuracy asked for are kept.
        machine: on which latency was measured.
        spent_s: seconds that all took.
        notes: what else a reader should know, in lines.
        command: that chooses again.
    """

    data: str
    classes: tuple[str, ...]
    budget: Mapping[str, Any]
    candidates: tuple[Candidate, ...]
    pick: Pick | None
    sentence: str
    advice: tuple[str, ...]
    reached: bool
    machine: str
    spent_s: float
    notes: tuple[str, ...] = ()
    command: str = ""
    limits: Limits = field(default_factory=Limits)

    @property
    def trained(self) -> tuple[Candidate, ...]:
        """Those that were trained, the best first."""
        return tuple(candidate for candidate in self.candidates if candidate.accuracy is not None)

    def to_dict(self) -> dict[str, Any]:
        """What ``choose.json`` holds."""
        content = {key: value for key, value in asdict(self).items() if key != "limits"}
        return {**content, "budget": dict(self.budget)}


def show_latency(latency_ms: float) -> str:
    """``1.94 ms``."""
    return f"{latency_ms:,.0f} ms" if latency_ms >= 100 else f"{latency_ms:.3g} ms"


def show_size(size_bytes: float) -> str:
    """``1.44 MB``."""
    return f"{size_bytes / 1e6:,.2f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:,.1f} kB"


def show_count(count: float) -> str:
    """``26.4M``."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g}{name}"
    return f"{count:.0f}"


def show_figures(latency_ms: float | None, size_bytes: int | None, macs: int) -> str:
    """``1.94 ms an image, 1.44 MB, 26.4M MACs``: what is known of it."""
    parts: list[str] = []
    if latency_ms is not None:
        parts.append(phrase("{latency} an image", latency=show_latency(latency_ms)))
    parts += [show_size(size_bytes)] if size_bytes is not None else []
    return joined([*parts, f"{show_count(macs)} MACs"], last=", ")


def tell_pick(pick: Pick, candidates: Sequence[Candidate], spent_s: float, where: str) -> str:
    """The answer in a sentence or two."""
    trained = sum(candidate.accuracy is not None for candidate in candidates)
    accuracy: str = f"{pick.accuracy:.1%}"
    if len(pick.interval) == 2:
        low, high = (f"{end:.1%}" for end in pick.interval)
        accuracy = phrase("{share} ({low} to {high})", share=accuracy, low=low, high=high)
    cost = phrase("has {size}", size=show_size(pick.size_bytes))
    if pick.latency_ms is not None:
        takes = {"latency": show_latency(pick.latency_ms), "where": where, "cost": cost}
        cost = phrase("takes {latency} an image {where} and {cost}", **takes)
    return phrase(
        "{model} at {side} px is right on {accuracy} of {number} {split} images that took no part in choosing; it "
        "{cost}. Chosen in {time}: {trained} trained, {others} left out.",
        model=pick.model, side=pick.input_size, accuracy=accuracy, number=f"{pick.num_images:,}",
        split=phrase(pick.split), cost=cost, time=duration(spent_s), trained=trained,
        others=len(candidates) - trained,
    )  # fmt: skip
