"""``featherlight check``."""

from __future__ import annotations

import shlex
import sys
from itertools import groupby

import click

from featherlight.cli import completing
from featherlight.cli.options import Duration, device_option, json_option, lang_option, print_table
from featherlight.console import printable
from featherlight.errors import UsageError
from featherlight.phrases import counted
from featherlight.sources.findings import SEVERITIES, Enough, Finding, Findings, Severity
from featherlight.sources.findings.enough import CurvePoint

SHOWN = 3  # findings of a kind

EXAMPLES = """\b
Examples:
  featherlight check photos/
  featherlight check photos/ --out report/
  featherlight check photos/ --labels --labels-time 10m --out report/
  featherlight check photos/ --enough --time 10m --out report/
  featherlight check photos/ --group-by "(person\\d+)_"
  featherlight check photos/ --fix cleaned/ && featherlight train cleaned/manifest.csv

\b
DATA is what `featherlight train` takes: a folder of images, a manifest, a CIFAR
directory, a known name. Nothing in it is changed.

\b
error    training refuses, leaves images out, or its numbers would be wrong
warning  it probably costs accuracy, or makes numbers less certain
note     good to know
"""


@click.command("check")
@click.argument("data", shell_complete=completing.data)
@click.option("--out", metavar="DIR", help="Write check.json and the page check.html, with pictures, there.")
@json_option
@click.option("--fix", metavar="DIR", help="Write a cleaned manifest and a list of what was left out into a new DIR.")
@click.option("--labels", is_flag=True, help="Also look for wrong labels; trains small networks on parts of the data.")
@click.option(
    "--labels-time", type=Duration(), metavar="TIME", default="2m", show_default=True, help="How long that may take."
)
@click.option(
    "--enough",
    is_flag=True,
    help="Also ask: more photos, a bigger network, or cleaner labels? Trains networks on parts of the data.",
)
@click.option("--time", type=Duration(), metavar="TIME", help="How long --enough may take.  [default: 10m]")
@click.option(
    "--group-by",
    metavar="REGEX|COLUMN",
    help="Which images belong together: what the expression finds in their paths, or a manifest's column.",
)
@click.option(
    "--input-size",
    type=click.IntRange(16, 4096),
    metavar="S",
    help="Side of the network's input, pixels.  [default: what training would choose]",
)
@click.option(
    "--fail-on",
    type=click.Choice(SEVERITIES),
    default="warning",
    show_default=True,
    help="The least severity that makes the exit code 1.",
)
@device_option
@lang_option
def command(
    data: str,
    out: str | None,
    as_json: bool,
    fix: str | None,
    labels: bool,
    labels_time: str,
    enough: bool,
    time: str | None,
    group_by: str | None,
    input_size: int | None,
    fail_on: Severity,
    device: str | None,
    lang: str | None,
) -> int:
    """Find what is wrong with the images of DATA before training."""
    from featherlight.workflows.check import check

    if time is not None and not enough:
        raise UsageError("--time goes with --enough; for --labels there is --labels-time")
    findings = check(
        data, out=out, fix=fix, labels=labels, labels_time=labels_time, enough=enough, time=time or "10m",
        group_by=group_by, input_size=input_size, device=device or "auto", lang=lang or "en",
    )  # fmt: skip
    if as_json:
        sys.stdout.writelines(findings.json_parts())
    else:
        _print_summary(findings)
        _print_enough(findings.enough)
        _print_next(out, fix)
    return int(any(findings.count(severity) for severity in SEVERITIES[: SEVERITIES.index(fail_on) + 1]))


def _print_summary(findings: Findings) -> None:
    told = ", ".join(f"{count:,} {split}" for split, count in findings.split_counts().items())
    images, classes = counted(findings.num_images, "image"), counted(len(findings.classes), "class")
    click.echo(f"{printable(findings.data)}: {images} in {classes}; readable: {told or 'none'}")
    for (severity, kind), members in groupby(findings.told(), key=lambda finding: (finding.severity, finding.kind)):
        found = list(members)
        click.echo(f"\n{severity:<8} {kind.replace('_', ' ')}  {len(found):,}")
        for finding in found[:SHOWN]:
            click.echo(f"  {_line(finding)}")
        if len(found) > SHOWN:
            click.echo(f"  and {len(found) - SHOWN:,} more")
    totals = [counted(findings.count(severity), severity) for severity in SEVERITIES if findings.count(severity)]
    click.echo(f"\n{', '.join(totals) or 'nothing found'}")


def _print_enough(enough: Enough | None) -> None:
    if enough is None:
        return
    rows: list[dict[str, object]] = [
        {"network": curve.network, "images": point.images, "accuracy %": 100 * point.accuracy, "95 %": _range(point)}
        for curve in enough.curves
        for point in curve.points
    ]
    if rows:
        click.echo("")
        print_table(list(rows[0]), rows, decimals=1)
    for text in (*enough.evidence, *(f"note: {caveat}" for caveat in enough.caveats)):
        click.echo(printable(text))
    click.echo(f"\n{printable(enough.sentence)}")


def _range(point: CurvePoint) -> str:
    return f"{100 * point.low:.1f} to {100 * point.high:.1f}"


def _line(finding: Finding) -> str:
    """What a finding says and of which images, in one line."""
    if not finding.positions or len(finding.paths) > SHOWN:
        example = f" (for example {printable(finding.paths[0])})" if finding.positions else ""
        return printable(finding.message) + example
    return f"{' and '.join(map(printable, finding.paths))}: {printable(finding.message)}"


def _print_next(out: str | None, fix: str | None) -> None:
    if out is not None:
        click.echo(f"page      {out}/check.html")
    if fix is not None:
        click.echo(f"next      featherlight train {shlex.quote(fix)}/manifest.csv")
