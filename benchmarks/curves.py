"""Loss curves with and without Featherlight's kernels: does training learn the same, but for the seed's noise?

    python benchmarks/curves.py DATA --models shufflenet_v2_x0_5 --epochs 3 --seeds 3

For each network, each way and each seed one run, all else alike: the seed draws first weights, order and augmentation.
The ways are PyTorch's eager float32, the kernels in float32, and in bfloat16 where the processor multiplies it. Prints
one table a network: the mean over the seeds of each epoch's training loss and of the last validation accuracy, with the
standard deviation between seeds. `difference` is the mean over seeds of a way's difference to PyTorch at the same seed,
with the half width of its 95 % interval (Student's t); a way learns the same where the interval holds 0.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import t as student

from featherlight.kernels.library import has_bfloat16

WAYS = {
    "PyTorch, float32": ("off", "float32"),
    "kernels, float32": ("on", "float32"),
    "kernels, bfloat16": ("on", "bfloat16"),
}
REFERENCE = "PyTorch, float32"


@dataclass(frozen=True)
class Curve:
    """Of one run: the training loss after each epoch, and the last validation accuracy in percent."""

    losses: list[float]
    top1: float

    @property
    def numbers(self) -> list[float]:
        return [*self.losses, self.top1]


def train(arguments: argparse.Namespace, model: str, way: str, seed: int) -> Curve:
    kernels, precision = WAYS[way]
    settings = {"kernels": kernels, "precision": precision, "layout": "channels-last", "compile": "off"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "featherlight", "train", arguments.data, "--model", model, "--out", str(out)]
        command += ["--epochs", str(arguments.epochs), "--seed", str(seed)]
        for name, value in {**settings, **dict(pair.split("=", 1) for pair in arguments.set)}.items():
            command += ["--set", f"{name}={value}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return Curve([row["train_loss"] for row in rows], 100 * rows[-1]["val_top1"])


def differences(curves: list[Curve], reference: list[Curve]) -> str:
    """Of every number to PyTorch's at the same seed, with the half width of its interval."""
    cells = []
    for numbers in zip(
        *(zip(a.numbers, b.numbers, strict=True) for a, b in zip(curves, reference, strict=True)), strict=True
    ):
        found = [a - b for a, b in numbers]
        half = student.ppf(0.975, len(found) - 1) * stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.nan
        cells.append(f"{mean(found):+.3f} ± {half:.3f}")
    return " | ".join(cells)


def spread(curves: list[Curve]) -> str:
    cells = []
    for numbers in zip(*(curve.numbers for curve in curves), strict=True):
        deviation = f" (sd {stdev(numbers):.3f})" if len(numbers) > 1 else ""
        cells.append(f"{mean(numbers):.3f}{deviation}")
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--models", nargs="+", default=["shufflenet_v2_x0_5"])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each way")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the recipe, for all runs")
    arguments = parser.parse_args()
    ways = [way for way in WAYS if "bfloat16" not in way or has_bfloat16()]
    for model in arguments.models:
        curves: dict[str, list[Curve]] = {way: [] for way in ways}
        for seed in range(arguments.seeds):
            for way in ways:
                curves[way].append(train(arguments, model, way, seed))
                print(f"{model}, seed {seed}, {way}: {curves[way][-1]}", file=sys.stderr, flush=True)
        epochs = " | ".join(f"loss, epoch {number + 1}" for number in range(arguments.epochs))
        print(f"\n## {model}, n = {arguments.seeds}\n\n| way | {epochs} | val top-1, % |")
        print("|---" * (arguments.epochs + 2) + "|")
        for way in ways:
            print(f"| {way} | {spread(curves[way])} |")
        for way in ways[1:]:
            print(f"| {way}: difference | {differences(curves[way], curves[REFERENCE])} |")


if __name__ == "__main__":
    main()
