"""What `featherlight choose` finds within limits, beside training the default network for the same time.

    python benchmarks/choosing.py sign-digits/ cifar10-jpeg/ --budgets "10m 1ms 1MB" "30m 3ms 3MB" --out runs/choosing

A budget is the time, the latency of an image and the size of the exported file. `choose` has the time for everything:
measuring, training, exporting, verifying. `train` has it for training alone, and does not know of the limits; its
network is exported and measured in the same way. Both accuracies are of the exported files, on the same test images.

Latencies mean something only where nothing else runs. A folder that is there already is not computed again, so the
script can be stopped and called again.

Prints a table for docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from featherlight.cost.latency import machine_name
from featherlight.model_file import read_card
from featherlight.training.recipe import read_duration
from featherlight.workflows.choose_measure import latency_of_file
from featherlight.workflows.choose_order import Order, check_order, read_limits
from featherlight.workflows.evaluate import evaluate

LOG = "log.txt"
COLUMNS = ("data", "budget", "", "network", "test accuracy", "95 %", "ms an image", "MB", "within", "wall time")
BUDGETS = ("10m 1ms 1MB", "30m 3ms 3MB")


@dataclass(frozen=True)
class Budget:
    time: str
    latency: str
    size: str

    @classmethod
    def read(cls, text: str) -> Budget:
        try:
            return cls(*text.split())
        except TypeError:
            raise SystemExit(f"{text!r} is no budget; write time, latency and size: '10m 1ms 1MB'") from None

    def __str__(self) -> str:
        return f"{self.time}, {self.latency}, {self.size}"


def timed(command: list[str], out: Path, allowed: tuple[int, ...] = (0,)) -> float:
    """Runs a command with its notes in a file; returns the seconds it took, also those of an earlier call."""
    mark = out.with_name(f"{out.name}-seconds.json")
    if mark.exists():
        return float(json.loads(mark.read_text()))
    started = time.monotonic()
    call = [sys.executable, "-m", "featherlight", *command]
    with out.with_name(f"{out.name}-{LOG}").open("w") as log:
        code = subprocess.run(call, stdout=log, stderr=log, check=False).returncode
    if code not in allowed:
        raise SystemExit(f"featherlight {' '.join(command)} ended with {code}; see {out}-{LOG}")
    seconds = time.monotonic() - started
    mark.write_text(json.dumps(seconds))
    return seconds


def ours(data: Path, budget: Budget, seed: int, out: Path) -> dict[str, Any]:
    limits = ["--max-latency", budget.latency, "--max-size", budget.size]
    command = ["choose", str(data), *limits, "--time", budget.time, "--seed", str(seed), "--out", str(out)]
    seconds = timed(command, out, allowed=(0, 1))
    content = json.loads((out / "choose.json").read_text())
    pick = content["pick"]
    if pick is None:
        return {"network": "none", "note": content["sentence"], "seconds": seconds}
    trained = sum(row["accuracy"] is not None for row in content["candidates"])
    return {
        "network": f"{pick['model']}, {pick['input_size']} px, of {trained} trained",
        "accuracy": pick["accuracy"],
        "interval": pick["interval"],
        "latency_ms": pick["latency_ms"],
        "size_bytes": pick["size_bytes"],
        "seconds": seconds,
    }


def default(data: Path, budget: Budget, seed: int, out: Path, order: Order) -> dict[str, Any]:
    seconds = timed(["train", str(data), "--time", budget.time, "--seed", str(seed), "--out", str(out)], out)
    file = out / "onnx" / "model.onnx"
    if not file.exists():
        timed(["export", str(out), "--to", "onnx"], out / "onnx")
    card = read_card(out / "model.safetensors")
    found = evaluate(file, str(data), split="test")
    return {
        "network": f"{card.model}, {card.preprocessing.input_size} px",
        "accuracy": found.top1,
        "interval": found.top1_interval,
        "latency_ms": latency_of_file(file, order, card.preprocessing.input_size),
        "size_bytes": file.stat().st_size,
        "seconds": seconds,
    }


def row(data: Path, budget: Budget, name: str, found: dict[str, Any], order: Order) -> str:
    if "accuracy" not in found:
        cells = [found["network"], found["note"], "", "", "", "", f"{found['seconds']:.0f} s"]
    else:
        low, high = found["interval"]
        broken = order.limits.broken_by(found["latency_ms"], found["size_bytes"], None)
        cells = [
            found["network"], f"{found['accuracy']:.2%}", f"{low:.1%} to {high:.1%}", f"{found['latency_ms']:.2f}",
            f"{found['size_bytes'] / 1e6:.2f}", f"no: {broken}" if broken else "yes", f"{found['seconds']:.0f} s",
        ]  # fmt: skip
    return f"| {' | '.join([data.name, str(budget), name, *cells])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path, help="folders of images; those without a split get one")
    parser.add_argument("--budgets", nargs="+", type=Budget.read, default=[Budget.read(text) for text in BUDGETS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/choosing"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "numpy"))
    print(f"{machine_name()}; Python {platform.python_version()}, {versions}; n = 1 each, seed {options.seed}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for data in options.data:
        for budget in options.budgets:
            order = check_order(Order(str(data), read_limits(budget.latency, budget.size), read_duration(budget.time)))
            stem = f"{data.name}-{budget.time}"  # the default network trains alike whatever the limits are
            limits = f"{budget.latency}-{budget.size}"
            chosen = ours(data, budget, options.seed, options.out / f"{stem}-{limits}-choose")
            print(row(data, budget, "choose", chosen, order), flush=True)
            usual = default(data, budget, options.seed, options.out / f"{stem}-default", order)
            print(row(data, budget, "default network", usual, order), flush=True)


if __name__ == "__main__":
    main()
