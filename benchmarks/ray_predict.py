"""Predicting many images: a plain loop in one process, the same with all threads, and Ray on this machine, in one run.

A network with fresh weights at 224 px, on real images that are named again and again. The plain loop reads, resizes and
computes in one thread. Rates are of what came behind the first part; how long that took is the start, with loading the
model and starting Ray. The ways take turns, so that a machine that gets slower is slower for all.

    python benchmarks/ray_predict.py --images /data/flowers/val --count 4000 --rounds 3
    python benchmarks/ray_predict.py --images /data/flowers/val --ray HOST:6379
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from featherlight import Preprocessing, create_model, save_model
from featherlight.cost.latency import machine_name
from featherlight.model_file import find_model_file
from featherlight.sources import open_images
from featherlight.sources.many import NamedImages, Part
from featherlight.workflows.answer_part import Job, answer_part
from featherlight.workflows.on_ray import answer_on_ray

PART = 100
Ways = dict[str, Callable[[], Iterator[tuple[int, Any]]]]


@dataclass(frozen=True)
class Measured:
    """One way, once: seconds to the first part, and images a second behind it."""

    start_s: float
    images_per_s: float


def fresh_model(network: str, folder: Path) -> Path:
    """A model file with random weights."""
    torch.manual_seed(0)
    classes = [f"class {number}" for number in range(1000)]
    return save_model(create_model(network), folder / "model.safetensors", classes, Preprocessing(224))


def cut(images: str, count: int) -> dict[int, Part]:
    """So many images, out of fewer files, in parts."""
    names = list(islice(cycle(str(Path(path).absolute()) for path in open_images([images])), count))
    starts = range(0, count, PART)
    return {number: NamedImages(tuple(names[start : start + PART]), "/") for number, start in enumerate(starts)}


def ways_for(model: Path, parts: dict[int, Part], address: str) -> Ways:
    """What is compared."""

    def loop(threads: int | None) -> Iterator[tuple[int, Any]]:
        predictor = Job(str(model), device="cpu", threads=threads).open()
        return ((number, answer_part(predictor, part, 5, threads)) for number, part in parts.items())

    return {
        "plain loop, one thread": lambda: loop(1),
        "one process, all threads": lambda: loop(None),
        "Ray, a thread a task": lambda: answer_on_ray(Job(str(model), device="cpu"), parts, address),
    }


def measure(way: Callable[[], Iterator[tuple[int, Any]]]) -> Measured:
    """Runs a way to its end."""
    began = time.monotonic()
    counts, moments = [], []
    for _, answers in way():
        counts.append(len(answers))
        moments.append(time.monotonic())
    return Measured(moments[0] - began, sum(counts[1:]) / (moments[-1] - moments[0]))


def print_table(found: dict[str, list[Measured]]) -> None:
    """Medians and ranges."""
    plain = statistics.median(one.images_per_s for one in next(iter(found.values())))
    print(f"{'':26}{'start, s':>10}{'images/s':>10}{'lowest':>10}{'highest':>10}{'of plain':>10}")
    for name, results in found.items():
        rates = [one.images_per_s for one in results]
        rate, start = statistics.median(rates), statistics.median(one.start_s for one in results)
        print(f"{name:26}{start:10.1f}{rate:10.1f}{min(rates):10.1f}{max(rates):10.1f}{rate / plain:9.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="a folder")
    parser.add_argument("--model", help="a model or exported file; by default the network with fresh weights")
    parser.add_argument("--network", default="shufflenet_v2_x1_0")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ray", default="local", metavar="ADDRESS")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = find_model_file(arguments.model) if arguments.model else fresh_model(arguments.network, Path(folder))
        ways = ways_for(model, cut(arguments.images, max(arguments.count, 2 * PART)), arguments.ray)
        found: dict[str, list[Measured]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                found[name].append(measure(way))
    print(f"{arguments.model or arguments.network}, {arguments.count:,} images, {machine_name()}")
    print_table(found)


if __name__ == "__main__":
    main()
