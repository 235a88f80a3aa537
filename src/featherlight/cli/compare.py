"""``featherlight compare``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from featherlight.cli import completing
from featherlight.cli.options import json_option, lang_option, print_csv, print_json, print_table
from featherlight.console import printable
from featherlight.errors import UsageError
from featherlight.phrases import counted

if TYPE_CHECKING:
    from featherlight.comparison import Comparison

DISAGREEMENTS_SHOWN = 10
EXAMPLES = """\b
Examples:
  featherlight compare runs/a runs/b
  featherlight compare runs/a runs/b runs/c --data photos/ --out comparison/
  featherlight compare runs/a runs/a/onnx runs/a/int8 --split val
  featherlight compare runs/a runs/b --engine onnxruntime --threads 1 --json

\b
MODEL is a run directory, a model file, an exported file or folder; they mix. What
follows the models and is none of them is DATA, too. Without DATA, the images that all
models were trained on are used: their test split if there is one, else their
validation split. Classes are matched by name.

\b
The difference of two accuracies is real if McNemar's exact test says so (p < 0.05,
with more than two models corrected by Holm). Intervals are of 95 %, from resampled
images. Latency is that of one image, from the network's size to logits.
"""


@click.command("compare")
@click.argument(
    "models", metavar="MODEL MODEL... [DATA]", nargs=-1, required=True, shell_complete=completing.data_or_model
)
@click.option(
    "--data",
    metavar="DATA",
    shell_complete=completing.data,
    help="The images.  [default: what the models were trained on]",
)
@click.option(
    "--split",
    type=click.Choice(["test", "val", "train", "all"]),
    help="Which images.  [default: test if there is one, else val]",
)
@click.option("--out", metavar="DIR", help="Write compare.json, compare.html and curves.png there.")
@click.option(
    "--engine",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="Runtime: auto (by the file), torch, onnxruntime or openvino; model files are exported for it.",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of each.  [default: the number of cores]")
@click.option(
    "--seconds", "latency_s", type=click.FloatRange(min=0), default=2.0, show_default=True,
    help="To measure the latency of each model; 0 leaves it out.",
)  # fmt: skip
@lang_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on standard output, a row a model.")
def command(
    models: tuple[str, ...],
    data: str | None,
    split: str | None,
    out: str | None,
    engine: str,
    threads: int | None,
    latency_s: float,
    lang: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Compare each MODEL with the others on the same images: which is better, is it real, what does it cost."""
    from featherlight.workflows.compare import compare, split_arguments

    if as_json and as_csv:
        raise UsageError("--json or --csv, one of the two")
    named, data = split_arguments(models, data)
    result = compare(
        named, data, split=split, engine=engine, threads=threads, latency_s=latency_s, out=out, lang=lang or "en"
    )
    if as_json:
        print_json(result.to_dict())
    elif as_csv:
        print_csv(result.to_rows())
    else:
        _print(result)
        if out is not None:
            click.echo(f"\npage  {os.path.join(out, 'compare.html')}")


def _print(result: Comparison) -> None:
    from featherlight.comparison import p_text

    click.echo(f"{printable(result.data)}, {result.split}: {counted(result.num_images, 'image')}; {result.machine}\n")
    print_table(list(_row(result, 0)), [_row(result, place) for place in range(len(result.models))], decimals=2)
    click.echo("")
    for pair in result.pairs:
        low, high = pair.interval
        points = f"{100 * pair.difference:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
        click.echo(
            f"{printable(pair.second)} - {printable(pair.first)}: {points}, "
            f"{p_text(pair.p_corrected)}{'' if pair.real else ', not real'}; "
            f"named differently: {pair.disagreements:,} of {result.num_images:,}, "
            f"{pair.only_second:,} to {pair.only_first:,} right"
        )
    for text in result.notes:
        click.echo(f"note: {printable(text)}")
    click.echo(f"\n{printable(result.sentence)}")
    if result.disagreements:
        click.echo(f"\nnot named alike: {len(result.disagreements):,}, for example")
        print_table(["path", "true", *(model.name for model in result.models)], _examples(result))


def _row(result: Comparison, place: int) -> dict[str, object]:
    model = result.models[place]
    low, high = model.accuracy_interval
    return {
        "model": model.name,
        "engine": model.engine,
        "accuracy %": 100 * model.accuracy,
        "95 %": f"{100 * low:.1f} to {100 * high:.1f}",
        "ECE %": 100 * model.ece,
        "NLL": model.nll,
        "size MB": model.size_bytes / 1e6,
        "params M": None if model.params is None else model.params / 1e6,
        "MACs M": None if model.macs is None else model.macs / 1e6,
        "ms": model.latency_ms,
    }


def _examples(result: Comparison) -> list[dict[str, object]]:
    names = [model.name for model in result.models]
    return [
        {"path": one.path, "true": one.true, **dict(zip(names, one.answers, strict=True))}
        for one in result.disagreements[:DISAGREEMENTS_SHOWN]
    ]
