"""``featherlight convert``."""

from __future__ import annotations

import shlex

import click

from featherlight.cli import completing
from featherlight.console import note

EXAMPLES = """\b
Examples:
  featherlight convert shufflenetv2_x0.5-f707e7126e.pth --model shufflenet_v2_x0_5 --out net.safetensors
  featherlight convert 1.0x.pth.tar --model shufflenet_v1_g3_x1_0.megvii --preprocessing bgr255 --out net.safetensors
  featherlight convert shufflenet.keras --model shufflenet_v2_x1_0.keras --out net.safetensors
  featherlight convert shufflenet.ckpt --model shufflenet_v1_g3_x2_0.mindspore --out net.safetensors
  featherlight convert ckpt.pth --model shufflenet_v1_g2_x1_0.kuangliu --class-names names.txt --out net.safetensors

\b
The layout (whose names the weights have) is recognised; --from tells it where
names do not: torchvision, timm, ascend, jaxony, megvii, mmpretrain, kuangliu,
pytorchcv, pytorchcv_b, keras, mindspore, mindcv, or featherlight for a state
dict of ours. A network that computes something else than its family's own has a
tag: `featherlight models "*.*"` lists them.

FILE of class names: a name a line, or JSON as imagenet_class_index.json.
"""


@click.command("convert")
@click.argument("weights")
@click.option(
    "--model",
    required=True,
    metavar="NAME[.TAG]",
    shell_complete=completing.network,
    help="Network; `featherlight models` lists them.",
)
@click.option("--from", "layout", metavar="LAYOUT", help="Whose names the weights have.  [default: read off them]")
@click.option("--class-names", metavar="FILE", help="Names of the classes, in the order of the outputs.")
@click.option(
    "--input-size",
    type=click.IntRange(min=16, max=4096),
    metavar="S",
    help="Side of the images in pixels.  [default: 224; 32 for networks published for such]",
)
@click.option(
    "--preprocessing",
    metavar="NAME",
    help="imagenet, inception, cifar or bgr255: how images reach it.  [default: as the layout's authors had it]",
)
@click.option("--out", required=True, metavar="FILE", help="The model file to write.")
def command(
    weights: str,
    model: str,
    layout: str | None,
    class_names: str | None,
    input_size: int | None,
    preprocessing: str | None,
    out: str,
) -> None:
    """Make a model file of WEIGHTS that another implementation wrote (PyTorch, MindSpore, Keras or safetensors)."""
    from featherlight.workflows.convert import convert

    result = convert(
        weights,
        model,
        out,
        layout=layout,
        class_names=class_names,
        input_size=input_size,
        preprocessing=preprocessing,
        note=note,
    )
    click.echo(
        f"{result.model}: {result.params:,} parameters, {result.num_classes:,} classes, {result.layout} layout, "
        f"{result.preprocessing} preprocessing\n"
        f"model   {result.path}\n"
        f"next    featherlight predict {shlex.quote(str(result.path))} IMAGE"
    )
