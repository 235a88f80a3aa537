"""What is asked of a choice: limits, time and options, read and checked before anything is done."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from featherlight.choosing import Limits
from featherlight.cost.latency import check_threads, usable_cores
from featherlight.device_profile import read_device_profile
from featherlight.errors import UsageError
from featherlight.models.catalogue import TIMM, list_models, model_info
from featherlight.targets.base import find_target, target_class
from featherlight.training.recipe import read_field

_LATENCY = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_SIZE = {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "KiB": 2.0**10, "MiB": 2.0**20, "k": 1e3, "M": 1e6}
_COUNT = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
OWN_FIELDS = {  # of the recipe, which the choice decides itself
    "data": "DATA", "model": "--models", "input_size": "--input-size", "time_s": "--time", "epochs": "--time",
    "seed": "--seed", "history": "nothing", "quantize_aware": "--int8", "hold_out": "nothing",
    "target": "--min-accuracy",
}  # fmt: skip


@dataclass(frozen=True)
class Order:
    """Everything that a choice depends on besides the images.

    Attributes:
        data: path or known name of the images.
        limits: what the network may cost.
        time_s: seconds for everything.
        models: names or patterns of networks; none: all plain ones.
        input_sizes: sides of images, pixels; none: what suits the data.
        trials: further candidates with other image sizes and recipes.
        device_profile: latencies of the device; empty: they are measured here.
        target: what is exported.
        int8: in 8 bits.
        half_weights: with weights in float16.
        threads: that the exported file computes with.
        seed: of everything random.
        settings: fields of the recipe that all candidates share.
    """

    data: str
    limits: Limits
    time_s: float
    models: tuple[str, ...] = ()
    input_sizes: tuple[int, ...] = ()
    trials: int = 0
    device_profile: str = ""
    target: str = "onnx"
    int8: bool = False
    half_weights: bool = False
    threads: int = field(default_factory=usable_cores)
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lang(self) -> str:
        """Of the pages."""
        return str(self.settings.get("lang", "en"))

    def is_like(self, other: Order) -> bool:
        """Whether both ask for the same; the language of the pages changes nothing."""
        own, others = ({**order.settings, "lang": "en"} for order in (self, other))
        return replace(self, settings=own) == replace(other, settings=others)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the state of a choice."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Order:
        """What :meth:`to_dict` gave, also after a way through JSON."""
        tuples = {name: tuple(values[name]) for name in ("models", "input_sizes")}
        settings = {name: tuple(one) if isinstance(one, list) else one for name, one in values["settings"].items()}
        return cls(**{**values, **tuples, "limits": Limits(**values["limits"]), "settings": settings})

    def budget(self) -> dict[str, Any]:
        """``budget`` of ``choose.json``: limits and options as plain values."""
        limits = {f"max_{name}": getattr(self.limits, name) for name in ("latency_ms", "size_bytes", "macs")}
        options = ("trials", "target", "int8", "half_weights", "threads", "seed", "input_sizes", "device_profile")
        return {
            **limits,
            "min_accuracy": self.limits.accuracy,
            "time_s": self.time_s,
            **{name: getattr(self, name) for name in options},
            "settings": dict(self.settings),
        }


def check_order(order: Order) -> Order:
    """Checks what a person asks for; patterns become names of networks, paths absolute, settings values.

    Raises:
        UsageError: something that does not exist, does not fit, or contradicts something else.
        MissingExtraError: what it needs is not installed.
        DataError: no usable device profile.
    """
    if target_class(order.target).is_public:
        raise UsageError(f"--target {order.target} is made of an exported file; choose one, then: featherlight export")
    find_target(order.target, int8=order.int8)
    if order.int8 and order.half_weights:
        raise UsageError("int8 weights are smaller than half ones: leave out --half-weights or --int8")
    if order.trials < 0:
        raise UsageError(f"trials are {order.trials}; give a number of at least 0")
    if order.trials:
        from featherlight.workflows.choose_trials import check_optuna

        check_optuna()
    check_threads(order.threads)
    if order.device_profile:
        read_device_profile(order.device_profile)
    for size in order.input_sizes:
        read_input_size(size)
    read_field("seed", order.seed)
    data = os.path.expanduser(order.data)
    return replace(
        order,
        data=os.path.abspath(data) if os.path.exists(data) else order.data,
        models=_match(order.models),
        input_sizes=tuple(dict.fromkeys(order.input_sizes)),
        device_profile=os.path.abspath(order.device_profile) if order.device_profile else "",
        settings=_check_settings(order.settings),
    )


def read_limits(
    max_latency: str | float | None = None,
    max_size: str | float | None = None,
    max_macs: str | float | None = None,
    min_accuracy: str | float | None = None,
) -> Limits:
    """Limits as a person writes them: ``5ms``, ``1MB``, ``50M``, ``0.9`` or ``90%``; numbers are ms, bytes and MACs.

    Raises:
        UsageError: something else.
    """
    latency = _read(max_latency, "the latency limit", _LATENCY, "5ms", "ms")
    size = _read(max_size, "the size limit", _SIZE, "1MB", "B")
    macs = _read(max_macs, "the limit of MACs", _COUNT, "50M", "")
    accuracy = _read(min_accuracy, "the least accuracy", {"": 1.0, "%": 0.01}, "0.9 or 90%", "")
    if accuracy is not None and accuracy > 1:
        raise UsageError(f"the least accuracy is {min_accuracy}; a fraction as 0.9 or a percentage as 90% is expected")
    return Limits(latency, None if size is None else round(size), None if macs is None else round(macs), accuracy)


def read_input_size(size: int) -> int:
    """Refuses what no network takes.

    Raises:
        UsageError: it is below 16 or above 4096 pixels.
    """
    if not 16 <= size <= 4096:
        raise UsageError(f"the image size is {size}; 16 to 4096 pixels are expected")
    return size


def _read(value: str | float | None, name: str, units: Mapping[str, float], example: str, plain: str) -> float | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z%]*)", str(value).strip())
    unit = plain if match is None or (isinstance(value, int | float) and not match[2]) else match[2]
    if match is None or unit not in units or not float(match[1]) > 0:
        raise UsageError(f"{name} is {value!r}; write it as {example}")
    return float(match[1]) * units[unit]


def _match(patterns: Sequence[str]) -> tuple[str, ...]:
    """Names of networks; variants, most of which compute the same, only for patterns with a dot."""
    if not patterns:
        return tuple(name for name in list_models() if "." not in name)
    found: list[str] = []
    for pattern in patterns:
        found_here = [name for name in list_models(pattern) if "." in pattern or "." not in name]
        names = [pattern] if pattern.startswith(f"{TIMM}/") else found_here
        if not names:
            model_info(pattern)  # says which names are near
        found += names
    return tuple(dict.fromkeys(found))


def _check_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    for name in settings:
        if name in OWN_FIELDS:
            raise UsageError(f"{name} is decided by the choice itself; use {OWN_FIELDS[name]}")
    return {name: read_field(name, value) for name, value in settings.items()}
