from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from featherlight.errors import (
    EXTRA_OF_MODULE,
    DataError,
    FeatherlightError,
    MissingExtraError,
    TrainingStoppedError,
    UnreadableImageError,
    explain_missing,
    quote_names,
)


def test_unreadable_image_names_file_and_reason_and_crosses_process_borders() -> None:
    error = pickle.loads(pickle.dumps(UnreadableImageError("a/b.png", "truncated")))
    assert (str(error), error.path, error.reason) == ("a/b.png: truncated", "a/b.png", "truncated")
    assert isinstance(error, DataError)


def test_exit_codes_are_those_of_the_contract() -> None:
    assert FeatherlightError.exit_code == 2
    assert TrainingStoppedError.exit_code == 1


@pytest.mark.parametrize("module", EXTRA_OF_MODULE)
def test_missing_module_is_explained_by_the_extra_that_brings_it(module: str) -> None:
    error = explain_missing(ModuleNotFoundError(f"No module named '{module}.nn'", name=f"{module}.nn"), "training")
    assert isinstance(error, MissingExtraError)
    assert str(error).startswith(f"training needs {module}, which is not installed.")
    assert f'pip install "featherlight[{EXTRA_OF_MODULE[module]}]"' in str(error)
    declared = Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8")
    assert re.search(rf"^{EXTRA_OF_MODULE[module]} = \[", declared, re.MULTILINE)


@pytest.mark.parametrize("name", ["numpy.nothing", None])
def test_module_that_no_extra_brings_stays_the_error_it_was(name: str | None) -> None:
    error = ModuleNotFoundError("No module named 'x'", name=name)
    assert explain_missing(error, "training") is error


def test_names_in_messages_are_few_and_short() -> None:
    assert quote_names(["cat", "it's"]) == "'cat', \"it's\""
    assert quote_names([str(k) for k in range(1000)], 2) == "'0', '1' and 998 more"
    assert quote_names(["x" * 1000]) == f"'{'x' * 40}...'"
