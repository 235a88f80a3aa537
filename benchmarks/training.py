"""Training speed, end to end with augmentation: Featherlight beside the loop that most tutorials show.

    python benchmarks/training.py [DATA] --models mobilenet_v1_x1_0 shufflenet_v2_x0_5 --cases 32x128 224x32

A case is the side of the images and how many a batch has. All ways run in one process, in turn, several rounds,
forwards and backwards; medians count. Ways:
  plain     the tutorials' loop: PIL transforms one image at a time, eager float32, PyTorch's default layout, SGD
  eager     Featherlight's loading and loop with PyTorch's operators, float32, channels last
  bfloat16  the same with bfloat16 where PyTorch's autocast uses it
  compiled  the same under torch.compile (float32); its start is not counted, but said
  kernels   Featherlight's own operators
  kernels-bfloat16  the same with activations and products in bfloat16, where the processor multiplies it
What `--speed auto` takes is the fastest of the last five; `compiled` only for long runs.

Then each way runs in a process of its own to find its peak memory. DATA is any folder of images with a train split,
for example CIFAR-10; without it images are drawn at random.
The limit is what the processor's matrix products reach (measured in the same run), divided by three times the MACs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from featherlight import create_model
from featherlight.cost.count import count_cost
from featherlight.cost.latency import alternating, machine_name
from featherlight.images import Preprocessing, resize_image
from featherlight.kernels.library import has_bfloat16
from featherlight.loading.augment import Augmentation
from featherlight.loading.batches import MemoryBatches
from featherlight.sources import open_source
from featherlight.training.learner import Learner
from featherlight.training.recipe import Recipe
from featherlight.workflows.peak_memory import peak_here

MODELS = ("mobilenet_v1_x1_0", "shufflenet_v1_g3_x1_0", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0")
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "eager": {"layout": "channels-last", "precision": "float32", "compile": "off", "kernels": "off"},
    "bfloat16": {"layout": "channels-last", "precision": "bfloat16", "compile": "off", "kernels": "off"},
    "compiled": {"layout": "channels-last", "precision": "float32", "compile": "on", "kernels": "off"},
    "kernels": {"layout": "channels-last", "precision": "float32", "compile": "off", "kernels": "on"},
    "kernels-bfloat16": {"layout": "channels-last", "precision": "bfloat16", "compile": "off", "kernels": "on"},
}
CLASSES = 10
PIXELS = 4096 * 32 * 32  # of the images that are trained on in turn


@dataclass(frozen=True)
class Job:
    """What is trained: network, side of the images, images a batch."""

    model: str
    size: int
    batch: int
    images: np.ndarray[Any, Any]  # uint8 (N, S, S, 3)
    labels: torch.Tensor


class PlainImages(Dataset[tuple[torch.Tensor, int]]):
    """Transformed as PIL images at each access, as torchvision's CIFAR10 does."""

    def __init__(self, job: Job) -> None:
        self.images, self.labels = job.images, job.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(job.size, padding=job.size // 8),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def network_for(job: Job) -> nn.Module:
    torch.manual_seed(0)
    return create_model(job.model, CLASSES, input_size=job.size).train()


def plain_steps(job: Job) -> Iterator[None]:
    """Each `next` is a step of the tutorials' loop."""
    model = network_for(job)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(PlainImages(job), job.batch, shuffle=True, drop_last=True)
    while True:
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield


def our_steps(job: Job, way: str) -> Generator[None, None, None]:
    """Each `next` is a step of Featherlight's loop: SGD with Nesterov momentum, label smoothing, averaged weights."""
    recipe = Recipe("benchmark", model=job.model, input_size=job.size, batch_size=job.batch, **WAYS[way])
    augmentation = Augmentation(
        job.size, "pad", flip=True, trivial_augment=False, mixup=0, cutmix=0, num_classes=CLASSES
    )
    batches = MemoryBatches(job.images, job.labels, augmentation, job.batch, 0, [], torch.device("cpu"))
    learner = Learner(network_for(job), recipe, Preprocessing(job.size, crop_fraction=1.0), augmentation)
    step = 0
    learner.model.train()
    for epoch in range(10**6):
        for batch in batches.epoch(epoch):
            if len(batch.labels) < job.batch:
                continue
            learner.gather(batch, step)
            learner.update(step)
            step += 1
            yield


def start(job: Job, way: str) -> Iterator[None]:
    return plain_steps(job) if way == "plain" else our_steps(job, way)


def measure(job: Job, ways: list[str], seconds: float) -> dict[str, list[float]]:
    """Images a second of each way, a number a round."""
    runs, counts = {}, {}
    for way in ways:
        runs[way] = start(job, way)
        begun = time.perf_counter()
        next(runs[way])
        first = time.perf_counter() - begun
        step_s = min(timed(lambda way=way: next(runs[way])) for _ in range(3))  # type: ignore[misc]
        counts[way] = max(2, round(seconds / step_s))
        print(f"  {way}: first step {first:.1f} s, then {job.batch / step_s:.0f} images/s", file=sys.stderr)
    found: dict[str, list[float]] = {way: [] for way in ways}
    for way in alternating(ways):
        begun = time.perf_counter()
        for _ in range(counts[way]):
            next(runs[way])
        found[way].append(counts[way] * job.batch / (time.perf_counter() - begun))
    return found


def timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def peak_memory(job: Job, way: str) -> float:
    """MiB of a process that does nothing else."""
    command = [
        sys.executable,
        __file__,
        "--memory-of",
        way,
        "--models",
        job.model,
        "--cases",
        f"{job.size}x{job.batch}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def limit_gflops() -> float:
    """What matrix products reach here in float32."""
    a = torch.randn(2048, 2048)
    seconds = min(timed(lambda: a @ a) for _ in range(5))
    return 2 * 2048**3 / seconds / 1e9


def load(data: str | None, size: int, batch: int) -> tuple[np.ndarray[Any, Any], torch.Tensor]:
    random, count = np.random.default_rng(0), max(PIXELS // size**2, 4 * batch)
    if data is None:
        images = random.integers(0, 256, (count, size, size, 3), np.uint8)
        return images, torch.from_numpy(random.integers(0, CLASSES, count))
    split = open_source(data).splits["train"]
    chosen = random.permutation(len(split))[:count]
    preprocessing = Preprocessing(size, crop_fraction=1.0)
    images = np.stack([resize_image(split.read(int(index)), preprocessing) for index in chosen])
    return images, torch.from_numpy(split.labels[chosen] % CLASSES)


def report(job: Job, found: dict[str, list[float]], memory: dict[str, float], gflops: float) -> dict[str, Any]:
    macs = count_cost(network_for(job).eval(), (3, job.size, job.size), job.model).total.macs
    limit = gflops * 1e9 / (6 * macs)
    middle = {way: median(speeds) for way, speeds in found.items()}
    plain = middle.get("plain", float("nan"))
    for way, speeds in found.items():
        print(
            f"| {job.model} | {job.size} px, batch {job.batch} | {way} | {middle[way]:.0f} | "
            f"{min(speeds):.0f}-{max(speeds):.0f} | {middle[way] / plain:.2f} | "
            f"{middle[way] / limit:.0%} | {memory.get(way, 0):.0f} |"
        )
    case = {"model": job.model, "size": job.size, "batch": job.batch}
    return {**case, "images_per_s": found, "limit": limit, "memory_mib": memory}


def jobs_of(data: str | None, cases: list[str], models: list[str]) -> Iterator[Job]:
    for case in cases:
        size, batch = map(int, case.split("x"))
        images, labels = load(data, size, batch)
        for model in models:
            yield Job(model, size, batch, images, labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--ways", nargs="+", default=[way for way in WAYS if way != "compiled"], choices=list(WAYS))
    parser.add_argument("--cases", nargs="+", default=["32x128"], metavar="SIZExBATCH")
    parser.add_argument("--seconds", type=float, default=3, help="of each way in each of the six rounds")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", choices=list(WAYS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    jobs = jobs_of(arguments.data, arguments.cases, arguments.models)
    if arguments.memory_of:
        run = start(next(jobs), arguments.memory_of)
        for _ in range(4):
            next(run)
        print(peak_here() / 2**20)
        return
    gflops = limit_gflops()
    print(
        f"{machine_name()}; torch {torch.__version__}, {torch.get_num_threads()} threads; "
        f"float32 products {gflops:.0f} GFLOP/s\n"
    )
    print("| network | images | way | images/s | lowest-highest round | to plain | to the limit | peak memory, MiB |")
    print("|---|---|---|---|---|---|---|---|")
    results = []
    for job in jobs:
        ways = [way for way in arguments.ways if way != "kernels-bfloat16" or has_bfloat16()]
        found = measure(job, ways, arguments.seconds)
        memory = {} if arguments.no_memory else {way: peak_memory(job, way) for way in ways}
        results.append(report(job, found, memory, gflops))
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
