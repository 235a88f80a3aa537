"""``featherlight evaluate``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from featherlight.cli.options import device_option, engine_option, json_option, print_json, print_table, threads_option
from featherlight.console import printable

CLASSES_SHOWN = 100
EXAMPLES = """\b
Examples:
  featherlight evaluate runs/a
  featherlight evaluate runs/a new-photos/ --out runs/a-on-new-photos
  featherlight evaluate model.safetensors cifar10 --split test --json

\b
MODEL is a run directory, a model file, an exported file or folder. Without DATA,
the images it was trained on are used: their test split if there is one, else their validation split.
Classes are matched by name.
"""


@click.command("evaluate", epilog=EXAMPLES)
@click.argument("model")
@click.argument("data", required=False)
@click.option(
    "--split",
    type=click.Choice(["test", "val", "train", "all"]),
    help="Which images.  [default: test if there is one, else val]",
)
@click.option("--out", metavar="DIR", help="Write evaluation.json and report.html there.")
@engine_option
@device_option
@threads_option
@json_option
@click.option("--strict", is_flag=True, help="An unreadable image is an error, not skipped.")
def command(
    model: str,
    data: str | None,
    split: str | None,
    out: str | None,
    engine: str,
    device: str | None,
    threads: int | None,
    as_json: bool,
    strict: bool,
) -> None:
    """Measure MODEL on images it was not trained on."""
    from featherlight.workflows.evaluate import evaluate

    result = evaluate(
        model, data, split=split, engine=engine, device=device or "auto", threads=threads, out=out, strict=strict
    )
    if as_json:
        print_json(asdict(result))
        return
    click.echo(f"{printable(result.data)}, {result.split}: {result.num_images:,} images")
    click.echo(
        f"accuracy {result.top1:.2%}   top-5 {result.top5:.2%}   loss {result.loss:.4f}\n"
        f"mean over classes: recall {result.macro_recall:.2%}   precision {result.macro_precision:.2%}   "
        f"F1 {result.macro_f1:.4f}\n"
    )
    rows: list[dict[str, Any]] = [{"class": name, **scores} for name, scores in result.per_class.items()]
    if len(rows) > CLASSES_SHOWN:
        rows = sorted((row for row in rows if row["support"]), key=lambda row: row["f1"])[:CLASSES_SHOWN]
        click.echo(f"the {len(rows)} of {len(result.classes):,} classes with the lowest F1; --json has all")
    print_table(["class", "precision", "recall", "f1", "support"], rows)
    if result.most_confused:
        true, predicted, count = result.most_confused[0]
        pair = f"{printable(true)} taken for {printable(predicted)}"
        click.echo(f"\nmost confused: {pair}, {count} time{'s' if count > 1 else ''}")
    if out is not None:
        click.echo(f"report  {out}/report.html")
