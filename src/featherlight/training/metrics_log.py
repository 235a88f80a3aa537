"""``metrics.jsonl`` and TensorBoard events: what training reached, an epoch at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from featherlight.errors import FeatherlightError
from featherlight.files import write_text

METRICS_FILE_NAME = "metrics.jsonl"
SCALARS = ("learning_rate", "train_loss", "val_loss", "val_top1", "images_per_s")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's ``metrics.jsonl``; a last line that was cut off by a kill is left out."""
    path = run / METRICS_FILE_NAME
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class MetricsLog:
    """Appends rows; opened at a checkpoint, it first drops the rows that come after it.

    Args:
        run: run directory.
        epochs_done: of the checkpoint from which training goes on.
    """

    def __init__(self, run: Path, epochs_done: int) -> None:
        self._path = run / METRICS_FILE_NAME
        kept = [row for row in read_metrics(run) if row["epoch"] <= epochs_done]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))
        self._events = SummaryWriter(str(run), purge_step=kept[-1]["step"] + 1 if kept else None)

    def append(self, row: dict[str, Any]) -> None:
        """Adds the row of an epoch.

        Raises:
            FeatherlightError: it cannot be written.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            for name in SCALARS:
                self._events.add_scalar(name, row[name], row["step"])
            self._events.flush()
        except OSError as error:
            raise FeatherlightError(f"cannot write {self._path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Ends the event file."""
        self._events.close()
