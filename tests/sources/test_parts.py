from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.errors import DataError
from featherlight.images import load_image
from featherlight.sources.parts import LARGEST, MOST_PARTS, SMALLEST, find_parts, size_for

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

Paint = Callable[[Path, str, int], Path]


def names(parts: Sequence[Any]) -> list[list[str]]:
    return [[name for name, _ in part.images()] for part in parts]


def colours(parts: Sequence[Any]) -> list[str]:
    """What is painted on each image, read where the parts have come to: in another process, say."""
    images = [image for part in pickle.loads(pickle.dumps(parts)) for _, image in part.images()]
    return ["rgb"[load_image(image).mean((0, 1)).argmax()] for image in images]


@pytest.fixture
def photos(tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``photos/`` with five images, from whose parent folder things are named."""
    for number, colour in enumerate(("red", "green", "blue", "red", "green")):
        paint(tmp_path / "photos" / f"{number}.png", colour, number)
    (tmp_path / "photos" / "notes.txt").touch()
    (tmp_path / "photos" / ".hidden.png").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def write(path: Path, columns: dict[str, Any], rows_in_group: int | None = None) -> None:
    pq.write_table(pa.table(columns), path, row_group_size=rows_in_group)


def test_a_folder_is_cut_into_parts_in_order_and_named_as_it_was_given(photos: Path) -> None:
    parts = find_parts(["photos"], 2)
    assert names(parts) == [["photos/0.png", "photos/1.png"], ["photos/2.png", "photos/3.png"], ["photos/4.png"]]
    assert [len(part) for part in parts] == [2, 2, 1]


def test_parts_are_read_wherever_the_process_stands(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = find_parts(["photos"], 2)
    monkeypatch.chdir("/")
    assert colours(parts) == ["r", "g", "b", "r", "g"]


def test_files_and_patterns_are_taken_beside_folders(photos: Path) -> None:
    parts = find_parts(["photos/4.png", "photos/[01].png"], 10)
    assert names(parts) == [["photos/4.png"], ["photos/0.png", "photos/1.png"]]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_table_names_images_from_its_own_folder_in_its_own_order(photos: Path, suffix: str) -> None:
    if suffix == "parquet":
        write(photos / "list.parquet", {"id": [7, 8, 9], "path": ["3.png", "1.png", "1.png"]})
    else:
        text = {"csv": "path\n3.png\n1.png\n1.png\n", "jsonl": "".join(f'{{"path": "{n}.png"}}\n' for n in (3, 1, 1))}
        (photos / f"list.{suffix}").write_text(text[suffix])
    parts = find_parts([f"photos/list.{suffix}"], 2)
    assert names(parts) == [["photos/3.png", "photos/1.png"], ["photos/1.png"]]
    assert colours(parts) == ["r", "g", "g"]


def test_images_held_in_a_table_are_parts_of_whole_row_groups(photos: Path) -> None:
    cells = [{"bytes": (photos / f"{number}.png").read_bytes(), "path": f"x/{number}.png"} for number in range(5)]
    write(photos.parent / "held.parquet", {"image": cells, "label": [0] * 5}, rows_in_group=1)
    parts = find_parts(["held.parquet"], 2)
    assert names(parts) == [
        ["held.parquet/000000/0.png", "held.parquet/000001/1.png"],
        ["held.parquet/000002/2.png", "held.parquet/000003/3.png"],
        ["held.parquet/000004/4.png"],
    ]
    assert colours(parts) == ["r", "g", "b", "r", "g"]


def test_plain_bytes_are_named_by_the_column_of_paths_beside_them(photos: Path) -> None:
    contents = [(photos / f"{number}.png").read_bytes() for number in (2, 0)]
    write(photos.parent / "held.parquet", {"path": ["b", None], "content": contents, "embedding": [b"1", b"2"]})
    parts = find_parts(["held.parquet"])
    assert names(parts) == [["b", "held.parquet/000001"]]
    assert colours(parts) == ["b", "r"]


def test_a_path_in_a_cell_without_bytes_is_read_from_the_tables_folder(photos: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    write(photos / "held.parquet", {"image": pa.array([{"bytes": None, "path": "2.png"}], kind)})
    assert colours(find_parts(["photos/held.parquet"])) == ["b"]


def test_other_bytes_beside_paths_are_no_images(photos: Path) -> None:
    write(photos / "list.parquet", {"path": ["2.png"], "embedding": [b"123"]})
    assert colours(find_parts(["photos/list.parquet"])) == ["b"]


def test_a_folder_of_tables_is_all_of_them(photos: Path) -> None:
    folder = photos.parent / "tables"
    folder.mkdir()
    for number in (1, 0):
        write(folder / f"{number}.parquet", {"image": [(photos / f"{number}.png").read_bytes()]})
    assert names(find_parts(["tables"])) == [["tables/0.parquet/000000"], ["tables/1.parquet/000000"]]
    assert names(find_parts(["tables/*.parquet"])) == names(find_parts(["tables"]))
    assert colours(find_parts(["tables"])) == ["r", "g"]


def test_a_row_without_an_image_does_not_stop_the_others(photos: Path) -> None:
    write(photos / "held.parquet", {"image": [None, (photos / "2.png").read_bytes()]})
    (part,) = find_parts(["photos/held.parquet"])
    (_, missing), (_, there) = part.images()
    with pytest.raises(DataError, match="no image in this row"):
        load_image(missing)
    assert load_image(there).shape == (32, 32, 3)


def test_the_key_of_a_part_tells_its_images(photos: Path) -> None:
    keys = {part.key() for part in (*find_parts(["photos"], 2), *find_parts(["photos"], 3))}
    assert len(keys) == 5
    assert [part.key() for part in find_parts(["photos"], 2)] == [part.key() for part in find_parts(["photos"], 2)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": ["a"]}, "no column for the path"),
        ({"path": ["1.png"], "file": ["1.png"]}, "could each be the path"),
        ({"path": ["1.png", None]}, "row 2: column 'path': None is no path"),
        ({"left": [b"1"], "right": [b"2"]}, "could each be the images"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(photos: Path, columns: dict[str, Any], message: str) -> None:
    write(photos / "list.parquet", columns)
    with pytest.raises(DataError, match=message):
        find_parts(["photos/list.parquet"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none", "none: no such file or folder"),
        ("empty", "empty: neither images nor Parquet files"),
        ("broken.parquet", "broken.parquet: no Parquet file, or damaged"),
        ("zero.parquet", "zero.parquet: no image"),
    ],
)
def test_what_leads_nowhere_is_named(photos: Path, given: str, message: str) -> None:
    (photos.parent / "empty").mkdir()
    (photos.parent / "broken.parquet").write_bytes(b"PAR1 not really PAR1")
    write(photos.parent / "zero.parquet", {"image": pa.array([], pa.binary())})
    with pytest.raises(DataError, match=message):
        find_parts([given])


@given(st.integers(0, 10**9))
def test_parts_are_neither_many_nor_large(images: int) -> None:
    size = size_for(images)
    assert size >= SMALLEST
    assert images / size <= MOST_PARTS
    assert size <= LARGEST or images / (size - 1) > MOST_PARTS  # no larger than it has to be


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 12))
def test_every_row_of_a_table_is_in_one_part(rows: list[int], size: int) -> None:
    from featherlight.sources.parts import ImageTable

    parts = list(ImageTable("t", None, "image", None, tuple(rows)).cut(size, os.sep))
    assert [group for part in parts for group in part.groups] == list(range(len(rows)))
    assert [part.first for part in parts] == [sum(rows[: part.groups[0]]) for part in parts]
    assert sum(map(len, parts)) == sum(rows)
    assert all(len(part) >= size for part in parts[:-1])
