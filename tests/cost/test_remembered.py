from __future__ import annotations

from pathlib import Path

import pytest

from featherlight.cost.remembered import MAX_BYTES, Remembered


def test_what_was_put_is_known_the_next_time(tmp_path: Path) -> None:
    Remembered(tmp_path / "table.json").put({"b": 1, "a": "x"}, {"ms": 1.5})
    assert Remembered(tmp_path / "table.json").get({"a": "x", "b": 1}) == {"ms": 1.5}
    assert Remembered(tmp_path / "table.json").get({"a": "y", "b": 1}) == {}


def test_of_more_keys_the_oldest_are_forgotten(tmp_path: Path) -> None:
    table = Remembered(tmp_path / "table.json", max_keys=2)
    for number in (1, 2, 1, 3):
        table.put({"key": number}, {"value": number})
    assert [table.get({"key": number}) for number in (1, 2, 3)] == [{"value": 1}, {}, {"value": 3}]


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", '{"{\\"key\\": 1}": 5}', "[" * 100_000])
def test_a_damaged_file_is_as_if_it_were_not_there(tmp_path: Path, content: str) -> None:
    (tmp_path / "table.json").write_text(content)
    table = Remembered(tmp_path / "table.json")
    assert table.get({"key": 1}) == {}
    table.put({"key": 1}, {"value": 2})
    assert table.get({"key": 1}) == {"value": 2}


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text('{"a": "' + "x" * MAX_BYTES + '"}')
    assert Remembered(tmp_path / "table.json").get({"key": 1}) == {}


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = Remembered(tmp_path / "file" / "table.json")
    memory.put({"key": 1}, {"value": 1})
    assert memory.get({"key": 1}) == {}
    assert (tmp_path / "file").read_text() == ""
