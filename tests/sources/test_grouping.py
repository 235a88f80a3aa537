from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.errors import UsageError
from featherlight.sources.grouping import group_names

NAMES = ["cat/cat_03_frame12.jpg", "cat/cat_03_frame13.jpg", "cat/cat_04_frame1.jpg", "dog/IMG_1118.jpg"]


def test_the_group_is_what_the_pattern_finds() -> None:
    assert group_names(NAMES, r"cat_\d+") == ("cat_03", "cat_03", "cat_04", "")


def test_parentheses_tell_which_part_counts() -> None:
    assert group_names(NAMES, r"cat_(\d+)_frame") == ("03", "03", "04", "")
    assert group_names(["a1-x9.png", "a2-x9.png", "b-x9.png"], r"(a\d)?.*x(\d)") == ("a1|9", "a2|9", "|9")


def test_a_pattern_that_finds_nothing_is_refused_with_an_example() -> None:
    with pytest.raises(UsageError, match=r"found in none of 4 names, the first: cat/cat_03_frame12.jpg"):
        group_names(NAMES, "person")


def test_what_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(UsageError, match="no regular expression"):
        group_names(NAMES, "(")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_whole_names_as_groups_are_the_names(names: list[str]) -> None:
    assert group_names(names, r"(?s)^.*$") == tuple(names)
