"""Let a small network learn from a larger one, and see whether that helped.

    python examples/distill.py photos --epochs 20

Three runs: the large network, the small one alone, and the small one with the large one as its teacher.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import featherlight

LARGE, SMALL = "mobilenet_v1_x1_0", "mobilenet_v1_x0_25"


def distill(data: str, out: Path, epochs: int | None = None, large: str = LARGE, small: str = SMALL) -> str:
    """Returns the sentence that says which of the two small networks is better."""
    teacher = featherlight.train(data, large, epochs=epochs, out=out / "teacher")
    alone = featherlight.train(data, small, epochs=epochs, out=out / "alone")
    taught = featherlight.train(data, small, epochs=epochs, teacher=str(teacher.path), out=out / "taught")
    for run in (teacher, alone, taught):
        print(f"{run.path}: {run.metrics['top1']:.1%}, {run.model_path.stat().st_size / 1e6:.1f} MB")
    return featherlight.compare([alone.path, taught.path], latency_s=0).sentence


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="digits")
    parser.add_argument("--out", type=Path, default=Path("runs/distill"))
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    print(distill(given.data, given.out, given.epochs))
