"""CIFAR-10 accuracy after so many minutes: Featherlight's defaults beside the plain loop, same network.

    python benchmarks/cifar10_minutes.py DATA --minutes 10 --models mobilenet_v1_x1_0 shufflenet_v2_x0_5

By default the two run in turn, each on all cores. With --side-by-side they run at the same time, each on one core of
its own, so that both meet the same moods of the machine, in half the time.

Prints a table for docs/results.md: test accuracy, images per second, peak memory of each process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

Train = Callable[[str, str, float, int, Path, int | None], dict[str, float]]


def run(command: list[str], log: Path, core: int | None) -> tuple[str, int]:
    """Runs one process, on one core if named; returns what it printed and its peak memory in bytes."""
    with log.open("w") as errors, tempfile.TemporaryFile("w+") as output:
        pinned = command if core is None else ["taskset", "--cpu-list", str(core), *command]
        process = subprocess.Popen(pinned, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise SystemExit(f"{' '.join(command)} failed; see {log}")
        output.seek(0)
        return output.read(), usage.ru_maxrss * 1024


def ours(data: str, model: str, minutes: float, seed: int, out: Path, core: int | None) -> dict[str, float]:
    command = [sys.executable, "-m", "featherlight", "train", data, "--model", model, "--time", f"{minutes}m"]
    _, memory = run([*command, "--seed", str(seed), "--out", str(out)], out.with_suffix(".log"), core)
    row = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    top1 = json.loads((out / "evaluation.json").read_text())["top1"]
    return {"top1": top1, "images_per_s": row["images_seen"] / row["seconds"], "peak_memory_bytes": memory}


def plain(data: str, model: str, minutes: float, seed: int, out: Path, core: int | None) -> dict[str, float]:
    script = str(Path(__file__).with_name("plain_loop.py"))
    command = [sys.executable, script, data, "--model", model, "--minutes", str(minutes), "--seed", str(seed)]
    text, _ = run(command, out.with_suffix(".log"), core)
    return dict(json.loads(text))


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "numpy", "pillow"))
    return f"{len(names)} cores of {names[0]}; Python {platform.python_version()}, {libraries}"


SUBJECTS: dict[str, Train] = {"Featherlight": ours, "plain loop": plain}


def compare(options: argparse.Namespace, model: str) -> dict[str, dict[str, float]]:
    """One run of each subject, in turn or side by side."""

    def measure(name: str, core: int | None) -> dict[str, float]:
        out = options.out / f"{model}-{name.split(maxsplit=1)[0].lower()}"
        return SUBJECTS[name](options.data, model, options.minutes, options.seed, out, core)

    if not options.side_by_side:
        return {name: measure(name, None) for name in SUBJECTS}
    with ThreadPoolExecutor(len(SUBJECTS)) as pool:
        futures = {name: pool.submit(measure, name, core) for core, name in enumerate(SUBJECTS)}
        return {name: future.result() for name, future in futures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side-by-side", action="store_true", help="at the same time, each on one core")
    parser.add_argument("--out", type=Path, default=Path("runs/cifar10-minutes"))
    parser.add_argument(
        "--models", nargs="+", default=["mobilenet_v1_x1_0", "shufflenet_v2_x0_5", "shufflenet_v1_g3_x0_5"]
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True)  # a new one: results of two runs must not mix
    how = "side by side on one core each" if options.side_by_side else "in turn on all cores"
    print(f"{machine()}; {options.minutes:g} minutes each, {how}, one run each, seed {options.seed}\n")
    print("| network | | test accuracy | images/s | peak memory |\n|---|---|---|---|---|", flush=True)
    for model in options.models:
        for name, result in compare(options, model).items():
            print(
                f"| {model} | {name} | {result['top1']:.2%} | {result['images_per_s']:.0f} | "
                f"{result['peak_memory_bytes'] / 2**20:,.0f} MiB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
