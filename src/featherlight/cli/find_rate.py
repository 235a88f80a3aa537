"""``featherlight find-rate``."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

import click

from featherlight.cli import completing
from featherlight.cli.options import Setting, device_option, json_option, print_json, print_table

EXAMPLES = """\b
Examples:
  featherlight find-rate photos/ --out rates.png
  featherlight find-rate cifar10 --model mobilenet_v1_x1_0 --set batch_size=128
  featherlight find-rate photos/ --json | jq .suggestion

\b
A learning rate that is too low wastes time, one that is too high learns nothing.
A fresh network makes --steps training steps while the rate grows from --low to
--high (Smith 2017). A tenth of the rate at which the loss is lowest is suggested;
give it to `featherlight train` by --set learning_rate=RATE. The network is thrown
away, and nothing is written but --out. Without DATA, built-in digits are used.
"""

_ROWS = 20


@click.command("find-rate")
@click.argument("data", required=False, shell_complete=completing.data)
@click.option(
    "--model",
    metavar="NAME",
    shell_complete=completing.network,
    help="Network; `featherlight models` lists them.  [default: shufflenet_v2_x0_5]",
)
@click.option("--out", metavar="FILE", help="Draw the loss over the rate: a .png file.")
@click.option(
    "--steps",
    type=click.IntRange(min=10),
    default=300,
    show_default=True,
    metavar="N",
    help="Training steps, each at its own rate.",
)
@click.option("--low", type=float, metavar="RATE", help="Lowest rate.  [default: 0.001; AdamW 0.00001]")
@click.option("--high", type=float, metavar="RATE", help="Highest rate.  [default: 3; AdamW 0.3]")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Of everything random.  [default: 0]")
@device_option
@click.option(
    "--set",
    "settings",
    type=Setting(),
    multiple=True,
    metavar="FIELD=VALUE",
    help="Change any field of the recipe, as in training; repeatable.",
)
@json_option
def command(data: str | None, settings: tuple[tuple[str, str], ...], as_json: bool, **options: Any) -> None:
    """Find a good learning rate: the number that says how far each training step moves the weights."""
    from featherlight.cli.train import without_repeats
    from featherlight.workflows.find_rate import find_rate

    given = {name: value for name, value in options.items() if value is not None}
    found = find_rate(data or "digits", **{**given, **without_repeats(given, settings)})
    if as_json:
        print_json(asdict(found))
        return
    rows = [
        {"learning rate": f"{rate:.3g}", "loss": loss, "smoothed": smoothed}
        for rate, loss, smoothed in zip(found.rates, found.losses, found.smoothed, strict=True)
    ]
    print_table(("learning rate", "loss", "smoothed"), rows[:: max(1, len(rows) // _ROWS)])
    click.echo(
        f"\nsuggestion  {found.suggestion:g}  (steepest {found.steepest:.2g}, lowest {found.lowest:.2g})\n"
        f"next        featherlight train {shlex.quote(data or 'digits')} --set learning_rate={found.suggestion:g}"
    )
