"""What a recipe is made of: settings, and for each whether its source states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from featherlight.training.recipe import Recipe

Origin = Literal["stated", "implied", "ours"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)

NOT_STATED = "not stated"

# What training code does not do unless it says so.
NOT_DONE: Mapping[str, Any] = {
    "pretrained": "none",
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "weight_decay_on": "all",
    "schedule": "constant",
    "warmup": 0.0,
    "balance": "none",
    "clip_norm": 0.0,
    "loss": "cross-entropy",
    "label_smoothing": 0.0,
    "ema_decay": 0.0,
    "crop": "none",
    "flip": False,
    "alternating_flip": False,
    "trivial_augment": False,
    "auto_augment": "none",
    "color_jitter": 0.0,
    "random_erasing": 0.0,
    "repeats": 1,
    "bias_rate": 1.0,
    "mixup": 0.0,
    "cutmix": 0.0,
}
_ORDER = [one.name for one in fields(Recipe)]
_OFF = [name for name, value in NOT_DONE.items() if value in (0.0, False, "none")]


@dataclass(frozen=True)
class RecipeSource:
    """A recipe, and where each of its settings is from.

    A field that is in none of the three tables is that of our default recipe, and so is ours.

    Attributes:
        source: where it was published.
        data: what it trains on there, as ``featherlight train`` takes it.
        accuracy: what the source reaches with it.
        time: how long that takes there.
        stated: fields that the source gives in text or code.
        implied: fields that follow from its code: the defaults of what it calls, and what it does not do.
        ours: fields that a run needs and the source leaves open.
        notes: what no field can say, and what a run here does otherwise.
        models: networks that the source trains so, the recipe's own first; empty: only that.
    """

    source: str
    data: str
    accuracy: str
    time: str
    stated: Mapping[str, Any]
    implied: Mapping[str, Any] = field(default_factory=dict)
    ours: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """What the recipe sets; what is stated goes before what is implied, and that before what is ours."""
        return {**self.ours, **self.implied, **self.stated}

    def origin(self, name: str) -> Origin:
        """Whose choice a field is."""
        if name in self.stated:
            return "stated"
        return "implied" if name in self.implied else "ours"

    def by_origin(self) -> dict[Origin, dict[str, Any]]:
        """The settings, grouped by whose choice they are."""
        settings = {name: self.settings[name] for name in _ORDER if name in self.settings}
        return {
            origin: {name: value for name, value in settings.items() if self.origin(name) == origin}
            for origin in ORIGINS
        }


def show_settings(settings: Mapping[str, Any]) -> str:
    """``epochs=60, mean=0.49,0.48,0.45``; of what is not done only the names."""
    off = [name for name, value in settings.items() if name in _OFF and value == NOT_DONE[name]]
    shown = [f"{name}={_show(value)}" for name, value in settings.items() if name not in off]
    return ", ".join([*shown, *([f"off: {', '.join(off)}"] if off else [])])


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_show, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
