from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.errors import DataError, UnreadableImageError, UsageError
from featherlight.sources import Source, open_source

MakeImages = Callable[..., list[Path]]
Photos = list[tuple[str, str]]
Write = Callable[[Path, Sequence[str], Sequence[Sequence[object]]], None]


def write_csv(file: Path, names: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str = ",") -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([names, *rows])


def write_tsv(file: Path, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    write_csv(file, names, rows, "\t")


def write_semicolons(file: Path, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    write_csv(file, names, rows, ";")


def write_json(file: Path, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    file.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))


def write_parquet(file: Path, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(
        pa.table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}), file
    )


FORMATS = {
    "m.csv": write_csv,
    "semicolons.csv": write_semicolons,
    "m.tsv": write_tsv,
    "m.jsonl": write_json,
    "m.ndjson": write_json,
    "M.JSON": write_json,
    "m.parquet": write_parquet,
    "m.pq": write_parquet,
}


def counts(source: Source) -> dict[str, int]:
    return {name: len(split) for name, split in source.splits.items()}


def refusal(data: Path, **options: object) -> str:
    with pytest.raises(DataError) as error:
        open_source(data, **options)  # type: ignore[arg-type]
    return str(error.value)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_source(tmp_path: Path, photos: Photos, name: str) -> None:
    rows = [
        (path, label, ("train", "valid", "TEST")[k % 3], 1 + k % 2, f"p{k % 7}")
        for k, (path, label) in enumerate(photos)
    ]
    FORMATS[name](tmp_path / name, ("Image Path", "class", "split", "weight", "group"), rows)
    source = open_source(tmp_path / name)
    assert source.name == str(tmp_path / name)
    assert source.classes == ("cat", "dog")
    assert counts(source) == {"train": 34, "val": 33, "test": 33}
    assert source.own_splits == ()
    val = source.splits["val"]
    assert val.paths == tuple(str(tmp_path / path) for path, *_ in rows[1::3])
    assert [source.classes[k] for k in val.labels] == [label for _, label, *_ in rows[1::3]]
    assert val.weights is not None
    assert val.weights.dtype == np.float32
    assert val.weights.tolist() == [weight for *_, weight, _ in rows[1::3]]
    assert val.groups == tuple(group for *_, group in rows[1::3])
    np.testing.assert_array_equal(val.read(3), np.array(Image.open(val.paths[3])))


def test_formats_have_one_fingerprint(tmp_path: Path, photos: Photos) -> None:
    for name, write in FORMATS.items():
        write(tmp_path / name, ("path", "label"), photos)
    assert len({open_source(tmp_path / name).fingerprint for name in FORMATS}) == 1


def test_order_of_rows_plays_no_part(tmp_path: Path, photos: Photos) -> None:
    write_csv(tmp_path / "a.csv", ("path", "label"), photos)
    write_csv(tmp_path / "b.csv", ("label", "path"), [(label, path) for path, label in reversed(photos)])
    one, other = open_source(tmp_path / "a.csv"), open_source(tmp_path / "b.csv")
    assert one.fingerprint == other.fingerprint
    assert all(one.splits[name].paths == other.splits[name].paths for name in ("train", "val", "test"))


def test_without_split_column_images_are_split_by_hash(tmp_path: Path, photos: Photos) -> None:
    write_csv(tmp_path / "m.csv", ("path", "label"), photos)
    source = open_source(tmp_path / "m.csv")
    assert source.own_splits == ("train", "val", "test")
    assert sum(counts(source).values()) == 100
    assert counts(source)["train"] > 60


def test_manifest_of_a_folder_is_split_as_the_folder(tmp_path: Path, make_images: MakeImages) -> None:
    files = [file for name in ("cat", "dog") for file in make_images(tmp_path / "pets" / name, 40)]
    rows = [(file.relative_to(tmp_path).as_posix(), file.parent.name) for file in files]
    write_csv(tmp_path / "pets.csv", ("path", "label"), rows)
    folder, manifest = open_source(tmp_path / "pets"), open_source(tmp_path / "pets.csv")
    assert {n: s.paths for n, s in folder.splits.items()} == {n: s.paths for n, s in manifest.splits.items()}
    assert all((folder.splits[name].labels == manifest.splits[name].labels).all() for name in folder.splits)


def test_missing_val_is_cut_out_of_train(tmp_path: Path, photos: Photos) -> None:
    rows = [(*row, "test" if k < 10 else "train") for k, row in enumerate(photos)]
    write_csv(tmp_path / "m.csv", ("path", "label", "split"), rows)
    source = open_source(tmp_path / "m.csv")
    assert source.splits["test"].paths == tuple(str(tmp_path / path) for path, _ in photos[:10])
    assert len(source.splits["train"]) + len(source.splits["val"]) == 90
    assert source.own_splits == ("train", "val")


def test_as_it_is_nothing_is_cut(tmp_path: Path, photos: Photos) -> None:
    write_csv(tmp_path / "m.csv", ("path", "label"), photos[:1])
    assert counts(open_source(tmp_path / "m.csv", as_it_is=True)) == {"test": 1}
    write_csv(tmp_path / "m.csv", ("path", "label", "split"), [(*photos[0], "val")])
    assert counts(open_source(tmp_path / "m.csv", as_it_is=True)) == {"val": 1}


# ---- groups


ANIMALS = {f"p{k:02}" for k in range(50)}


def grouped(source: Source) -> list[set[str]]:
    return [set(split.groups or ()) for split in source.splits.values()]


@pytest.mark.parametrize(
    ("column", "group_by"), [("group", None), ("patient", None), ("camera", "camera"), ("note", r"p\d\d")]
)
def test_groups_stay_on_one_side(tmp_path: Path, photos: Photos, column: str, group_by: str | None) -> None:
    write_csv(tmp_path / "m.csv", ("path", "label", column), [(*row, f"p{k // 2:02}") for k, row in enumerate(photos)])
    sides = grouped(open_source(tmp_path / "m.csv", group_by=group_by))
    assert set.union(*sides) == ANIMALS
    assert sum(map(len, sides)) == len(ANIMALS)


def test_pattern_comes_before_a_column_that_nobody_named(tmp_path: Path, photos: Photos) -> None:
    write_csv(tmp_path / "m.csv", ("path", "label", "group"), [(*row, "all the same") for row in photos])
    assert set.union(*grouped(open_source(tmp_path / "m.csv", group_by=r"p\d\d"))) == ANIMALS


def test_several_columns_of_groups_must_be_chosen_from(tmp_path: Path, photos: Photos) -> None:
    write_csv(tmp_path / "m.csv", ("path", "label", "patient", "video"), [(*row, k, 1) for k, row in enumerate(photos)])
    assert refusal(tmp_path / "m.csv").endswith(
        "'patient', 'video' could each tell which images belong together; say which with --group-by COLUMN"
    )
    assert open_source(tmp_path / "m.csv", as_it_is=True).splits["test"].groups is None
    assert len(set.union(*grouped(open_source(tmp_path / "m.csv", group_by="patient")))) == 100


def test_group_by_that_is_neither_column_nor_found_lists_the_columns(tmp_path: Path, photos: Photos) -> None:
    write_csv(tmp_path / "m.csv", ("path", "label", "patient"), [(*row, 1) for row in photos])
    with pytest.raises(
        UsageError, match=r"is found in none of 100 names.*nor is it a column: 'path', 'label', 'patient'"
    ):
        open_source(tmp_path / "m.csv", group_by="patiant")


def test_lists_have_groups_by_pattern(tmp_path: Path, photos: Photos) -> None:
    (tmp_path / "val.txt").write_text("".join(f"{path} {k % 2}\n" for k, (path, _) in enumerate(photos[50:])))
    (tmp_path / "train.txt").write_text("".join(f"{path} {k % 2}\n" for k, (path, _) in enumerate(photos[:50])))
    assert grouped(open_source(tmp_path, group_by=r"p\d\d")) == [set(sorted(ANIMALS)[:25]), set(sorted(ANIMALS)[25:])]


# ---- folders of tables


def test_folder_with_a_table_for_each_split(tmp_path: Path, photos: Photos) -> None:
    write_csv(tmp_path / "train.csv", ("path", "label"), photos[:60])
    write_json(tmp_path / "val.jsonl", ("file", "class", "weight"), [(*row, 2) for row in photos[60:]])
    source = open_source(tmp_path)
    assert counts(source) == {"train": 60, "val": 40}
    assert source.splits["train"].weights is not None
    assert source.splits["train"].weights.tolist() == [1] * 60


def test_class_folders_come_before_tables(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / name, 40)
    write_csv(tmp_path / "train.csv", ("path", "label"), [("x.png", "cow")])
    assert open_source(tmp_path).classes == ("cat", "dog")


def test_folder_that_is_none_points_to_the_manifest_in_it(tmp_path: Path, photos: Photos) -> None:
    write_csv(tmp_path / "labels.csv", ("path", "label"), photos)
    assert refusal(tmp_path).endswith(f"; or give the manifest that lies in it: {tmp_path}/labels.csv")
    assert sum(counts(open_source(tmp_path / "labels.csv")).values()) == 100


def test_table_of_a_split_with_a_split_column_is_refused(tmp_path: Path, photos: Photos) -> None:
    write_csv(tmp_path / "train.csv", ("path", "label", "split"), [(*row, "train") for row in photos])
    assert refusal(tmp_path).endswith(
        "train.csv: its name says the split, and so does a column of it; give the file alone"
    )


# ---- paths


def test_paths_are_relative_to_the_manifest_or_absolute(
    tmp_path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    rows = [(f"../{path}" if k % 2 else str(tmp_path / path), label) for k, (path, label) in enumerate(photos)]
    write_csv(tmp_path / "lists" / "m.csv", ("path", "label"), rows)
    monkeypatch.chdir(tmp_path)
    source = open_source("lists/m.csv")
    assert source.unreadable == ()
    assert sum(counts(source).values()) == 100


def test_manifest_and_images_may_move_together(tmp_path: Path, photos: Photos) -> None:
    write_csv(tmp_path / "m.csv", ("path", "label"), photos)
    shutil.copytree(tmp_path, tmp_path.parent / "moved")
    assert open_source(tmp_path / "m.csv").fingerprint == open_source(tmp_path.parent / "moved" / "m.csv").fingerprint


def test_home_is_not_expanded(tmp_path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_csv(tmp_path / "m.csv", ("path", "label"), [(f"~/{photos[0][0]}", "cat")])
    assert open_source(tmp_path / "m.csv", as_it_is=True).splits["test"].paths == (f"{tmp_path}/~/{photos[0][0]}",)


@pytest.mark.skipif(os.sep != "/", reason="elsewhere a backslash is a separator anyway")
def test_separators_of_windows_are_understood(tmp_path: Path, photos: Photos) -> None:
    odd = tmp_path / "img" / "a\\b.png"
    shutil.copy(tmp_path / photos[0][0], odd)
    rows = [("img\\a\\b.png", "cat"), ("img/a\\b.png", "cat"), ("img\\p00_1.png", "dog"), ("img\\none.png", "dog")]
    write_csv(tmp_path / "m.csv", ("path", "label"), rows)
    assert set(open_source(tmp_path / "m.csv", as_it_is=True).splits["test"].paths) == {
        str(odd),
        str(tmp_path / "img/a/b.png"),
        str(tmp_path / "img/p00_1.png"),
        str(tmp_path / "img/none.png"),
    }


NAMES = ["a b.png", 'quote".png', "comma,.png", "line\nend.png", "ünïcode-猫.png", " leading.png", "x" * 251 + ".png"]


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl", "m.parquet"])
def test_odd_names_are_found(tmp_path: Path, photos: Photos, name: str) -> None:
    for odd in NAMES:
        shutil.copy(tmp_path / photos[0][0], tmp_path / odd)
    FORMATS[name](tmp_path / name, ("path", "label"), [(odd, "cat") for odd in NAMES])
    split = open_source(tmp_path / name, as_it_is=True).splits["test"]
    assert [split.read(k).shape for k in range(len(NAMES))] == [(6, 6, 3)] * len(NAMES)


# ---- what can be wrong


def test_absent_files_are_named_and_left_out(tmp_path: Path, photos: Photos) -> None:
    (tmp_path / photos[4][0]).unlink()
    (tmp_path / photos[6][0]).write_bytes(b"")
    write_csv(tmp_path / "m.csv", ("path", "label"), [*photos, ("none.png", "cat"), ("nul\0", "dog"), ("img", "dog")])
    source = open_source(tmp_path / "m.csv")
    assert dict(source.unreadable) == {
        str(tmp_path / photos[4][0]): "no such file",
        str(tmp_path / photos[6][0]): "empty file",
        str(tmp_path / "none.png"): "no such file",
        f"{tmp_path}/nul\0": "damaged",
        str(tmp_path / "img"): "a folder, not an image",
    }
    assert sum(counts(source).values()) == 98


def test_strict_refuses_absent_files_at_once(tmp_path: Path, photos: Photos) -> None:
    rows = [(path, label, "val" if k % 5 == 0 else "train") for k, (path, label) in enumerate(photos)]
    write_csv(tmp_path / "m.csv", ("path", "label", "split"), [*rows, ("none.png", "cat", "val")])
    assert counts(open_source(tmp_path / "m.csv")) == {"train": 80, "val": 21}
    with pytest.raises(UnreadableImageError, match=r"none\.png: no such file"):
        open_source(tmp_path / "m.csv", strict=True)


def test_repeated_rows_count_and_are_told(tmp_path: Path, photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*photos, photos[0], photos[0], (photos[1][0], "cat")]
    write_csv(tmp_path / "m.csv", ("path", "label"), rows)
    source = open_source(tmp_path / "m.csv")
    assert sum(counts(source).values()) == 103
    assert capsys.readouterr().err.startswith(
        f"{tmp_path}/m.csv: 3 rows name an image that another row names too, 1 of them with another label; all count\n"
    )
    splits_of_first = [
        name for name, split in source.splits.items() for path in split.paths if path.endswith("p00_0.png")
    ]
    assert len(splits_of_first) == 3
    assert len(set(splits_of_first)) == 1


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_manifest_without_rows_is_told(tmp_path: Path, name: str) -> None:
    FORMATS[name](tmp_path / name, ("path", "label"), [("a", "b")])
    if name == "m.csv":
        (tmp_path / name).write_text("path,label\n")
        assert refusal(tmp_path / name) == f"{tmp_path}/m.csv: has columns, but no rows"
    (tmp_path / name).write_bytes(b"")
    assert refusal(tmp_path / name).startswith(f"{tmp_path}/{name}: ")


def test_parquet_without_rows_is_told(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(
        pa.table({"path": pa.array([], pa.string()), "label": pa.array([], pa.string())}), tmp_path / "m.parquet"
    )
    assert refusal(tmp_path / "m.parquet") == f"{tmp_path}/m.parquet: has columns, but no rows"


def test_parquet_with_images_inside_says_so(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"image": [{"bytes": b"x", "path": "a"}], "label": [1]}), tmp_path / "m.parquet")
    assert refusal(tmp_path / "m.parquet").endswith(
        "Its columns: 'image', 'label'; 'image' holds struct<bytes: binary, path: string>, no texts or numbers"
    )


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([("a.png", "cat", "train")], "only one class, 'cat', so there is nothing to tell apart"),
        ([("a.png", "cat", "val"), ("b.png", "dog", "test")], "no row is in the train split, only in val, test"),
        (
            [("a.png", "cat", "train"), ("b.png", "dog", "train"), ("c.png", "cow", "val")],
            "val has classes that train does not have: 'cow'",
        ),
    ],
)
def test_classes_and_splits_that_cannot_be_trained_on(tmp_path: Path, rows: Photos, problem: str) -> None:
    write_csv(tmp_path / "m.csv", ("path", "label", "split"), rows)
    assert refusal(tmp_path / "m.csv") == f"{tmp_path}/m.csv: {problem}"


def test_many_unknown_classes_do_not_fill_the_screen(tmp_path: Path) -> None:
    rows = [(f"{k}.png", f"class {k}", "train" if k < 2 else "val") for k in range(5000)]
    write_csv(tmp_path / "m.csv", ("path", "label", "split"), rows)
    assert refusal(tmp_path / "m.csv").endswith("'class 1006', 'class 1007' and 4,988 more")


@pytest.mark.parametrize("name", ["m.csv", "m.parquet", "train.txt"])
def test_folder_of_that_name_is_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert "no images; expected one folder a class" in refusal(tmp_path / name)


def test_manifest_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\n")
    (tmp_path / "m.csv").chmod(0)
    if os.access(tmp_path / "m.csv", os.R_OK):
        pytest.skip("this user may read everything")
    assert refusal(tmp_path / "m.csv") == f"{tmp_path}/m.csv: no permission to read it"
