from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherlight.phrases import Counted, Joined, Phrase, counted, joined, pack, phrase, unpack

WORDS = st.text(max_size=8)
TEXTS = st.recursive(
    WORDS | st.builds(counted, st.integers(0, 3000), st.sampled_from(["image", "class"])),
    lambda inner: st.one_of(
        st.builds(lambda a, b: phrase("{a} is not {b}", a=a, b=b), inner, inner),
        st.builds(joined, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)


def test_phrase_is_the_english_text_and_knows_its_parts() -> None:
    made = phrase("{name} has {costs}", name="a {model}", costs=phrase("{times}x the size", times=2))
    assert made == "a {model} has 2x the size"
    assert json.dumps([made]) == '["a {model} has 2x the size"]'
    assert (made.template, made.values["name"]) == ("{name} has {costs}", "a {model}")
    assert isinstance(made.values["costs"], Phrase)


def test_text_with_braces_and_without_values_is_itself() -> None:
    assert phrase("cannot be read: {") == "cannot be read: {"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 classes"), (1, "1 class"), (2, "2 classes"), (2000, "2,000 classes")]
)
def test_things_are_counted_in_singular_or_plural(number: int, text: str) -> None:
    made = counted(number, "class")
    assert made == text
    assert (made.number, made.noun) == (number, "class")


def test_texts_are_joined_as_people_write_them() -> None:
    assert [joined(parts) for parts in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert joined(["a", "b", "c"], "; ", "; ") == "a; b; c"


def test_what_is_missing_is_told_at_once() -> None:
    with pytest.raises(KeyError, match="name"):
        phrase("{name} has {costs}", costs="none")


@settings(max_examples=50)
@given(TEXTS)
def test_texts_come_back_from_json_from_copies_and_from_other_processes(text: str) -> None:
    for again in (unpack(json.loads(json.dumps(pack(text)))), copy.deepcopy(text), pickle.loads(pickle.dumps(text))):
        assert again == text
        assert type(again) is type(text)
        assert pack(again) == pack(text)


def test_kinds_are_told_apart() -> None:
    assert [type(text) for text in (phrase("a"), counted(1, "a"), joined(["a", "b"]), joined(["a"]))] == [
        Phrase, Counted, Joined, str,
    ]  # fmt: skip
