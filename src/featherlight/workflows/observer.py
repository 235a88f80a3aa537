"""What a person sees of a training run, and what the run keeps of it."""

from __future__ import annotations

from pathlib import Path

from featherlight.console import Bar, duration, note
from featherlight.errors import TrainingStoppedError
from featherlight.report import write_curves
from featherlight.sources.base import Source
from featherlight.training.metrics_log import MetricsLog, read_metrics
from featherlight.training.recipe import Recipe
from featherlight.training.trainer import Row

# Fields that few runs touch are shown only where they are not as ever; the run's recipe.toml has all.
RARE = {
    "recipe", "train_size", "grow", "initialisation", "norm_momentum", "mean", "std", "nesterov", "rms_decay", "eps",
    "weight_decay_on", "schedule_epochs", "rate_per", "warmup_start", "div_factor", "final_div_factor",
    "cycle_momentum", "base_momentum", "max_momentum", "step_epochs", "gamma", "power", "loss", "ema_every",
    "ema_start", "reestimate_norms", "crop_area", "auto_augment", "color_jitter", "random_erasing", "repeats",
    "layer_decay", "freeze_epochs", "unfreeze", "target", "patience", "accumulate", "sync_norms", "clip_value",
    "distill_weight", "distill_temperature", "reject_rate", "layout", "precision", "compile", "kernels", "threads",
    "hold_out", "fold", "lang", "history", "alternating_flip", "bias_rate", "shift", "shift_fill",
}  # fmt: skip


def show_plan(run: Path, recipe: Recipe, source: Source) -> None:
    """Says which images there are, what the recipe is, and where the run goes."""
    counts = ", ".join(f"{len(split):,} {name}" for name, split in source.splits.items())
    note(f"{source.name}: {len(source.classes)} classes; images: {counts}")
    usual = Recipe(recipe.data).to_dict()
    shown = {
        name: value
        for name, value in recipe.to_dict().items()
        if name != "data" and not (name in RARE and value == usual.get(name))
    }
    note(f"recipe: {', '.join(f'{name}={value}' for name, value in shown.items())}")
    note(f"run: {run}")


class Observer:
    """Shows training on the console and writes its rows."""

    def __init__(self, run: Path, recipe: Recipe, shown: Bar, *, writes: bool = True) -> None:
        self._run, self._recipe, self._shown, self._writes = run, recipe, shown, writes
        self._log: MetricsLog | None = None

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._log is not None:
            self._log.close()
        if self._writes and kind is not None and issubclass(kind, TrainingStoppedError):
            write_curves(self._run / "curves.png", read_metrics(self._run))

    def open_log(self, epochs_done: int) -> None:
        """Opens ``metrics.jsonl`` and the events at a checkpoint."""
        self._log = MetricsLog(self._run, epochs_done) if self._writes else None

    def step(self, text: str, part_done: float) -> None:
        """Moves the bar."""
        self._shown.update(part_done, text)

    def epoch(self, row: Row) -> None:
        """Writes and shows the row of an epoch."""
        if not self._writes:
            return
        assert self._log is not None  # noqa: S101  (opened before training starts)
        self._log.append(row)
        self._shown.line(
            f"epoch {row['epoch']:>3}  train loss {row['train_loss']:.3f}  val loss {row['val_loss']:.3f}  "
            f"val accuracy {row['val_top1']:.2%}  macro F1 {row['val_macro_f1']:.3f}  "
            f"{row['images_per_s']:.0f} images/s  {duration(row['seconds'])}"
        )
        if "stopped" in row:
            self._shown.line(_explain_end(row, self._recipe))


def _explain_end(row: Row, recipe: Recipe) -> str:
    where = f"stopped after epoch {row['epoch']}"
    if row["stopped"] == "target":
        return f"{where}: {row['val_top1']:.2%} on validation reaches the target of {recipe.target:.2%}"
    kept = "the best is kept" if recipe.keep == "best" else "the last is kept; --keep best keeps the best"
    return f"{where}: {recipe.patience} epochs brought nothing better on validation; {kept}"
