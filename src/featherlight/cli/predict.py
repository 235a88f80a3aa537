"""``featherlight predict``."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from featherlight.cli import completing
from featherlight.cli.options import device_option, engine_option, threads_option
from featherlight.console import printable
from featherlight.errors import UsageError
from featherlight.phrases import counted
from featherlight.predictor import Prediction
from featherlight.sources.folder import is_image_name

EXAMPLES = """\b
Examples:
  featherlight predict runs/a cat.jpg
  featherlight predict runs/a photos/ "more/*.png" --top 3
  featherlight predict model.safetensors photos/ --csv > answers.csv
  curl -s https://example.org/cat.jpg | featherlight predict runs/a -
  find . -name "*.jpg" | featherlight predict runs/a - --json
  featherlight predict runs/a --input photos/ --output answers.parquet
  featherlight predict runs/a --ray --input s3://bucket/photos --output answers.parquet

\b
An image that looks like nothing the model learnt is marked as rejected; its best
guess is given all the same. A file that cannot be read is one row with an error.
With --output, images are answered part by part; after a kill the same command
goes on where it was.
"""


@click.command("predict")
@click.argument("model", shell_complete=completing.model)
@click.argument("images", nargs=-1, metavar="IMAGE|FOLDER|GLOB|- ...")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, metavar="N", help="Classes to list.")
@click.option("--json", "as_json", is_flag=True, help="A JSON line an image on standard output.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated rows on standard output.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="FOLDER|PARQUET|s3://...",
    help="With --output: more images; also a table that names or holds them, or an address of a store.",
)
@click.option("--output", metavar="FILE.parquet", help="Write a row an image there, for millions of them.")
@click.option(
    "--ray",
    is_flag=False,
    flag_value="auto",
    metavar="[ADDRESS]",
    help="With --output: compute on this Ray cluster; without ADDRESS on one that runs here, else on this machine.",
)
@engine_option
@device_option
@threads_option
def command(
    model: str,
    images: tuple[str, ...],
    top: int,
    as_json: bool,
    as_csv: bool,
    inputs: tuple[str, ...],
    output: str | None,
    ray: str | None,
    engine: str,
    device: str | None,
    threads: int | None,
) -> int:
    """Name what is in images, with MODEL (a run directory, a model file, an exported file or folder)."""
    if is_image_name(model) and os.path.isfile(model):
        raise UsageError(f"{model} is an image; the model comes first: featherlight predict MODEL {model}")
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    if output is None and (inputs or ray is not None):
        raise UsageError("--input and --ray need --output: a file for the answers")
    if output is not None and (as_json or as_csv):
        raise UsageError("--output writes Parquet; leave out --json and --csv")
    if not images and not inputs:
        raise click.UsageError("Missing argument 'IMAGE|FOLDER|GLOB|- ...'", click.get_current_context())
    if output is not None and "-" in (*images, *inputs):
        raise UsageError("--output does not read standard input; put the paths into a .csv with a column path")
    how: dict[str, Any] = {"top": top, "engine": engine, "device": device or "auto", "threads": threads}
    if output is not None:
        return _write(model, (*images, *inputs), output, ray, how)
    return _print(model, images, _json_row if as_json else _csv_rows() if as_csv else _text_row, how)


def _write(model: str, images: tuple[str, ...], output: str, ray: str | None, how: dict[str, Any]) -> int:
    from featherlight.workflows.predict_many import predict_many

    answers = predict_many(model, images, output, ray=ray, **how)
    click.echo(f"{printable(answers.path)}: {counted(answers.images, 'image')}", err=True)
    return _tell_errors(answers.errors)


def _print(model: str, images: tuple[str, ...], show: Callable[[Prediction], None], how: dict[str, Any]) -> int:
    from featherlight.workflows.predict import predict

    errors = 0
    for prediction in predict(model, images, **how):
        errors += prediction.error is not None
        show(prediction)
    return _tell_errors(errors)


def _tell_errors(errors: int) -> int:
    if errors:
        click.echo(f"{errors} image{'s' if errors > 1 else ''} could not be read", err=True)
    return 1 if errors else 0


def _json_row(prediction: Prediction) -> None:
    click.echo(json.dumps(prediction.to_row()))


def _text_row(prediction: Prediction) -> None:
    if prediction.error is not None:
        click.echo(f"{printable(prediction.path)}: {prediction.error}", err=True)
        return
    answers = ", ".join(f"{printable(label)} {probability:.1%}" for label, probability in prediction.top)
    doubt = "rejected, at best " if prediction.rejected else ""
    click.echo(f"{printable(prediction.path)}: {doubt}{answers}")


def _csv_rows() -> Callable[[Prediction], None]:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    head = iter([["path", "label", "probability", "rejected", "error"]])

    def show(prediction: Prediction) -> None:
        p = prediction
        writer.writerows(head)  # once, and only when there is an answer
        writer.writerow(
            [
                _as_utf8(p.path),
                _as_utf8(p.label or ""),
                "" if p.probability is None else p.probability,
                p.rejected,
                p.error or "",
            ]
        )

    return show


def _as_utf8(name: str) -> str:  # a file name may hold bytes that are no text
    return name.encode("utf-8", "backslashreplace").decode()
