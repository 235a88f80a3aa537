"""Writes docs/recipes.md from the recipes: ``python docs/make_recipes.py``. A test keeps the page true."""

from __future__ import annotations

from pathlib import Path

from featherlight.training.recipes.catalogue import describe_recipe, find_recipe, list_recipes, other_networks
from featherlight.training.recipes.source import RecipeSource, show_settings

PAGE = Path(__file__).with_name("recipes.md")

# What we measured ourselves; commands and conditions stand in docs/results.md.
HERE = {"default": "digits 99.47 % in 66 s on two cores (n = 1); [more](results.md)"}

HEAD = """# Recipes

Made by `python docs/make_recipes.py` from the recipes.

A recipe is a set of fields for a training run ([all of them](reference.md#recipe)). `featherlight train DATA --recipe
NAME` begins with it, and other options and `--set` change it; in Python it is `train(DATA, recipe=NAME)`. The run's
`recipe.toml` holds every field and the recipe's name. `featherlight train --list-recipes` prints what stands below.

Each field of a recipe is

- **stated**: its source gives it, in text or code;
- **implied**: it follows from the source's code, such as the defaults of what that calls, and what it does not do;
- **ours**: the source leaves it open. So is every field that is not named: it is that of our default recipe. Nothing of
  it should be laid at the source's door.

"Off" stands before what is not done: 0, false or none.

Where a source trains several networks, the first is the recipe's own, and `--model` takes the others with what is
theirs. Any other network gets the settings of the first.

`--epochs N` changes the length of the whole schedule, but where the recipe has `schedule_epochs`, a run shorter than
that stops on the way, as published. With `--time` the schedule always ends with the run.

## All recipes

Accuracy and time are what the source states. "Here" is what we measured; where it says "not run", nobody has checked
here that the recipe reaches what its source says.

"""
ORIGIN = {"stated": "Stated", "implied": "Implied", "ours": "Ours"}


def make_page() -> str:
    """The page."""
    recipes = {name: find_recipe(name) for name in list_recipes()}
    rows = [_row(name, recipe) for name, recipe in recipes.items()]
    lines = [["recipe", "source", "command", "accuracy there", "time there", "here"], ["---"] * 6, *rows]
    table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    return HEAD + table + "".join(_section(name, recipe) for name, recipe in recipes.items())


def command_of(name: str) -> str:
    """The command that trains by the recipe."""
    option = "" if name == "default" else f" --recipe {name}"
    return f"featherlight train {find_recipe(name).data}{option}"


def _row(name: str, recipe: RecipeSource) -> list[str]:
    here = HERE.get(name, "not run")
    return [f"[`{name}`](#{name})", recipe.source, f"`{command_of(name)}`", recipe.accuracy, recipe.time, here]


def _section(name: str, recipe: RecipeSource) -> str:
    parts = [f"- {ORIGIN[origin]}: {show_settings(part)}" for origin, part in recipe.by_origin().items() if part]
    for models, changes in other_networks(name):
        named = ", ".join(f"`{model}`" for model in models)
        parts.append(f"- With `--model` {named}: {show_settings(changes) or 'the same'}")
    notes = [f"- {note[0].upper()}{note[1:]}." for note in recipe.notes]
    text = describe_recipe(name).replace("``", "`")
    return "\n".join([f"\n## {name}\n", f"{text}\n", *(parts or ["- Ours: everything"]), *notes]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
