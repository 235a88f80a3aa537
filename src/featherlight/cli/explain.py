"""``featherlight explain``."""

from __future__ import annotations

from pathlib import Path

import click

EXAMPLES = """\b
Examples:
  featherlight explain channel-shuffle
  featherlight explain channel-shuffle --groups 3 --channels 15
  featherlight explain channel-shuffle --groups 8 --channels 96 --out shuffle.svg
"""


@click.command("explain")
@click.argument("topic", type=click.Choice(["channel-shuffle"]))
@click.option(
    "--groups",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Groups of the convolutions.",
)
@click.option(
    "--channels", type=click.IntRange(min=1), default=15, show_default=True, metavar="N", help="Channels between them."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.svg", help="Also draw it.")
def command(topic: str, groups: int, channels: int, out: Path | None) -> None:  # noqa: ARG001  # there is one so far
    """Show how TOPIC works, with channels that have names."""
    from featherlight.workflows.explain import explain_channel_shuffle

    click.echo(explain_channel_shuffle(groups, channels, out), nl=False)
    if out is not None:
        click.echo(f"picture  {out}", err=True)
