"""Images to batches: Featherlight beside torchvision's ImageFolder and PyTorch's DataLoader, on the same cores.

Both give batches of 64 with the same augmentation, ready for a network: normalised float32 on the CPU (ours channels
last in memory, theirs not, as each trains fastest). At 224 px a random region (area 0.35 to 1) is scaled and mirrored,
at 32 px images are shifted by up to 4 px and mirrored. Theirs runs with two worker processes that live on between
epochs, and with the faster of torchvision's two pipelines for the size: on Pillow images at 32 px, on tensors at 224.

The first epoch begins with nothing but files: it counts listing the folder, and for us hashing contents, decoding and
writing the cache. "Next start" is our first epoch in a new process with the cache there. Starting Python and importing
packages is left out for both. The operating system holds the files in memory in all cases. Memory is the highest sum
over the processes of proportional set sizes, which counts shared pages once.

    python benchmarks/loading.py --photos flowers-500/train --small cifar10-jpeg/train

Each folder holds a folder for each class. Prints a table for docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

BATCH = 64
WORKERS = 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MIN_AREA = 0.35
SAMPLE_S = 0.05
EPOCHS = {"ours": {224: 12, 32: 4}, "torchvision": {224: 4, 32: 1}}  # later ones; ours take a tenth of the time
STEPS = {224: 12, 32: 60}  # of training, to see how long it waits
Epoch = Callable[[int], Iterable[tuple[Any, Any]]]


def open_ours(root: Path, size: int) -> tuple[Epoch, int]:
    """Gives batches of (images, labels) of an epoch, and how many images there are."""
    import torch

    from featherlight.images import Preprocessing
    from featherlight.loading.augment import Augmentation
    from featherlight.loading.batches import MemoryBatches, storage_preprocessing
    from featherlight.loading.decoding import Decoder
    from featherlight.loading.loaded import load_images
    from featherlight.models.engine import Normalizer
    from featherlight.sources.folder import open_folder_as_it_is

    split = open_folder_as_it_is(root).splits["test"]  # a folder without split folders
    augmentation = Augmentation(size, "resized" if size > 64 else "pad", True, False, 0.0, 0.0, 10)
    preprocessing = Preprocessing(size, crop_fraction=1.0, mean=MEAN, std=STD)
    images = load_images(Decoder(split, storage_preprocessing(preprocessing, augmentation), scaled=True))
    labels = torch.from_numpy(split.labels[images.positions])
    batches = MemoryBatches(images, labels, augmentation, BATCH, 0, [])
    normalize = Normalizer(preprocessing)

    def epoch(number: int) -> Iterator[tuple[Any, Any]]:
        for batch in batches.epoch(number):
            yield normalize(batch.images), batch.labels

    return epoch, len(labels)


def open_torchvision(root: Path, size: int) -> tuple[Epoch, int]:
    """The same, as torchvision's documentation has it."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms
    from torchvision.transforms import v2

    if size > 64:
        transform = v2.Compose(
            [
                v2.PILToTensor(),
                v2.RandomResizedCrop(size, scale=(MIN_AREA, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )
    else:
        transform = transforms.Compose(
            [
                transforms.RandomCrop(size, padding=size // 8),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )
    images = datasets.ImageFolder(str(root), transform)
    loader = DataLoader(images, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    return lambda _: loader, len(images)


OPEN = {"ours": open_ours, "torchvision": open_torchvision}


def import_everything() -> None:
    """What both need, so that neither's first epoch pays for it."""
    import torchvision.transforms.v2
    from torch.utils.data import DataLoader

    import featherlight.loading.loaded
    import featherlight.models.engine
    import featherlight.models.registry

    _ = torchvision.transforms.v2, DataLoader, featherlight.loading.loaded


def time_epochs(who: str, root: Path, size: int, later: int) -> dict[str, Any]:
    """Images per second in the first epoch, from a cold start, and in each of the later ones."""
    import_everything()
    rates = []
    started = time.perf_counter()
    epoch, count = OPEN[who](root, size)
    for number in range(1 + later):
        seen = sum(len(labels) for _, labels in epoch(number))
        if seen != count:
            raise SystemExit(f"{who}: {seen} of {count} images in an epoch")
        now = time.perf_counter()
        rates.append(count / (now - started))
        started = now
    return {"first": rates[0], "later": rates[1:]}


def time_steps(who: str, root: Path, size: int, steps: int) -> dict[str, float]:
    """The part of training's time that a step waits for its batch; the first step of each epoch counts too."""
    import torch
    from torch.nn import functional as F

    from featherlight.models.registry import create_model

    epoch, count = OPEN[who](root, size)
    network = create_model("shufflenet_v2_x0_5", 1000, input_size=size).train()
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    waited = worked = 0.0
    done = number = 0
    next(iter(epoch(0)))  # everything has started
    while done < steps:
        number += 1
        batches = iter(epoch(number))
        for _ in range(-(-count // BATCH) - 1):  # a whole epoch of either
            started = time.perf_counter()
            images, labels = next(batches)
            given = time.perf_counter()
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            waited, worked = waited + given - started, worked + time.perf_counter() - given
            done += 1
            if done == steps:
                break
    return {"waited": waited / (waited + worked), "step_ms": 1000 * worked / steps, "wait_ms": 1000 * waited / steps}


def _decode(paths: list[str]) -> None:
    from featherlight.images import load_image

    for path in paths:
        load_image(path)


def measure_limits(root: Path, size: int) -> dict[str, float]:
    """Images per second if nothing but decoding, or nothing but moving bytes through memory, took time."""
    import numpy as np

    paths = sorted(map(str, root.glob("*/*")))[:4000]
    parts = [paths[k::16] for k in range(16)]
    with Pool(WORKERS) as pool:
        pool.map(_decode, [part[:2] for part in parts])
        started = time.perf_counter()
        pool.map(_decode, parts, chunksize=1)
        decoded = len(paths) / (time.perf_counter() - started)
    source, target = np.ones((WORKERS, 2**27), np.uint8), np.ones((WORKERS, 2**27), np.uint8)

    def copy(k: int) -> None:
        for _ in range(8):
            np.copyto(target[k], source[k])

    started = time.perf_counter()
    threads = [threading.Thread(target=copy, args=(k,)) for k in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bandwidth = 2 * 8 * source.nbytes / (time.perf_counter() - started)  # read and written
    stored = round(size * 8 / 7) if size > 64 else size
    moved = 3 * stored**2 + 2 * 3 * size**2 + 4 * 3 * size**2  # stored read, cut written and read, float32 written
    return {"decoded": decoded, "bandwidth": bandwidth, "moved": moved, "memory": bandwidth / moved}


def _family(root: int) -> list[int]:
    family, pending = [], [root]
    while pending:
        process = pending.pop()
        family.append(process)
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                pending += map(int, (task / "children").read_text().split())
        except OSError:  # it has ended
            continue
    return family


def _memory_of(root: int) -> int:
    total = 0
    for process in _family(root):
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total * 1024


def run(job: dict[str, Any], cache: str, *, watch: bool = False) -> dict[str, Any]:
    """Does a job in a process of its own; watching its memory takes time itself, so it is for jobs without a clock."""
    environment = {**os.environ, "FEATHERLIGHT_CACHE": cache}
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, env=environment)
        peak = 0
        while watch and process.poll() is None:
            peak = max(peak, _memory_of(process.pid))
            time.sleep(SAMPLE_S)
        process.wait()
        if process.returncode:
            raise SystemExit(f"failed: {job}")
        output.seek(0)
        return {**json.loads(output.read().splitlines()[-1]), "peak": peak, "load": os.getloadavg()[0]}


def do(job: dict[str, Any]) -> dict[str, Any]:
    """A job, in its process."""
    root, size = Path(job["root"]), job["size"]
    if job["kind"] == "limits":
        return measure_limits(root, size)
    return {"epochs": time_epochs, "steps": time_steps}[job["kind"]](job["who"], root, size, job["count"])


def compare(root: Path, size: int, rounds: int) -> None:
    """Alternating rounds of both at one size; prints their rows of the table and how far they are from the limits."""
    results: dict[str, list[dict[str, Any]]] = {"ours": [], "torchvision": [], "next start": []}
    for _ in range(rounds):
        for who in ("ours", "torchvision"):
            with tempfile.TemporaryDirectory() as cache:
                job = {"kind": "epochs", "who": who, "root": str(root), "size": size, "count": EPOCHS[who][size]}
                results[who].append(run(job, cache))
                if who == "ours":
                    results["next start"].append(run({**job, "count": 0}, cache))
    first = {who: statistics.median(row["first"] for row in rows) for who, rows in results.items()}
    later = {
        who: statistics.median(rate for row in rows for rate in row["later"] or [0]) for who, rows in results.items()
    }
    print("| | | first epoch | later epochs | next start | peak memory |\n|---|---|---|---|---|---|")
    for who, following in (("ours", f"{first['next start']:,.0f}"), ("torchvision", "")):
        with tempfile.TemporaryDirectory() as cache:
            job = {"kind": "epochs", "who": who, "root": str(root), "size": size, "count": 0}
            peak = run(job, cache, watch=True)["peak"] / 2**20
        print(f"| {size} px | {who} | {first[who]:,.0f} | {later[who]:,.0f} | {following} | {peak:,.0f} MiB |")
    ratios = [rates["ours"] / rates["torchvision"] for rates in (first, later)]
    print(f"| {size} px | ratio | {ratios[0]:.2f} x | {ratios[1]:.1f} x | | |\n", flush=True)
    for who, rows in results.items():
        rates = sorted(round(row["first"]) for row in rows)
        print(f"{size} px, {who}: first epochs {rates}; load average {max(row['load'] for row in rows):.1f} at most")
    show_limits(run({"kind": "limits", "root": str(root), "size": size}, tempfile.gettempdir()), size, first, later)


def show_limits(limits: dict[str, Any], size: int, first: dict[str, float], later: dict[str, float]) -> None:
    """How far our epochs are from what the machine could do at best."""
    print(
        f"{size} px, limits on {WORKERS} cores: decoding alone {limits['decoded']:,.0f} images/s, of which our first "
        f"epoch reaches {first['ours'] / limits['decoded']:.0%}; memory {limits['bandwidth'] / 1e9:.1f} GB/s and "
        f"{limits['moved'] / 1e3:,.0f} kB an image, so {limits['memory']:,.0f} images/s, of which our later epochs "
        f"reach {later['ours'] / limits['memory']:.0%}\n",
        flush=True,
    )


def show_waiting(root: Path, size: int) -> None:
    """How long training's steps wait for their batches, with each."""
    with tempfile.TemporaryDirectory() as cache:
        for who in ("ours", "torchvision"):
            row = run({"kind": "steps", "who": who, "root": str(root), "size": size, "count": STEPS[size]}, cache)
            print(
                f"{size} px, training shufflenet_v2_x0_5 with {who}: a step waits {row['wait_ms']:.1f} ms for its "
                f"batch and computes {row['step_ms']:.0f} ms: {row['waited']:.1%} of the time (load {row['load']:.1f})",
                flush=True,
            )


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "numpy", "pillow"))
    return f"{len(names)} cores of {names[0]}; Python {platform.python_version()}, {libraries}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=Path, help="folder of photos, measured at 224 px")
    parser.add_argument("--small", type=Path, help="folder of 32 px images, measured at 32 px")
    parser.add_argument("--rounds", type=int, default=3, help="of each, in turn")
    parser.add_argument("--without-steps", action="store_true", help="leave out how long training waits")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(do(json.loads(options.job))))
        return
    folders = {224: options.photos, 32: options.small}
    print(f"{machine()}; {options.rounds} rounds in turn, medians, images/s\n")
    for size, root in folders.items():
        if root is not None:
            compare(root, size, options.rounds)
    for size, root in folders.items():
        if root is not None and not options.without_steps:
            show_waiting(root, size)


if __name__ == "__main__":
    main()
