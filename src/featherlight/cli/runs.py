"""``featherlight runs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from featherlight.cli.options import json_option, print_csv, print_json, print_table
from featherlight.console import duration, printable
from featherlight.errors import UsageError
from featherlight.phrases import counted

if TYPE_CHECKING:
    from featherlight.workflows.runs import RunRow

EXAMPLES = """\b
Examples:
  featherlight runs
  featherlight runs --sort accuracy
  featherlight runs experiments/ --sort size --json

\b
Curves of all of them: tensorboard --logdir runs

\b
DIR is looked through with all folders below it. The accuracy of an unfinished run is
the last on validation. Runs that are damaged are listed, too, and what is wrong.
"""


@click.command("runs")
@click.argument("folder", metavar="[DIR]", required=False)
@click.option(
    "--sort",
    type=click.Choice(["date", "accuracy", "size", "time"]),
    default="date",
    show_default=True,
    help="The latest, most accurate, smallest or quickest first.",
)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on standard output.")
def command(folder: str | None, sort: str, as_json: bool, as_csv: bool) -> None:
    """List the training runs in DIR, by default runs/."""
    from featherlight.workflows.runs import list_runs

    if as_json and as_csv:
        raise UsageError("--json or --csv, one of the two")
    rows = list_runs(folder, sort=sort)
    if as_json:
        print_json([row.to_row() for row in rows])
    elif as_csv:
        if rows:
            print_csv([row.to_row() for row in rows])
    else:
        _print(rows, folder or "runs")


def _print(rows: list[RunRow], folder: str) -> None:
    if not rows:
        click.echo(f"no runs in {printable(folder)}")
        return
    shown = [_cells(row) for row in rows]
    print_table(list(shown[0]), shown, decimals=2)
    others = [row for row in rows if row.status != "finished"]
    if others:
        click.echo(f"\n{counted(len(rows), 'run')}, not finished: {len(others)}")
    for row in others:
        click.echo(f"{row.status}  {printable(row.path)}: {printable(row.problem)}")


def _cells(row: RunRow) -> dict[str, object]:
    return {
        "run": row.path,
        "accuracy %": None if row.accuracy is None else 100 * row.accuracy,
        "on": row.split if row.status == "finished" else f"{row.split} ({row.status})",
        "size MB": None if row.size_bytes is None else row.size_bytes / 1e6,
        "time": "-" if row.time_s is None else duration(row.time_s),
        "network": row.network,
        "data": row.data,
        "date": row.date[:16].replace("T", " "),
    }
