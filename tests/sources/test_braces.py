from __future__ import annotations

import re
from itertools import accumulate

import pytest
from braceexpand import UnbalancedBracesError, braceexpand
from hypothesis import assume, example, given
from hypothesis import strategies as st

from featherlight.errors import UsageError
from featherlight.sources.braces import expand_braces


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("train-{000..002}.tar", ["train-000.tar", "train-001.tar", "train-002.tar"]),
        ("{8..10}", ["8", "9", "10"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{0..9..4}", ["0", "4", "8"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
        ("{train-{0..1},val-0}.tar", ["train-0.tar", "train-1.tar", "val-0.tar"]),
        ("plain.tar", ["plain.tar"]),
        ("{one}.tar", ["{one}.tar"]),
        ("{open.tar", ["{open.tar"]),
        ("}{,}{", ["}{", "}{"]),
        ("", [""]),
    ],
)
def test_pattern_becomes_names(pattern: str, names: list[str]) -> None:
    assert expand_braces(pattern) == names


@given(st.text("ab0129{},.-", max_size=14))
@example("{{0..3..2},b}c")
@example("{a{1..2}}")
def test_names_are_those_of_the_library_that_webdataset_uses(pattern: str) -> None:
    # Where a brace is closed that none opened, the library gives up on the rest; shells and we do not (see above).
    depths = list(accumulate((character == "{") - (character == "}") for character in pattern))
    assume(not depths or (min(depths) >= 0 and depths[-1] == 0))
    try:
        expected = list(braceexpand(pattern, escape=False))
    except UnbalancedBracesError:
        assume(False)
    assume(not re.search(r"-\d*\.\.|\.\.-|[ab]\.\.[ab]", pattern))  # ranges of negative numbers and of letters
    assert expand_braces(pattern) == expected


@pytest.mark.parametrize("pattern", ["{0..999999999999}", "{0..9}" * 6, "{" * 3000 + ",}" * 3000])
def test_pattern_for_too_many_names_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="stands for more than 100,000 names"):
        expand_braces(pattern)
