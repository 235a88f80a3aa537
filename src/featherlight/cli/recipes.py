"""``featherlight train --list-recipes``."""

from __future__ import annotations

import sys
import textwrap

import click

from featherlight.cli.options import print_table
from featherlight.training.recipes.catalogue import describe_recipe, find_recipe, list_recipes, other_networks
from featherlight.training.recipes.source import show_settings

LEGEND = """
stated: the source gives it. implied: it follows from the source's code, the defaults of what that calls among them.
ours: the source leaves it open; so is every field that is not named, which is that of our default recipe.
"""


def show_recipes(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Prints all recipes and ends the command."""
    if not wanted:
        return
    print_table(["name", "model", "epochs"], [_row(name) for name in list_recipes()])
    sys.stdout.write(LEGEND)
    for name in list_recipes():
        sys.stdout.write(f"\n{name}\n" + "".join(f"  {line}\n" for line in _describe(name)))
    context.exit()


def _row(name: str) -> dict[str, object]:
    settings = find_recipe(name).settings
    return {"name": name, "model": settings.get("model", "-"), "epochs": settings.get("epochs")}


def _describe(name: str) -> list[str]:
    recipe = find_recipe(name)
    facts = [("source", recipe.source), ("there", f"accuracy {recipe.accuracy}; time {recipe.time}")]
    facts += [(origin, show_settings(part)) for origin, part in recipe.by_origin().items() if part]
    for models, changes in other_networks(name):
        facts.append(("also", f"{', '.join(models)}: {show_settings(changes) or 'the same'}"))
    facts += [("note", note) for note in recipe.notes]
    indent = " " * 8
    lines = [describe_recipe(name)]
    for kind, text in facts:
        lines += textwrap.wrap(text, 108, initial_indent=kind.ljust(8), subsequent_indent=indent)
    return lines
