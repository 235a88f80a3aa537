"""``featherlight models``."""

from __future__ import annotations

import click

from featherlight.cli import completing
from featherlight.cli.options import json_option, print_json, print_table
from featherlight.errors import UsageError
from featherlight.models.catalogue import ModelInfo, list_models, model_info

EXAMPLES = """\b
Examples:
  featherlight models
  featherlight models "shufflenet_v2_*"
  featherlight models "*.megvii"            published variants have a tag
  featherlight models --json
"""


@click.command("models")
@click.argument("pattern", default="*", shell_complete=completing.network)
@json_option
def command(pattern: str, as_json: bool) -> None:
    """List the networks whose name fits PATTERN, with their parameters at 1,000 classes.

    NAME.TAG is a published variant: what it does differently stands in --json. "= NAME" marks one that differs from
    NAME in the order of channels or in names only, so that NAME takes its weights.
    """
    names = list_models(pattern)
    if not names:
        raise UsageError(f"no network is called {pattern!r}; `featherlight models` lists all")
    infos = [model_info(name) for name in names]
    if as_json:
        print_json([_row(info) for info in infos])
    else:
        print_table(["name", "family", "params", "source"], [_short_row(info) for info in infos])


def _row(info: ModelInfo) -> dict[str, object]:
    row: dict[str, object] = {"name": info.name, "family": info.family, "params": info.params, "source": info.source}
    return row | {"differs": info.differs, "alias_of": info.alias_of} if info.tag else row


def _short_row(info: ModelInfo) -> dict[str, object]:
    return _row(info) | {"source": f"{info.source} (= {info.alias_of})" if info.alias_of else info.source}
