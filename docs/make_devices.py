"""Writes the table of docs/devices/raspberry-pi.md: ``python docs/make_devices.py [NETWORK ...]``.

Each network gets fresh weights, is exported to every target for devices, and is compared there by the gate; then it is
timed. A target that does not take a network, or has no toolchain here, is a gap with its reason. What is in ``--folder
DIR`` already is not exported again, and ``--export-only`` leaves timing to the next call, when nothing else runs. The
networks of the table are those in the folder.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_deployment import IMAGES, SIDE, paint_images, replace_table, save_untrained

from featherlight.console import note
from featherlight.cost.latency import machine_name, measure_latencies, usable_cores
from featherlight.engines import open_engine
from featherlight.errors import FeatherlightError
from featherlight.files import write_text
from featherlight.targets.base import find_target
from featherlight.workflows.export import export

PAGE = Path(__file__).parent / "devices" / "raspberry-pi.md"
BEGIN = "<!-- table: python docs/make_devices.py -->"
COLUMNS = ("onnx", "ncnn", "litert", "litert int8", "executorch", "executorch int8", "coreml")
NETWORKS = (
    "mobilenet_v1_x0_25", "mobilenet_v2_x1_0", "mobilenet_v3_small", "shufflenet_v1_g3_x0_5", "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
)  # fmt: skip
FACTS = "facts.json"
NOT_RUN = "Core ML runs on Macs alone: converted and its specification checked, not run"


@dataclass(frozen=True)
class Cell:
    """A network on a target: facts of its export, or why there is none; its time, where it was taken."""

    facts: Mapping[str, Any]
    latency_ms: float | None


def export_to(column: str, model: Path, folder: Path) -> None:
    """Exports once, and remembers how that went."""
    if (folder / FACTS).exists():
        return
    target, _, precision = column.partition(" ")
    try:
        made = export(model, target, out=folder / "out", input="tensor", int8=precision == "int8")
    except FeatherlightError as error:
        facts: dict[str, Any] = {"reason": str(error).replace(str(folder), "")}
    else:
        facts = {
            "path": str(made.path),
            "size_bytes": made.size_bytes,
            "agreement": made.verification.agreement,
            "max_diff": made.verification.max_diff,
            "runs": find_target(target).runs_here,
        }
    write_text(folder / FACTS, json.dumps(facts, indent=2) + "\n")


def read_facts(folder: Path) -> dict[str, dict[str, Any]]:
    """By column, of those that were tried."""
    places = {column: folder / column.replace(" ", "-") / FACTS for column in COLUMNS}
    return {column: json.loads(place.read_bytes()) for column, place in places.items() if place.exists()}


def measure(name: str, folder: Path) -> dict[str, Cell]:
    """Times a network on each target where it runs, beside each other."""
    facts = read_facts(folder / name)
    image = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    engines = {
        column: open_engine(found["path"], threads=usable_cores())
        for column, found in facts.items()
        if found.get("runs")
    }
    times = measure_latencies({column: partial(engine.logits, image) for column, engine in engines.items()})
    return {column: Cell(found, times[column].p50_ms if column in times else None) for column, found in facts.items()}


def make_table(rows: Mapping[str, Mapping[str, Cell]]) -> str:
    """Markdown, with the machine, and the gaps' reasons below."""
    lines = [
        f"{machine_name()}; PyTorch {torch.__version__}; {SIDE} px, 1,000 classes, batch 1, {usable_cores()} threads. "
        f"In each cell: MB, images of {IMAGES} random ones that are named as by PyTorch, ms of an image. Weights are "
        "untrained: their logits lie close together, so int8 changes far more names than in a trained network; the "
        "gate asks for accuracy.\n",
        f"| network | {' | '.join(COLUMNS)} |",
        f"| --- |{' --- |' * len(COLUMNS)}",
    ]
    gaps = []
    for name, cells in sorted(rows.items()):
        lines.append(f"| `{name}` | {' | '.join(_cell(cells.get(column)) for column in COLUMNS)} |")
        gaps += [f"- `{name}`, {column}: {reason}" for column in COLUMNS if (reason := _reason(cells.get(column)))]
    return "\n".join([*lines, "", "Gaps, and why:", "", *dict.fromkeys(gaps), ""])


def _cell(cell: Cell | None) -> str:
    if cell is None or "reason" in cell.facts:
        return "no"
    parts = [f"{cell.facts['size_bytes'] / 1e6:.2f}"]
    if cell.facts["runs"]:
        parts.append(f"{cell.facts['agreement']:.1%}")
        parts.append("not timed" if cell.latency_ms is None else f"{cell.latency_ms:.2f}")
    else:
        parts.append("not run")
    return " · ".join(parts)


def _reason(cell: Cell | None) -> str:
    if cell is None:
        return "not tried"
    reason = cell.facts.get("reason") or ("" if cell.facts["runs"] else NOT_RUN)
    return re.sub(r"^/\S+: ", "", reason.splitlines()[0]) if reason else ""  # files that are gone name nothing


def main() -> None:
    """Exports, measures and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=COLUMNS, help="targets to export to now")
    parser.add_argument("--folder", type=Path, help="where files are made and stay; by default nowhere")
    parser.add_argument("--export-only", action="store_true", help="times are taken by the next call")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="featherlight-devices-") as inside:
        folder = asked.folder or Path(inside)
        data = paint_images(folder / "images")
        for name in asked.networks:
            model = folder / f"{name}.safetensors"
            if not model.exists():
                save_untrained(name, model, data)
            for column in asked.columns:
                note(f"{name}: {column}")
                export_to(column, model, folder / name / column.replace(" ", "-"))
        found = sorted(path.stem for path in folder.glob("*.safetensors"))
        timed = {
            name: {column: Cell(facts, None) for column, facts in read_facts(folder / name).items()}
            if asked.export_only
            else measure(name, folder)
            for name in found
        }
        write_text(PAGE, replace_table(PAGE.read_text(encoding="utf-8"), make_table(timed), BEGIN))


if __name__ == "__main__":
    main()
