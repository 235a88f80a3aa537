"""``featherlight choose``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featherlight.cli import completing
from featherlight.cli.options import (
    Duration,
    Setting,
    WholeNumbers,
    device_option,
    json_option,
    lang_option,
    print_json,
    print_table,
)
from featherlight.console import printable
from featherlight.errors import UsageError

if TYPE_CHECKING:
    from featherlight.choosing import Candidate, Choice

DROPPED_SHOWN = 8
EXAMPLES = """\b
Examples:
  featherlight choose photos/ --max-latency 5ms --max-size 1MB --time 1h --out tulips
  featherlight choose photos/ --max-macs 50M --min-accuracy 90% --time 30m
  featherlight choose photos/ --max-latency 20ms --device-profile pi4.json --target openvino
  featherlight choose cifar10 --max-size 500kB --int8 --trials 20 --time 2h
  featherlight choose photos/ --models "mobilenet*" --models shufflenet_v2_x0_5 --time 20m
  featherlight choose --resume tulips

\b
Networks that cannot keep the limits are dropped before anything is trained. The rest
race: all train a little, the best third goes on, the last one for the rest of the
time. Validation images decide; the accuracy in the end is that of the exported file
on images that took no part, its time and size are measured on that file, too.

\b
DIR holds choose.json, choose.html, pareto.png, the exported file and the runs. After
a kill or Ctrl-C the same command, or --resume DIR, goes on; nothing is done twice.
"""


@click.command("choose")
@click.argument("data", required=False, shell_complete=completing.data)
@click.option("--max-latency", metavar="TIME", help="Of an image, exported: 5ms, 800us.")
@click.option("--max-size", metavar="SIZE", help="Of the exported files: 1MB, 500kB.")
@click.option("--max-macs", metavar="N", help="Multiply-adds of an image: 50M.")
@click.option("--min-accuracy", metavar="PART", help="That must be reached: 0.9 or 90%.")
@click.option("--time", type=Duration(), metavar="TIME", help="For everything: 90s, 15m, 2h.  [default: 1h]")
@click.option("--out", metavar="DIR", help="Folder for all files.  [default: choices/NAME]")
@click.option("--resume", metavar="DIR", help="Go on with a choice that was stopped.")
@click.option(
    "--models",
    multiple=True,
    metavar="PATTERN",
    shell_complete=completing.network,
    help="Networks to look at, repeatable.  [default: all]",
)
@click.option(
    "--input-size", "input_sizes", type=WholeNumbers(), metavar="S,...", help="Sides of images to try, in px."
)
@click.option(
    "--trials", type=click.IntRange(min=0), metavar="N", help="Also let Optuna draw N image sizes and recipes."
)
@click.option("--device-profile", metavar="FILE", help="Latencies of the device; see benchmark --save-profile.")
@click.option("--target", metavar="NAME", help="onnx or openvino.  [default: onnx]")
@click.option("--int8", is_flag=True, help="Export in 8 bits.")
@click.option("--half-weights", is_flag=True, help="Store weights in float16: half the size.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the exported file.  [default: all cores]")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Of everything random.  [default: 0]")
@device_option
@click.option(
    "--set", "settings", type=Setting(), multiple=True, metavar="FIELD=VALUE", help="A recipe's field, for all."
)
@lang_option
@json_option
def command(
    data: str | None,
    resume: str | None,
    settings: tuple[tuple[str, str], ...],
    lang: str | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Find the best network for the images of DATA within limits, train it, and give it as verified files."""
    from featherlight.workflows.choose import choose, resume_choice

    given = {name: value for name, value in options.items() if value not in (None, (), False)}
    if resume is not None:
        if data is not None or given or settings:
            raise UsageError("--resume DIR goes on as it was begun; leave the other arguments out")
        choice, out = resume_choice(resume, lang), resume
    elif data is None:
        raise UsageError("name the images: featherlight choose DATA; or go on with a choice: --resume DIR")
    else:
        choice, out = choose(data, settings=dict(settings), lang=lang, **given), options["out"]
    if as_json:
        print_json(choice.to_dict())
    else:
        _print(choice, out)
    return int(not choice.reached)


def _print(choice: Choice, out: str | None) -> None:
    if choice.trained:
        print_table(list(_row(choice.trained[0])), [_row(one) for one in choice.trained], decimals=2)
        click.echo("")
    dropped = [one for one in choice.candidates if one.accuracy is None]
    for one in [] if choice.pick else dropped[:DROPPED_SHOWN]:
        click.echo(f"{printable(one.name)}: {printable(one.dropped or '')}")
    if not choice.pick and len(dropped) > DROPPED_SHOWN:
        click.echo(f"... and {len(dropped) - DROPPED_SHOWN} more: see choose.html")
    click.echo(printable(choice.sentence))
    for text in (*choice.notes, *choice.advice):
        click.echo(f"- {printable(text)}")
    for file in choice.pick.files if choice.pick else ():
        click.echo(f"file    {printable(file)}  {Path(file).stat().st_size / 1e6:.2f} MB")
    if out is not None:
        click.echo(f"page    {printable(str(Path(out) / 'choose.html'))}")
    sys.stdout.flush()


def _row(one: Candidate) -> dict[str, object]:
    return {
        "network": one.name,
        "validation %": 100 * (one.accuracy or 0.0),
        "ms": one.latency_ms,
        "MB": None if one.size_bytes is None else one.size_bytes / 1e6,
        "M MACs": one.macs / 1e6,
        "trained s": one.trained_s,
        "": one.dropped or "",
    }
