from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.sources.findings import KINDS, SEVERITIES, Finding, Findings, Suggestion, order_findings

NAMES = st.text(st.characters(codec=None), max_size=12)  # lone surrogates too: bytes of names that are no UTF-8
FINDINGS = st.builds(
    Finding,
    kind=st.sampled_from(list(KINDS)),
    severity=st.sampled_from(SEVERITIES),
    paths=st.lists(NAMES, max_size=3).map(tuple),
    message=NAMES,
    classes=st.lists(NAMES, max_size=2).map(tuple),
    suggestion=st.none() | st.builds(Suggestion, NAMES, NAMES, st.floats(0, 1)),
    harm=st.floats(0, 1),
)


def findings(*found: Finding) -> Findings:
    return Findings("data", 9, {"a": {"train": 5}, "b": {"train": 4}}, 32, order_findings(found))


@given(st.lists(FINDINGS), st.randoms())
def test_order_does_not_depend_on_how_they_came(found: list[Finding], random: object) -> None:
    mixed = list(found)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert [f.to_row() for f in order_findings(mixed)] == [f.to_row() for f in order_findings(found)]


@given(st.lists(FINDINGS))
def test_order_is_by_severity_then_kind_then_harm(found: list[Finding]) -> None:
    ordered = order_findings(found)
    assert sorted(map(id, ordered)) == sorted(map(id, found))
    keys = [(SEVERITIES.index(f.severity), list(KINDS).index(f.kind), -f.harm) for f in ordered]
    assert keys == sorted(keys)


@given(st.lists(FINDINGS, max_size=5))
def test_json_written_in_parts_is_the_whole(found: list[Finding]) -> None:
    result = findings(*found)
    text = "".join(result.json_parts())
    assert json.loads(text) == result.to_dict()
    text.encode("ascii")


def test_rows_have_the_fields_of_the_contract_first() -> None:
    plain = Finding("leak", "error", ("a", "b"), "the same", positions=(1, 2))
    assert plain.to_row() == {"kind": "leak", "severity": "error", "paths": ["a", "b"], "message": "the same"}
    label = Finding("label_error", "warning", ("a",), "wrong", suggestion=Suggestion("cat", "dog", 0.9))
    assert list(label.to_row())[4:] == ["label", "suggested", "probability"]
    assert Finding("imbalance", "note", (), "", classes=("cat",)).to_row()["classes"] == ["cat"]
    top = findings(plain).to_dict()
    assert list(top) == ["data", "num_images", "input_size", "classes", "findings"]


def test_a_truncated_file_is_told_once() -> None:
    rows = [Finding(kind, "error", ("a.jpg",), "") for kind in ("unreadable", "truncated")]
    result = findings(*rows, Finding("dark", "note", ("b",), ""))
    assert len(result) == 3
    assert [f.kind for f in result.told()] == ["unreadable", "dark"]
    assert [result.count(severity) for severity in SEVERITIES] == [1, 0, 1]


def test_splits_are_summed_over_classes() -> None:
    assert findings().split_counts() == {"train": 9}
    assert Findings("data", 1, {}, 32, ()).split_counts() == {}


def test_half_a_million_findings_are_written_piece_by_piece() -> None:
    finding = Finding("unreadable", "error", ("a/b.jpg",), "cannot be read: truncated")
    result = Findings("data", 500_000, {}, 32, (finding,) * 500_000)
    sizes = [len(part) for part in result.json_parts()]
    assert len(sizes) == 500_002
    assert max(sizes) < 200


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_title(kind: str) -> None:
    assert KINDS[kind][0].isupper()
