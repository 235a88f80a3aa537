"""``featherlight export``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from featherlight.cli import completing
from featherlight.cli.options import lang_option
from featherlight.console import printable

if TYPE_CHECKING:
    from featherlight.workflows.export import Export

MAX_FILES_LISTED = 3

EXAMPLES = """\b
Examples:
  featherlight export runs/a --to onnx
  featherlight export runs/a --to openvino --half-weights --out tulips-openvino
  featherlight export runs/a --to onnx --out model.onnx --explain
  featherlight export model.safetensors --to onnx --data photos/
  featherlight export runs/a --to onnx --int8
  featherlight export runs/a --to onnx --kit for-the-device
  featherlight export runs/a --to ncnn --kit for-the-device
  featherlight export runs/a --to web --title "Which tulip?" --half-weights

\b
The file has everything inside: resizing, normalisation, class names. It gets its
name only after it ran in its own runtime on the validation images and gave the
answers of its model; export.html (for FILE.onnx FILE.html) beside it tells how it
compares.
"""


@click.command("export")
@click.argument("model", shell_complete=completing.model)
@click.option(
    "--to",
    shell_complete=completing.target,
    default="onnx",
    show_default=True,
    metavar="TARGET",
    help="onnx, openvino, web, ncnn, litert, executorch or coreml.",
)
@click.option("--out", metavar="PATH", help="Folder, or FILE.onnx.  [default: a folder named by the target]")
@click.option(
    "--data",
    metavar="DATA",
    shell_complete=completing.data,
    help="Images to compare on.  [default: validation images of the training data]",
)
@click.option(
    "--input",
    "given",
    type=click.Choice(["image", "tensor"]),
    help="image: uint8 pixels of any size; tensor: resized and normalised outside.  [default: image where the target "
    "can resize]",
)
@click.option("--int8", is_flag=True, help="Compute in 8 bits; harmful layers stay in float until the gate holds.")
@click.option("--half-weights", is_flag=True, help="Store weights in float16, under the same gate.")
@click.option(
    "--form",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Of a network with channel shuffles: auto times the exact forms gather, carry, slices and pieces; or one of "
    "these; shuffle leaves it as it is.",
)
@click.option("--kit", metavar="DIR", help="Also make a folder with model, labels, a sample and a script for a device.")
@click.option("--title", metavar="TEXT", help="With --to web: what the page calls itself.")
@click.option(
    "--runtime",
    metavar="DIR",
    help="With --to web: where npm installed onnxruntime-web.  [default: fetched once, 14 MB]",
)
@lang_option
@click.option("--explain", is_flag=True, help="Print what each graph pass did, with operator counts.")
def command(model: str, to: str, explain: bool, given: Any, lang: str | None, **options: Any) -> None:
    """Make a file of MODEL that runs without PyTorch, and prove that it gives the same answers."""
    from featherlight.verification import explain_verification
    from featherlight.workflows.export import export

    result = export(model, to, input=given, lang=lang or "en", **options)
    if explain:
        click.echo("\n".join(map(printable, result.explanation)) + "\n")
    else:
        for line in result.quantization:
            click.echo(printable(line))
    click.echo("\n".join(explain_verification(result.verification)))
    for line in _list_files(result):
        click.echo(printable(line))
    click.echo(f"report  {printable(str(result.report))}")
    if result.kit is not None:
        click.echo(f"kit     {printable(str(result.kit))}")
    click.echo(f"next    {printable(_next(result, to))}")


def _list_files(result: Export) -> list[str]:
    if len(result.files) > MAX_FILES_LISTED:
        return [f"folder  {result.path.parent}  {result.size_bytes / 1e6:.2f} MB"]
    return [f"file    {file}  {file.stat().st_size / 1e6:.2f} MB" for file in result.files]


def _next(result: Export, to: str) -> str:
    if to == "web":
        return f"python -m http.server --directory {shlex.quote(str(result.path.parent))}, then http://localhost:8000"
    if to == "coreml":
        return "python run.py on a Mac, in the folder that --kit makes"
    return f"featherlight predict {shlex.quote(str(result.path))} IMAGE"
