"""What a network costs before it is trained: counted, exported untrained and timed, remembered for the next time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import nn

from featherlight.console import silence
from featherlight.cost.count import count_cost
from featherlight.cost.latency import machine_name, measure_latency
from featherlight.cost.remembered import Remembered
from featherlight.device_profile import DeviceProfile
from featherlight.engines import open_engine
from featherlight.engines.exported import ExportedCard
from featherlight.files import cache_folder
from featherlight.model_file import ModelCard
from featherlight.models.registry import create_model
from featherlight.passes.simplify import DEFAULT_FORM
from featherlight.targets.base import Draft, Target, find_target
from featherlight.targets.quantize_openvino import size_of
from featherlight.training.recipe import Recipe
from featherlight.workflows.benchmark_subject import sample_images
from featherlight.workflows.benchmark_subjects import Wish, prepare_subjects
from featherlight.workflows.choose_order import Order
from featherlight.workflows.fastest_form import choose_form
from featherlight.workflows.fit import preprocessing_of

FILE_NAME = "choose.json"
MAX_KEYS = 5000
BUDGET_S = 1.0  # to time one network
RUNTIMES = ("featherlight", "torch", "onnxruntime", "openvino", "nncf", "ncnn", "ai-edge-litert", "executorch")


@dataclass(frozen=True)
class Figures:
    """An untrained network's exported file.

    Attributes:
        latency_ms: median of an image at a time; None where it was not to be measured.
        size_bytes: of the files.
        export_s: how long making and timing it took.
    """

    latency_ms: float | None
    size_bytes: int
    export_s: float


def count_network(recipe: Recipe, num_classes: int) -> tuple[int, int]:
    """MACs and parameters; nothing is computed."""
    table = Remembered(cache_folder() / FILE_NAME, MAX_KEYS)
    key = {"kind": "cost", **_shape(recipe, num_classes), "featherlight": version("featherlight")}
    known = table.get(key)
    if not _is_count(known.get("macs")) or not _is_count(known.get("params")):
        with torch.device("meta"):
            network = _network(recipe, num_classes)
        side = recipe.input_size
        cost = count_cost(network, (recipe.in_channels, side, side), recipe.model)
        known = {"macs": cost.macs, "params": cost.params}
        table.put(key, known)
    return known["macs"], known["params"]


def measure_untrained(order: Order, recipe: Recipe, classes: Sequence[str], *, timed: bool = True) -> Figures:
    """Exports the recipe's network with fresh weights and times it in the engine that will run it.

    Args:
        order: target, precision and threads.
        recipe: of the candidate.
        classes: names of the classes.
        timed: whether latency is wanted.

    Raises:
        UsageError: the network has something that the target cannot express.
    """
    table = Remembered(cache_folder() / FILE_NAME, MAX_KEYS)
    key = {"kind": "trained export", **_shape(recipe, len(classes)), **_surroundings(order)}
    known = table.get(key)
    if not _is_count(known.get("size_bytes")) or (timed and not _is_positive(known.get("latency_ms"))):
        started = time.monotonic()
        with silence(), tempfile.TemporaryDirectory(prefix="featherlight-choose-") as folder:
            known = _measure(order, recipe, classes, Path(folder), timed)
        known["export_s"] = round(time.monotonic() - started, 3)
        table.put(key, known)
    seconds = known.get("export_s")
    return Figures(known.get("latency_ms"), known["size_bytes"], float(seconds) if _is_positive(seconds) else 0.0)


def latency_of_file(file: Path, order: Order, input_size: int, budget_s: float = BUDGET_S) -> float:
    """Median milliseconds that an exported file takes for an image of the network's size."""
    engine = open_engine(file, find_target(order.target).engine, "auto", order.threads)
    return measure_latency(partial(engine.logits, sample_images(1, input_size)), budget_s).p50_ms


def latency_in_profile(profile: DeviceProfile, order: Order, model: str, input_size: int) -> float | None:
    """The device's median for an image, in the target's engine and precision; None: it was not measured there."""
    engine, precision = find_target(order.target).engine, "int8" if order.int8 else "float32"
    rows = (
        row.p50_ms
        for row in profile.measurements
        if (row.network, row.input_size, row.batch) == (model, input_size, 1)
        and (row.engine, row.precision) == (engine, precision)
    )
    return min(rows, default=None)


def _measure(order: Order, recipe: Recipe, classes: Sequence[str], folder: Path, timed: bool) -> dict[str, Any]:
    target = find_target(order.target, int8=order.int8)
    file = _quantized(target, recipe, len(classes), folder) if order.int8 else _float(order, recipe, classes, folder)
    latency = latency_of_file(file, order, recipe.input_size) if timed else None
    return {"latency_ms": latency, "size_bytes": size_of(file)}


def _float(order: Order, recipe: Recipe, classes: Sequence[str], folder: Path) -> Path:
    """The file as an export would write it, but for its weights."""
    target = find_target(order.target)
    network = _as_trained(_network(recipe, len(classes))).eval()
    arguments: dict[str, Any] = network.featherlight_arguments  # type: ignore[assignment]
    given = {name: value for name, value in arguments.items() if name != "name"}
    provenance = {"data": recipe.data, "recipe": recipe.to_dict()}  # what a file says about itself takes room, too
    card = ModelCard(recipe.model, given, tuple(classes), preprocessing_of(recipe), provenance=provenance)
    exported = ExportedCard(card, target.inputs[0])
    target.write(
        Draft(choose_form(network, target, exported, DEFAULT_FORM).network, exported, order.half_weights), folder
    )
    return folder / target.file_names[0]


def _quantized(target: Target, recipe: Recipe, num_classes: int, folder: Path) -> Path:
    """In 8 bits, by random images: which layers will stay in float is not known before the network is trained."""
    wish = Wish((target.engine,), ("int8",), recipe.input_size, num_classes, form=DEFAULT_FORM)
    return prepare_subjects([recipe.model], wish, folder)[0].file


def _network(recipe: Recipe, num_classes: int) -> nn.Module:
    return create_model(
        recipe.model, num_classes, recipe.in_channels, recipe.input_size, stem=recipe.stem, dropout=recipe.dropout
    )


def _as_trained(network: nn.Module) -> nn.Module:
    """Norms as training leaves them: fresh ones fold into biases of zero, which a file holds only once."""
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.copy_(torch.randn(module.num_features, generator=random))
    return network


def _shape(recipe: Recipe, num_classes: int) -> dict[str, Any]:
    return {
        "network": recipe.model,
        "input_size": recipe.input_size,
        "in_channels": recipe.in_channels,
        "stem": recipe.stem,
        "classes": num_classes,
    }


def _surroundings(order: Order) -> dict[str, Any]:
    found = {}
    for name in RUNTIMES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    asked = {name: getattr(order, name) for name in ("target", "int8", "half_weights", "threads")}
    return {**asked, "machine": machine_name(), "versions": found}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_positive(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
