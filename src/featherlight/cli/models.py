"""``featherlight models``."""

from __future__ import annotations

import click

from featherlight.cli.options import json_option, print_json, print_table
from featherlight.errors import UsageError

EXAMPLES = """\b
Examples:
  featherlight models
  featherlight models "shufflenet_v2_*"
  featherlight models --json
"""


@click.command("models", epilog=EXAMPLES)
@click.argument("pattern", default="*")
@json_option
def command(pattern: str, as_json: bool) -> None:
    """List the networks whose name fits PATTERN, with their parameters at 1,000 classes."""
    from featherlight.models.catalogue import list_models, model_info

    names = list_models(pattern)
    if not names:
        raise UsageError(f"no network is called {pattern!r}; `featherlight models` lists all")
    rows = [
        {"name": i.name, "family": i.family, "params": i.params, "source": i.source} for i in map(model_info, names)
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(["name", "family", "params", "source"], rows)
