"""Writes the table of docs/deployment.md: ``python docs/make_deployment.py [NETWORK ...]``.

Rows of networks that are not named stay as they are. Each network gets fresh weights and statistics of random images,
is exported to each target, and is compared there on random images by the same gate that every export passes; then it is
timed. Nothing else should run while times are taken: ``--folder DIR --export-only`` exports first, into a folder that
the next call with ``--folder DIR`` goes on from. The page is written anew after each network, so a run can be stopped.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from featherlight.console import note
from featherlight.cost.latency import machine_name, measure_latencies, usable_cores
from featherlight.engines import open_engine
from featherlight.images import Preprocessing
from featherlight.model_file import find_model_file
from featherlight.models.catalogue import list_models, model_info
from featherlight.models.registry import create_model
from featherlight.models.weights import save_model
from featherlight.sources import open_source
from featherlight.workflows.export import export
from featherlight.workflows.export_order import EXPORTED_FILES

PAGE = Path(__file__).with_name("deployment.md")
BEGIN, END = "<!-- table: python docs/make_deployment.py -->", "<!-- end of table -->"
TARGETS = ("onnx", "openvino")
SIDE = 224
CLASSES = 1000
IMAGES = 200
NAMES = tuple(str(number) for number in range(CLASSES))


@dataclass(frozen=True)
class Row:
    """A network in a target."""

    network: str
    target: str
    size_bytes: int
    agreement: float
    max_diff: float
    latency_ms: float
    eager_ms: float


def export_to_all(name: str, folder: Path, data: Path) -> dict[str, Path]:
    """A network's exported files by target; what is there already stays."""
    model = folder / f"{name}.safetensors"
    if not model.exists():
        save_untrained(name, model, data)
    files = {}
    for target in TARGETS:
        out = folder / name / target
        files[target] = find_model_file(out) if out.exists() else export(model, target, out=out, input="tensor").path
    return files


def measure(name: str, folder: Path, files: dict[str, Path]) -> list[Row]:
    """Times a network in each target, beside PyTorch itself."""
    engines: dict[str, Any] = {"torch": open_engine(folder / f"{name}.safetensors", "torch", "cpu", usable_cores())}
    engines |= {target: open_engine(path) for target, path in files.items()}
    image = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    times = measure_latencies({key: partial(engine.logits, image) for key, engine in engines.items()})
    return [
        Row(
            name,
            target,
            sum(file.stat().st_size for file in path.parent.iterdir() if file.name in EXPORTED_FILES),
            engines[target].exported.verification["agreement"],
            engines[target].exported.verification["max_diff"],
            times[target].p50_ms,
            times["torch"].p50_ms,
        )
        for target, path in files.items()
    ]


def paint_images(folder: Path) -> Path:
    """Random pictures of blotches in folders that are called as the classes."""
    if folder.exists():
        return folder
    random = np.random.default_rng(0)
    for number in range(IMAGES):
        small = random.integers(0, 256, (random.integers(3, 20), random.integers(3, 20), 3), dtype=np.uint8)
        path = folder / "val" / NAMES[number % 10] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).resize((random.integers(200, 500), random.integers(200, 500))).save(path)
        path = folder / "train" / NAMES[number % 10] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return folder


def save_untrained(name: str, path: Path, data: Path) -> None:
    """A model file whose outputs differ from image to image."""
    torch.manual_seed(0)
    network = create_model(name, CLASSES, input_size=SIDE)
    for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(8, 3, SIDE, SIDE))
    preprocessing = Preprocessing(SIDE)
    provenance = {"data": str(data), "fingerprint": open_source(data).fingerprint}
    save_model(network, path, NAMES, preprocessing, provenance=provenance)


def make_table(lines: dict[str, list[str]]) -> str:
    """Lines of networks as Markdown, in the order of their names, with the machine and the versions."""
    head = [
        f"{machine_name()}; PyTorch {torch.__version__}; float32, {SIDE} px, batch 1, {usable_cores()} threads, "
        f"resized images. Agreement with PyTorch on {IMAGES} random images, untrained weights.\n",
        "| network | target | size, MB | agreement | largest difference | latency, ms | PyTorch, ms |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    return "\n".join([*head, *(line for name in sorted(lines) for line in lines[name]), ""])


def read_lines(page: str) -> dict[str, list[str]]:
    """The lines of the table that is there, by network."""
    lines: dict[str, list[str]] = {}
    for line in page.partition(BEGIN)[2].partition(END)[0].splitlines():
        if line.startswith("| `"):
            lines.setdefault(line.split("`")[1], []).append(line)
    return lines


def _line(row: Row) -> str:
    cells = [
        f"`{row.network}`", row.target, f"{row.size_bytes / 1e6:.2f}", f"{row.agreement:.1%}", f"{row.max_diff:.1g}",
        f"{row.latency_ms:.2f}", f"{row.eager_ms:.2f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def replace_table(page: str, table: str, begin: str = BEGIN) -> str:
    """The page with another table behind the mark ``begin``."""
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(END)
    return f"{before}{begin}\n\n{table}\n{END}{after}"


def write_rows(rows: list[Row]) -> None:
    """Puts the rows of a network in the page, in the place of older ones."""
    page = PAGE.read_text(encoding="utf-8")
    lines = read_lines(page) | {rows[0].network: [_line(row) for row in rows]}
    PAGE.write_text(replace_table(page, make_table(lines)), encoding="utf-8")


def main() -> None:
    """Exports, measures and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    every = [name for name in list_models() if not model_info(name).tag]
    parser.add_argument("networks", nargs="*", default=every)
    parser.add_argument("--folder", type=Path, help="keeps the exported files, and goes on with those that are there")
    parser.add_argument("--export-only", action="store_true", help="takes no times")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="featherlight-deployment-") as temporary:
        folder = arguments.folder or Path(temporary)
        data = paint_images(folder / "images")
        for number, name in enumerate(arguments.networks, 1):
            note(f"{number} of {len(arguments.networks)}: {name}")
            files = export_to_all(name, folder, data)
            if not arguments.export_only:
                write_rows(measure(name, folder, files))


if __name__ == "__main__":
    main()
