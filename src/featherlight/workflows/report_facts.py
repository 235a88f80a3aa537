"""What a report says about an open model: cost, latency here, and where it looked at its mistakes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from featherlight.cost.latency import ROUNDS, machine_name, summarize, timed, usable_cores
from featherlight.engines import Engine, prepare_image
from featherlight.errors import FeatherlightError, UsageError
from featherlight.metrics import Evaluation
from featherlight.model_file import ModelCard, find_model_file
from featherlight.report import CostFacts, LatencyFacts, Mistake
from featherlight.workflows.benchmark_subject import sample_images

WARM_UP_CALLS = 3
CALLS_A_ROUND = 5
MAX_SECONDS = 2.0
_AT_A_TIME = 16


def cost_of(engine: Engine, model: str | Path) -> CostFacts:
    """The size of the model's file and, where PyTorch is installed, what its network costs for one image."""
    file = find_model_file(model)
    parts = [file, file.with_suffix(".bin")] if file.suffix == ".xml" else [file]
    facts = CostFacts(size_bytes=sum(part.stat().st_size for part in parts))
    return _with_counts(facts, engine.card) if find_spec("torch") is not None else facts


def _with_counts(facts: CostFacts, card: ModelCard) -> CostFacts:
    import torch

    from featherlight.cost.count import count_cost
    from featherlight.models.registry import create_model

    side = card.preprocessing.input_size
    try:
        with torch.device("meta"):  # nothing is computed
            network = create_model(card.model, **card.arguments).eval()
            cost = count_cost(network, (card.preprocessing.in_channels, side, side), card.model)
    except (FeatherlightError, RuntimeError):  # a foreign network that needs values; the page can do without
        return facts
    return replace(facts, params=cost.params, macs=cost.macs, activation_bytes=cost.activation_bytes)


def latency_of(engine: Engine, threads: int | None = None) -> LatencyFacts:
    """Measures briefly how long one image of the network's size takes; ``featherlight benchmark`` does it at length.

    Args:
        engine: the open model.
        threads: that it was opened with; None: its own choice.
    """
    side = engine.card.preprocessing.input_size
    image = sample_images(1, side)
    for _ in range(WARM_UP_CALLS):
        engine.logits(image)
    rounds, started = list[list[float]](), time.perf_counter()
    while len(rounds) < ROUNDS and (not rounds or time.perf_counter() - started < MAX_SECONDS):
        rounds.append([timed(lambda: engine.logits(image)) for _ in range(CALLS_A_ROUND)])
    found = summarize(rounds)
    return LatencyFacts(
        p50_ms=found.p50_ms,
        p95_ms=found.p95_ms,
        num_calls=found.num_calls,
        engine=engine.name,
        threads=threads or _threads_of(engine),
        machine=", ".join([*_accelerator(engine), machine_name()]),
        input=f"{side} × {side} px",
        low_ms=found.low_ms,
        high_ms=found.high_ms,
    )


def _threads_of(engine: Engine) -> int:
    if engine.name != "torch":
        return usable_cores()
    import torch

    return torch.get_num_threads()


def _accelerator(engine: Engine) -> list[str]:
    device = str(getattr(engine, "device", "cpu"))
    return [] if device == "cpu" else [device]


def check_can_look(engine: Engine) -> None:
    """Refuses early what cannot be shown.

    Raises:
        UsageError: the engine gives no activations.
    """
    if not hasattr(engine, "activation_maps"):
        raise UsageError(
            f"class-activation maps need the network in PyTorch; {engine.name} runs an exported file. "
            "Name the run or the model file it was exported from"
        )


def add_heats(engine: Engine, mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Mistakes with the image as the network saw it, and where it looked for its answer and for the right class.

    Raises:
        UsageError: the network makes no map that is large enough.
    """
    number = {name: place for place, name in enumerate(engine.card.classes)}
    seen = [replace(mistake, image=prepare_image(engine, mistake.image)) for mistake in mistakes]
    heats = {
        which: [
            heat
            for start in range(0, len(seen), _AT_A_TIME)
            for heat in _heats(engine, seen[start : start + _AT_A_TIME], which, number)
        ]
        for which in ("predicted", "true")
    }
    return [
        replace(mistake, heats={which: maps[place] for which, maps in heats.items()})
        for place, mistake in enumerate(seen)
    ]


def list_heats(evaluation: Evaluation, mistakes: Sequence[Mistake]) -> Evaluation:
    """The maps as numbers, ``maps`` in each row of the evaluation's ``mistakes``: nothing is only in a picture."""
    maps = {one.path: {which: np.round(heat, 2).tolist() for which, heat in one.heats.items()} for one in mistakes}
    rows = [{**row, "maps": maps[row["path"]]} if row["path"] in maps else row for row in evaluation.mistakes]
    return replace(evaluation, mistakes=rows)


def _heats(engine: Engine, mistakes: Sequence[Mistake], which: str, number: dict[str, int]) -> list[np.ndarray]:
    classes = np.array([number[getattr(mistake, which)] for mistake in mistakes], np.int64)
    images = np.stack([mistake.image for mistake in mistakes])
    return list(engine.activation_maps(images, classes))  # type: ignore[attr-defined]
