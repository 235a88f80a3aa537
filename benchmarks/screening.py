"""Ideas for the default recipe beside each other: the same images, the same work, judged on validation.

    python benchmarks/screening.py DATA --model mobilenet_v1_x0_5 --epochs 6 --seeds 2
    python benchmarks/screening.py DATA --ideas base no-growth --set batch_size=128

Each idea is the default recipe with some fields changed. Epochs are scaled so that every idea computes as many pixels:
images that grow allow more epochs in the same time. So the outcome does not depend on what else the machine does, and
several processes may share it (--only i/n takes every n-th run).

Prints a table for docs/results.md: mean and all accuracies on validation, and seconds of training.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import nullcontext
from pathlib import Path
from statistics import mean
from typing import Any

from featherlight import train
from featherlight.sources import open_source
from featherlight.training.defaults import default_recipe
from featherlight.training.growth import side_at
from featherlight.training.recipe import read_recipe
from featherlight.workflows.reproduce import facts_of
from untried import TRIALS

IDEAS: dict[str, dict[str, Any]] = {
    "base": {},
    "no-growth": {"grow": 0.0},
    "grow-0.5": {"grow": 0.5},
    "grow-0.9": {"grow": 0.9},
    "rate-half": {"rate": 0.5},
    "rate-double": {"rate": 2.0},
    "batch-64": {"batch_size": 64},
    "batch-128": {"batch_size": 128},
    "batch-256": {"batch_size": 256},
    "alternating-flip": {"alternating_flip": True},
    "random-flip": {"alternating_flip": False},
    "fast-biases": {"bias_rate": 8.0},
    "even-biases": {"bias_rate": 1.0},
    "no-smoothing": {"label_smoothing": 0.0},
    "no-average": {"ema_decay": 0.0},
    "cosine": {"schedule": "cosine"},
    "warmup-0.4": {"warmup": 0.4},
    "adamw": {"optimizer": "adamw", "learning_rate": 4e-3},
    "decay-on-all": {"weight_decay_on": "all"},
    "trivial-augment": {"trivial_augment": True},
    "kaiming": {"initialisation": "kaiming-normal"},
    "norms-again": {"reestimate_norms": True},
    "average-longer": {"ema_decay": 0.998},
    "decay-double": {"weight_decay": 1e-3},
    "cutmix": {"cutmix": 1.0},
    "shift-eighth-black": {"shift": 1 / 8, "shift_fill": "black"},
    "shift-sixteenth-black": {"shift_fill": "black"},
    "shift-eighth": {"shift": 1 / 8},
    "no-shift": {"shift": 0.0},
    **{name: {"trial": name} for name in TRIALS},
}
PARTS = 1000
TAUGHT = "teacher"


def work_of_an_epoch(grow: float, side: int = 32) -> float:
    """Pixels of a run with growth, as a part of those without."""
    return mean((side_at(side, grow, part / PARTS) / side) ** 2 for part in range(PARTS))


def run(data: str, model: str, epochs: float, idea: dict[str, Any], seed: int, extra: dict[str, str]) -> dict[str, Any]:
    """Trains once; returns the last row of its metrics."""
    settings = {key: value for key, value in idea.items() if key not in ("rate", "trial")}
    with tempfile.TemporaryDirectory() as folder, TRIALS.get(idea.get("trial", ""), nullcontext)():
        if "rate" in idea:
            settings["learning_rate"] = idea["rate"] * usual_rate(data, model, {**extra, **settings})
        grow = float(idea.get("grow", extra.get("grow", 0.7)))
        scaled = max(1, round(epochs / work_of_an_epoch(grow)))
        result = train(data, model, out=Path(folder) / "run", epochs=scaled, seed=seed, **{**extra, **settings})
        recipe = read_recipe(result.path)
        return {"epochs": recipe.epochs, "rate": recipe.learning_rate, **result.metrics}


def usual_rate(data: str, model: str, settings: dict[str, Any]) -> float:
    return default_recipe(facts_of(open_source(data)), {"model": model, **settings}).learning_rate


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--model", default="mobilenet_v1_x0_5")
    parser.add_argument("--epochs", type=float, default=6, help="of whole images; others get as many as cost the same")
    parser.add_argument("--ideas", nargs="+", default=list(IDEAS), choices=[*IDEAS, TAUGHT])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="settings")
    parser.add_argument("--teacher", help="a run whose answers are learned too, as one more idea: teacher")
    parser.add_argument("--only", default="0/1", metavar="I/N", help="every n-th run, beginning with the i-th")
    arguments = parser.parse_args()
    if TAUGHT in arguments.ideas and not arguments.teacher:
        parser.error(f"the idea {TAUGHT} needs --teacher RUN")
    ideas = IDEAS | {TAUGHT: {"teacher": arguments.teacher}}
    extra = dict(setting.split("=", 1) for setting in arguments.settings)
    part, parts = map(int, arguments.only.split("/"))
    runs = [(idea, seed) for seed in range(arguments.seeds) for idea in arguments.ideas][part::parts]
    found: dict[str, list[dict[str, Any]]] = {}
    for idea, seed in runs:
        row = run(arguments.data, arguments.model, arguments.epochs, ideas[idea], seed, extra)
        found.setdefault(idea, []).append(row)
        print(json.dumps({"idea": idea, "seed": seed, **row}), flush=True)
    print("\n| idea | epochs | rate | validation, mean | each | seconds |\n|---|---|---|---|---|---|")
    for idea, rows in sorted(found.items(), key=lambda pair: -mean(row["val_top1"] for row in pair[1])):
        each = ", ".join(f"{row['val_top1']:.2%}" for row in rows)
        print(
            f"| {idea} | {rows[0]['epochs']} | {rows[0]['rate']:g} | {mean(row['val_top1'] for row in rows):.2%} | "
            f"{each} | {mean(row['seconds'] for row in rows):.0f} |"
        )


if __name__ == "__main__":
    main()
