"""``featherlight train``."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import click

from featherlight.cli import completing
from featherlight.cli.options import Duration, Setting, device_option, lang_option
from featherlight.cli.recipes import show_recipes
from featherlight.errors import UsageError

if TYPE_CHECKING:
    from featherlight.workflows.cross_validation import CrossValidation

EXAMPLES = """\b
Examples:
  featherlight train
  featherlight train photos/ --model shufflenet_v2_x0_5 --epochs 20
  featherlight train cifar10 --model mobilenet_v1_x1_0 --time 15m
  featherlight train photos/ --set trivial_augment=true --set batch_size=64
  featherlight train people/ --group-by "person\\d+"
  featherlight train cifar10 --recipe article-ascend-mobilenet-v1
  featherlight train photos/ --teacher runs/large --target 0.93
  featherlight train --quantize-aware runs/a --out runs/a-int8
  featherlight train photos/ --folds 5
  featherlight train --resume runs/photos-20260101-120000
  featherlight train --resume runs/photos-20260101-120000 --epochs 40

\b
DATA is a folder (train/ val/ [test/] with a folder a class, or one folder a
class), a manifest, WebDataset shards ("shards/train-{000..099}.tar", also behind
http), a Hugging Face data set (a folder, or hf://owner/name), a CIFAR directory
or archive, or a known name: digits, cifar10, cifar100.
Without it, built-in handwritten digits are used.

Ctrl-C saves, and says how to go on.
"""

EXTENDING = {"epochs", "time", "target"}  # options that a run can be taken up with


@click.command("train")
@click.argument("data", required=False, shell_complete=completing.data)
@click.option(
    "--model",
    shell_complete=completing.network,
    metavar="NAME",
    help="Network; `featherlight models` lists them.  [default: shufflenet_v2_x0_5, or the recipe's]",
)
@click.option(
    "--recipe",
    shell_complete=completing.recipe,
    metavar="NAME",
    help="A published recipe, by name: its settings come first, other options change them.",
)
@click.option(
    "--list-recipes",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_recipes,
    help="List the recipes, with what each sets.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Passes over the training images.  [default: by their number, 10 to 100]",
)
@click.option("--time", type=Duration(), metavar="TIME", help="Train for this long instead: 90s, 15m, 2h.")
@click.option(
    "--target",
    type=click.FloatRange(0, 1),
    metavar="ACCURACY",
    help="Stop after the epoch whose accuracy on validation reaches this, such as 0.93.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=0),
    metavar="N",
    help="Stop when N epochs in a row bring nothing better on validation, and keep the best.",
)
@click.option(
    "--teacher",
    shell_complete=completing.model_or_network,
    metavar="MODEL",
    help="Learn also from a larger model of the same classes: a run directory, a model file, or a network with "
    "ImageNet weights.",
)
@click.option("--out", metavar="DIR", help="The run directory.  [default: a new one in runs/]")
@click.option(
    "--quantize-aware",
    shell_complete=completing.model,
    metavar="MODEL",
    help="Fine-tune this model so that it keeps its accuracy in int8; without DATA, on the images it was trained on.",
)
@click.option(
    "--resume",
    shell_complete=completing.run,
    metavar="RUN",
    help="Go on with a run that was stopped; with --epochs, --time or --target (counted from its start) for longer.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="Same seed, same machine, same weights.  [default: 0]"
)
@device_option
@click.option(
    "--pretrained",
    metavar="NAME",
    help="ImageNet weights to start from: auto, none, or whose, such as torchvision.  [default: auto from 96 px on]",
)
@click.option(
    "--speed",
    type=click.Choice(["auto", "plain"]),
    help="auto: find out which way of computing is fastest here; plain: PyTorch's own.  [default: auto]",
)
@click.option(
    "--keep",
    type=click.Choice(["last", "best"]),
    help="Keep the last epoch or the best on validation.  [default: last]",
)
@click.option(
    "--balance",
    type=click.Choice(["none", "weights", "sampler"]),
    help="Classes of different size: weigh them in the loss, or show each equally often.  [default: none]",
)
@click.option(
    "--group-by",
    metavar="REGEX|COLUMN",
    help="Keep images of one group (person, video, object) on one side of the split: what REGEX finds in their "
    "paths, or a manifest's COLUMN.",
)
@click.option(
    "--folds",
    type=click.IntRange(2, 100),
    metavar="K",
    help="Cross-validate: train K networks, each measured on the part of the images that it did not see; on several "
    "devices side by side. Options of length are for each of them.",
)
@lang_option
@click.option("--allow-leaks", is_flag=True, default=None, help="Go on though val or test images are also in train.")
@click.option("--strict", is_flag=True, default=None, help="An unreadable image is an error, not skipped.")
@click.option(
    "--set",
    "settings",
    type=Setting(),
    multiple=True,
    metavar="FIELD=VALUE",
    help="Change any field of the recipe; repeatable.",
)
def command(
    data: str | None,
    out: str | None,
    quantize_aware: str | None,
    folds: int | None,
    resume: str | None,
    settings: tuple[tuple[str, str], ...],
    **options: Any,
) -> None:
    """Train a light network on images; the result is a run directory with the model in it."""
    from featherlight.workflows.cross_validation import cross_validate, finish_folds, is_cross_validation
    from featherlight.workflows.quantize_aware import train_quantize_aware
    from featherlight.workflows.train import resume as resume_run
    from featherlight.workflows.train import train

    given = {name: value for name, value in options.items() if value is not None}
    if folds is not None or (resume is not None and is_cross_validation(resume)):
        if resume is not None and (data is not None or out is not None or given or settings or folds is not None):
            raise UsageError("--resume goes on with all folds as they are; leave out the other options")
        if quantize_aware is not None:
            raise UsageError("--folds trains new networks; leave out --quantize-aware")
        _show_folds(
            finish_folds(resume)
            if resume is not None
            else cross_validate(
                data or "digits", folds=folds or 0, out=out, **{**given, **without_repeats(given, settings)}
            )
        )
        return
    if resume is not None:
        if data is not None or out is not None or quantize_aware is not None or given.keys() - EXTENDING or settings:
            raise UsageError(
                "--resume goes on with the run's own recipe and data; leave out the other options. "
                "Only its end can be changed: --epochs, --time, --target"
            )
        result = resume_run(resume, **given)
    elif quantize_aware is not None:
        if "model" in given:
            raise UsageError("--quantize-aware fine-tunes a model; leave out --model")
        result = train_quantize_aware(quantize_aware, data, out=out, **{**given, **without_repeats(given, settings)})
    else:
        result = train(data or "digits", out=out, **{**given, **without_repeats(given, settings)})
    if int(os.environ.get("RANK", "0")) > 0:  # of several processes one speaks
        return
    metrics = result.metrics
    low, high = metrics["top1_interval"] or (0.0, 1.0)
    click.echo(
        f"{metrics['split']} accuracy {metrics['top1']:.2%} on {metrics['num_images']:,} images "
        f"(95 %: {low:.1%} to {high:.1%})\n"
        f"model   {result.model_path}\n"
        f"report  {result.path / 'report.html'}\n"
        f"next    featherlight predict {shlex.quote(str(result.path))} IMAGE"
    )


def _show_folds(found: CrossValidation) -> None:
    low, high = found.evaluation.top1_interval or (0.0, 1.0)
    folds = ", ".join(f"{accuracy:.2%}" for accuracy in found.top1)
    click.echo(
        f"out-of-fold accuracy {found.evaluation.top1:.2%} on {found.evaluation.num_images:,} images "
        f"(95 %: {low:.1%} to {high:.1%})\n"
        f"folds   {folds}\n"
        f"report  {found.path / 'report.html'}"
    )


def without_repeats(given: dict[str, Any], settings: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The fields given by ``--set``.

    Raises:
        UsageError: one of them is also an option that was given, or is none of ``--set``.
    """
    named = dict(settings)
    if "data" in named or "out" in named:
        raise UsageError(
            "the images and the run directory are not set by --set; write: featherlight train DATA --out DIR"
        )
    repeated = sorted(given.keys() & named.keys())
    if repeated:
        raise UsageError(f"{repeated[0]} is given twice, as an option and by --set")
    return named
