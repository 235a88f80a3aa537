from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from featherlight.training.recipes.catalogue import list_recipes

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def maker(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(ROOT / "docs" / "make_recipes.py")


def test_the_page_of_recipes_is_what_the_recipes_make(maker: ModuleType) -> None:
    assert maker.PAGE.read_text(encoding="utf-8") == maker.make_page()


def test_every_recipe_has_a_section_and_a_command(maker: ModuleType) -> None:
    page = maker.make_page()
    for name in list_recipes():
        assert f"\n## {name}\n" in page
        assert f"`{maker.command_of(name)}`" in page


def test_what_was_measured_here_belongs_to_recipes_that_exist(maker: ModuleType) -> None:
    assert set(maker.HERE) <= set(list_recipes())
    assert maker.make_page().count("| not run |") == len(list_recipes()) - len(maker.HERE)
