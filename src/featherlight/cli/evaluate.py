"""``featherlight evaluate``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from featherlight.cli import completing
from featherlight.cli.options import (
    device_option,
    engine_option,
    json_option,
    lang_option,
    print_json,
    print_table,
    threads_option,
)
from featherlight.console import printable

if TYPE_CHECKING:
    from featherlight.metrics import Evaluation

CLASSES_SHOWN = 100
POOR_AUROC = 0.75  # one in four unknown images looks more familiar than a known one
EXAMPLES = """\b
Examples:
  featherlight evaluate runs/a
  featherlight evaluate runs/a new-photos/ --out runs/a-on-new-photos
  featherlight evaluate model.safetensors cifar10 --split test --json
  featherlight evaluate runs/a --corruptions --tta --out runs/a-robust
  featherlight evaluate runs/a --cam --lang zh --out runs/a-report
  featherlight evaluate runs/a --unknown other-photos/
  featherlight evaluate runs/a --unknown other-photos/ --false-accept-rate 0.05 --store

\b
MODEL is a run directory, a model file, an exported file or folder. Without DATA,
the images it was trained on are used: their test split if there is one, else their validation split.
Classes are matched by name.

\b
A model rejects images that look like nothing it learnt: training sets a threshold by which 5 % of
its validation images are rejected. --unknown measures it on images of other things; with
--false-accept-rate it is fitted to one half of them and measured on the other.
"""


@click.command("evaluate")
@click.argument("model", shell_complete=completing.model)
@click.argument("data", required=False, shell_complete=completing.data)
@click.option(
    "--split",
    type=click.Choice(["test", "val", "train", "all"]),
    help="Which images.  [default: test if there is one, else val]",
)
@click.option("--out", metavar="DIR", help="Write evaluation.json and report.html there.")
@click.option("--corruptions", is_flag=True, help="Also with noise, blur, JPEG, brightness, contrast and shifts.")
@click.option("--tta", is_flag=True, help="Also averaged over mirrored and shifted variants of each image.")
@click.option(
    "--unknown",
    metavar="DATA",
    shell_complete=completing.data,
    help="Images of none of the classes: how many are rejected?",
)
@click.option("--false-accept-rate", type=float, metavar="RATE", help="Fit the threshold to these unknown images.")
@click.option("--reject-rate", type=float, metavar="RATE", help="Fit it to the validation images; 0 rejects none.")
@click.option("--reject-score", type=click.Choice(["energy", "probability"]), help="What it is a threshold of.")
@click.option("--store", is_flag=True, help="Write the new threshold into the model file.")
@click.option("--cam", is_flag=True, help="Show in the report where the network looked at its mistakes.")
@lang_option
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
    **others: Any,
) -> None:
    """Measure MODEL on images it was not trained on."""
    from featherlight.workflows.evaluate import evaluate

    result = evaluate(
        model,
        data,
        split=split,
        engine=engine,
        device=device or "auto",
        threads=threads,
        out=out,
        strict=strict,
        **{name: value for name, value in others.items() if value is not None},
    )
    if as_json:
        print_json(asdict(result))
        return
    _print_figures(result)
    _print_classes(result)
    for line in _further_lines(result):
        click.echo(line)
    if out is not None:
        click.echo(f"report  {out}/report.html")


def _print_figures(result: Evaluation) -> None:
    low, high = result.top1_interval or (result.top1, result.top1)
    click.echo(f"{printable(result.data)}, {result.split}: {result.num_images:,} images")
    among_five = f"   top-5 {result.top5:.2%}" if len(result.classes) > 5 else ""  # else always 100 %
    click.echo(
        f"accuracy {result.top1:.2%} ({low:.1%} to {high:.1%}){among_five}   loss {result.loss:.4f}\n"
        f"mean over classes: recall {result.macro_recall:.2%}   precision {result.macro_precision:.2%}   "
        f"F1 {result.macro_f1:.4f}"
    )
    if result.reliability is not None:
        before, after = (result.reliability[key] for key in ("ece_before", "ece_after"))
        click.echo(
            f"calibration error {after:.2%}, without temperature {before:.2%}   temperature {result.temperature:.3f}   "
            f"Brier score {result.brier:.4f}"
        )


def _print_classes(result: Evaluation) -> None:
    click.echo()
    rows: list[dict[str, Any]] = [{"class": name, **scores} for name, scores in result.per_class.items()]
    if len(rows) > CLASSES_SHOWN:
        rows = sorted((row for row in rows if row["support"]), key=lambda row: row["f1"])[:CLASSES_SHOWN]
        click.echo(f"the {len(rows)} of {len(result.classes):,} classes with the lowest F1; --json has all")
    print_table(["class", "precision", "recall", "f1", "support"], rows)
    if result.most_confused:
        true, predicted, count = result.most_confused[0]
        pair = f"{printable(true)} taken for {printable(predicted)}"
        click.echo(f"\nmost confused: {pair}, {count} time{'s' if count > 1 else ''}")


def _further_lines(result: Evaluation) -> Iterator[str]:
    if result.reject is not None:
        yield from _rejection_lines(result.reject)
    if result.corruptions is not None:
        found = result.corruptions
        count = f"{found['num_images']:,} images"
        yield f"\n{count} made worse: {found['mean']:.2%} right in the mean, {found['top1']:.2%} as they are"
        for kind, shares in found["accuracy"].items():
            yield f"  {kind:<11}" + "".join(f"{share:>8.1%}" for share in shares)
    if result.tta is not None:
        tta = result.tta
        yield (
            f"\naveraged over {len(tta['variants'])} variants: accuracy {tta['top1']:.2%} instead of "
            f"{tta['top1_without']:.2%}, calibration error {tta['ece']:.2%} instead of {tta['ece_without']:.2%}, "
            f"{tta['seconds']:.1f} s instead of {tta['seconds_without']:.1f} s"
        )


def _rejection_lines(reject: dict[str, Any]) -> Iterator[str]:
    accuracy = reject["accuracy_of_kept"]
    right = "" if accuracy is None else f", {accuracy:.2%} of them right"
    yield f"\nrejection by {reject['score']} below {reject['threshold']:.6g}: {reject['kept']:.2%} kept{right}"
    unknown = reject.get("unknown")
    if unknown:
        yield (
            f"unknown images ({unknown['num_images']:,} of {printable(unknown['data'])}): "
            f"{unknown['false_accept_rate']:.2%} accepted, AUROC {unknown['auroc']:.4f}"
        )
        if unknown["auroc"] < POOR_AUROC:
            yield (
                "no threshold tells these from what it learnt; train with such images as a class of their own, "
                "other/ beside the others"
            )
