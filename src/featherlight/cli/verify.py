"""``featherlight verify``."""

from __future__ import annotations

import click

from featherlight.cli import completing
from featherlight.cli.options import device_option, engine_option, json_option, print_json, print_table, threads_option
from featherlight.console import printable

DISAGREEMENTS_SHOWN = 20
EXAMPLES = """\b
Examples:
  featherlight verify runs/a/onnx --against runs/a
  featherlight verify model.onnx --against runs/a photos/
  featherlight verify model.onnx --against runs/a --engine openvino --json

\b
The gate: at least 99.9 % of the images are named alike; an image whose two best
classes lie within 0.001 in MODEL does not count, and one image is always allowed.
Of int8 files the accuracy may drop by 0.5 points.
"""


@click.command("verify")
@click.argument("exported")
@click.option(
    "--against", required=True, metavar="MODEL", help="The model it was made of.", shell_complete=completing.model
)
@click.argument("data", required=False, shell_complete=completing.data)
@click.option(
    "--split",
    type=click.Choice(["test", "val", "train", "all"]),
    help="Which images.  [default: val if there is one]",
)
@engine_option
@device_option
@threads_option
@json_option
def command(
    exported: str,
    against: str,
    data: str | None,
    split: str | None,
    engine: str,
    device: str | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Compare EXPORTED with the model it was made of, image by image."""
    from featherlight.verification import explain_verification
    from featherlight.workflows.verify import verify

    result = verify(exported, against, data, split=split, engine=engine, device=device or "auto", threads=threads)
    if as_json:
        print_json(result.to_dict())
        return 0 if result.passed else 1
    click.echo("\n".join(explain_verification(result)))
    rows = [{**vars(one), "path": printable(one.path)} for one in result.disagreements[:DISAGREEMENTS_SHOWN]]
    if rows:
        click.echo(f"\nnamed differently: {len(result.disagreements):,}")
        print_table(["path", "exported", "reference", "margin"], rows)
    return 0 if result.passed else 1
