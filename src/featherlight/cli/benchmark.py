"""``featherlight benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featherlight.cli import completing
from featherlight.cli.options import WholeNumbers, json_option, print_csv, print_json, print_table
from featherlight.errors import UsageError

if TYPE_CHECKING:
    from featherlight.workflows.benchmark import Measurement

EXAMPLES = """\b
Examples:
  featherlight benchmark runs/a
  featherlight benchmark runs/a/model.onnx runs/b/model.onnx --batch 1,16 --threads 1,2
  featherlight benchmark runs/a --precision float32,int8 --data photos/ --plot speed.png
  featherlight benchmark shufflenet_v2_x0_5 mobilenet_v1_x0_25 --save-profile pi.json
  featherlight benchmark runs/a --engine onnxruntime --csv > speed.csv

\b
MODEL is a run directory, a model file, an exported file or folder, or a network's
name (fresh weights: speed only). What is measured together is measured in turn, in
several rounds. A time is that of one batch, from images of the network's size to
logits; reading and resizing are not in it.
"""

_COLUMNS = {
    "model": "model",
    "engine": "engine",
    "precision": "precision",
    "batch": "batch",
    "threads": "threads",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "images_per_s": "images/s",
    "size": "size MB",
    "memory": "memory MB",
    "accuracy": "accuracy %",
}


class Names(click.ParamType[tuple[str, ...]]):
    """``torch,onnxruntime``: names with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Splits, drops repeats."""
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(part.strip() for part in str(value).split(",") if part.strip()))
        if not names:
            self.fail("no name is given", param, ctx)
        return names


@click.command("benchmark")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, shell_complete=completing.model_or_network)
@click.option(
    "--engine", "engines", type=Names(), metavar="NAME,...", help="Runtimes.  [default: all that are installed]"
)
@click.option(
    "--precision",
    "precisions",
    type=Names(),
    metavar="NAME,...",
    help="float32, bfloat16, int8.  [default: float32; an exported file has its own]",
)
@click.option("--batch", "batches", type=WholeNumbers(), metavar="N,...", help="Images at a time.  [default: 1,8]")
@click.option("--threads", type=WholeNumbers(), metavar="N,...", help="Threads.  [default: the number of cores]")
@click.option("--data", metavar="DATA", help="Also measure accuracy on these images.", shell_complete=completing.data)
@click.option("--split", type=click.Choice(["test", "val", "train", "all"]), help="With --data: which of them.")
@click.option("--input-size", type=click.IntRange(min=16), metavar="S", help="Side of the image, for names.")
@click.option("--num-classes", type=click.IntRange(min=1), metavar="N", help="Outputs, for names.")
@click.option(
    "--seconds", "budget_s", type=click.FloatRange(min=0.01), default=2.0, show_default=True, help="For each setting."
)
@click.option("--no-memory", "memory", is_flag=True, flag_value=False, default=True, help="Leave memory out.")
@click.option("--plot", metavar="FILE", help="A .png or .svg picture: accuracy, else size, against latency.")
@click.option("--save-profile", metavar="FILE", help="Keep the latencies as a file that others can plan with.")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on standard output.")
def command(models: tuple[str, ...], as_json: bool, as_csv: bool, **options: Any) -> None:
    """Measure how fast, how large and how right models are here, in every engine."""
    from featherlight.workflows.benchmark import benchmark

    if as_json and as_csv:
        raise UsageError("--json or --csv, one of the two")
    found = benchmark(models, **{name: value for name, value in options.items() if value is not None})
    rows = [row.to_row() for row in found]
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(rows)
    else:
        _print(found)
    for name in ("plot", "save_profile"):
        if options[name] is not None:
            click.echo(f"{name.replace('save_', '')}  {Path(options[name])}", err=True)


def _print(found: list[Measurement]) -> None:
    from featherlight.cost.latency import machine_name

    click.echo(f"{machine_name()}\n")
    rows = [
        {
            **row.to_row(),
            "size": row.size_bytes / 1e6,
            "memory": None if row.peak_memory_bytes is None else row.peak_memory_bytes / 1e6,
            "accuracy": None if row.accuracy is None else 100 * row.accuracy,
        }
        for row in found
    ]
    known = {name: title for name, title in _COLUMNS.items() if any(row[name] is not None for row in rows)}
    print_table(list(known.values()), [{title: row[name] for name, title in known.items()} for row in rows], decimals=2)
    if any(row.high_ms > 1.2 * row.low_ms for row in found):
        click.echo(
            "rounds differ by more than a fifth: something else was running; measure again when it is quiet", err=True
        )
