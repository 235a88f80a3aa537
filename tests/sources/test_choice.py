from __future__ import annotations

from pathlib import Path

import pytest

from featherlight.errors import UsageError
from featherlight.sources.choice import Choice, split_choice


@pytest.mark.parametrize(
    ("data", "place", "choice"),
    [
        ("photos", "photos", Choice()),
        ("hf://a/b#label=fine_label", "hf://a/b", Choice(label="fine_label")),
        ("x-{0..9}.tar#image=left.jpg,label=cls", "x-{0..9}.tar", Choice(image="left.jpg", label="cls")),
        ("a#b#config=c", "a#b", Choice(config="c")),
        ("a#b", "a#b", Choice()),
        ("#label=x", "#label=x", Choice()),
    ],
)
def test_name_is_taken_apart_and_put_together(data: str, place: str, choice: Choice) -> None:
    assert split_choice(data) == (place, choice)
    assert f"{place}{choice}" == data


@pytest.mark.parametrize("data", ["a#lable=x", "a#label=", "a#label=x,label=y", "a#label=x,y", "a#label=x,size=3"])
def test_choice_that_does_not_exist_lists_those_that_do(data: str) -> None:
    with pytest.raises(UsageError, match="image=NAME, label=NAME, config=NAME"):
        split_choice(data)


def test_existing_path_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a#label=x").mkdir()
    assert split_choice(str(tmp_path / "a#label=x")) == (str(tmp_path / "a#label=x"), Choice())
