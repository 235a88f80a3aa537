"""Train with recipes of your own, and ask whether the difference between them is real.

    python examples/compare_recipes.py photos --epochs 20

Every field of a recipe is a keyword of ``train``; docs/reference.md lists them. What is left out follows from the data.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import featherlight

RECIPES: dict[str, dict[str, Any]] = {
    "usual": {},
    "strong": {"trivial_augment": True, "mixup": 0.2, "optimizer": "adamw", "learning_rate": 2e-3},
}


def compare_recipes(data: str, out: Path, epochs: int | None = None, model: str = "shufflenet_v2_x0_5") -> str:
    """Trains one network for each recipe, all from the same seed; returns the sentence that says which is better."""
    runs = [
        featherlight.train(data, model, epochs=epochs, seed=0, out=out / name, **settings)
        for name, settings in RECIPES.items()
    ]
    comparison = featherlight.compare([run.path for run in runs], latency_s=0, out=out / "comparison")
    return comparison.sentence


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="digits")
    parser.add_argument("--out", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    print(compare_recipes(given.data, given.out, given.epochs))
