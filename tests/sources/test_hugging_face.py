from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featherlight.errors import DataError, FeatherlightError, MissingExtraError, UnreadableImageError, UsageError
from featherlight.images import load_image
from featherlight.sources import Source, open_source
from hub_server import serve_hub
from shard_files import NAMES, picture, write_table

COUNTS = {"train": 24, "val": 6, "test": 5}


def save(folder: Path, **tables: datasets.Dataset) -> Path:
    datasets.DatasetDict(tables).save_to_disk(str(folder))
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save(tmp_path / "saved", train=write_table(24), validation=write_table(6, 24), test=write_table(5, 30))


def write_parquet(folder: Path, **tables: datasets.Dataset) -> Path:
    (folder / "data").mkdir(parents=True)
    for split, table in tables.items():
        table.to_parquet(str(folder / "data" / f"{split}-00000-of-00001.parquet"))
    return folder


def sizes(source: Source) -> dict[str, int]:
    return {name: len(split) for name, split in source.splits.items()}


def make(columns: dict[str, list[Any]], **features: Any) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features) if features else None)


PICTURES = [{"bytes": picture(k % 3, k), "path": None} for k in range(30)]
IMAGE = datasets.Image()
INTEGER, TEXT = datasets.Value("int64"), datasets.Value("string")


def test_saved_data_set_has_all_rows_with_their_classes(saved: Path) -> None:
    source = open_source(saved)
    assert (source.name, source.classes, sizes(source)) == (str(saved), NAMES, COUNTS)
    assert (source.own_splits, source.unreadable) == ((), ())
    for start, split in zip((0, 24, 30), source.splits.values(), strict=True):
        for k in range(len(split)):
            number = start + k
            assert split.labels[k] == number % 3
            assert split.read.encoded(k) == picture(number % 3, number)
            assert np.array_equal(split.read(k), load_image(picture(number % 3, number)))
    assert source.splits["val"].paths[1] == f"{saved}/validation/000001/000025.png"
    assert (source.splits["train"].shards, source.splits["train"].bring) == (None, None)


def test_reader_crosses_process_borders_without_the_table(saved: Path) -> None:
    read = open_source(saved).splits["train"].read
    pickled = pickle.dumps(read)
    assert len(pickled) < 10_000
    assert np.array_equal(pickle.loads(pickled)(13), read(13))


def test_stamp_tells_file_row_and_size(saved: Path) -> None:
    read = open_source(saved).splits["train"].read
    stamp = read.stamp(7)
    assert stamp is not None
    place, size, _ = stamp.rsplit("|", 2)
    assert place == f"{saved}/train/data-00000-of-00001.arrow:7"
    assert int(size) == len(picture(7 % 3, 7))
    assert len({read.stamp(k) for k in range(24)}) == 24


def test_rows_spread_over_files_are_found(tmp_path: Path) -> None:
    tables = datasets.DatasetDict({"train": write_table(24), "validation": write_table(6, 24)})
    tables.save_to_disk(str(tmp_path / "saved"), num_shards={"train": 5, "validation": 1})
    split = open_source(tmp_path / "saved").splits["train"]
    assert [split.read.encoded(k) for k in range(24)] == [picture(k % 3, k) for k in range(24)]


def test_folder_of_parquet_files_is_read_like_a_saved_one(tmp_path: Path, saved: Path) -> None:
    tables = {"train": write_table(24), "validation": write_table(6, 24), "test": write_table(5, 30)}
    source = open_source(write_parquet(tmp_path / "parquet", **tables))
    assert (source.classes, sizes(source)) == (NAMES, COUNTS)
    assert source.fingerprint == open_source(saved).fingerprint


def test_fingerprint_sees_a_changed_image_and_not_where_the_folder_lies(saved: Path, tmp_path: Path) -> None:
    first = open_source(saved).fingerprint
    assert open_source(saved.rename(tmp_path / "moved")).fingerprint == first
    changed = save(tmp_path / "new", train=write_table(24), validation=write_table(6, 24), test=write_table(5, 60))
    assert open_source(changed).fingerprint != first


def test_table_without_splits_is_cut_by_hash(tmp_path: Path) -> None:
    write_table(150).save_to_disk(str(tmp_path / "one"))
    write_parquet(tmp_path / "parquet", train=write_table(150))
    for folder in ("one", "parquet"):
        source = open_source(tmp_path / folder)
        assert source.own_splits == ("train", "val", "test")
        assert sum(sizes(source).values()) == 150
        assert sizes(open_source(tmp_path / folder, as_it_is=True)) == {"test": 150}


def test_one_parquet_file_is_enough(tmp_path: Path) -> None:
    write_table(150).to_parquet(str(tmp_path / "birds[1].parquet"))
    source = open_source(tmp_path / "birds[1].parquet")
    assert (source.classes, sum(sizes(source).values())) == (NAMES, 150)
    assert source.name == str(tmp_path / "birds[1].parquet")


def test_plain_columns_are_told_by_their_names(tmp_path: Path) -> None:
    rows = {
        "id": list(range(30)),
        "image": [row["bytes"] for row in PICTURES],
        "label": [NAMES[k % 3] for k in range(30)],
    }
    write_parquet(tmp_path / "plain", train=make(rows), test=make(rows))
    source = open_source(tmp_path / "plain", as_it_is=True)
    assert source.classes == NAMES
    assert source.splits["train"].read.encoded(4) == picture(1, 4)


def test_numbers_without_names_are_their_own_names(tmp_path: Path) -> None:
    rows = {"img": PICTURES, "target": [k % 3 * 5 for k in range(30)]}
    table = make(rows, img=IMAGE, target=INTEGER)
    assert open_source(save(tmp_path / "x", train=table, test=table), as_it_is=True).classes == ("0", "5", "10")


def test_rows_without_label_or_image_are_named(tmp_path: Path) -> None:
    rows = {"image": [None, *PICTURES[1:4]], "label": ["a", "b", None, "a"]}
    table = make(rows, image=IMAGE, label=TEXT)
    source = open_source(save(tmp_path / "x", train=table, validation=table))
    assert [path for path, _ in source.unreadable] == [f"{tmp_path}/x/train/000002", f"{tmp_path}/x/validation/000002"]
    with pytest.raises(UnreadableImageError, match="no image in this row"):
        source.splits["train"].read(0)


def test_test_images_without_labels_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = make(
        {"image": PICTURES[:5], "label": [-1] * 5}, image=IMAGE, label=datasets.ClassLabel(names=list(NAMES))
    )
    source = open_source(save(tmp_path / "x", train=write_table(24), validation=write_table(6), test=unknown))
    assert sizes(source) == {"train": 24, "val": 6}
    assert "none of the 5 test images has a label" in capsys.readouterr().err


def test_images_that_are_files_beside_the_table_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(0, 0))
    paths = [str(tmp_path / "a.png"), str(tmp_path / "gone.png")]
    images = pa.array([{"bytes": None, "path": path} for path in paths], IMAGE.pa_type)
    features = {"image": {"_type": "Image"}, "label": {"dtype": "int64", "_type": "Value"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"image": images, "label": [0, 1]}).replace_schema_metadata(about)
    (tmp_path / "x").mkdir()
    for split in ("train", "validation"):
        pq.write_table(table, tmp_path / "x" / f"{split}.parquet")
    split = open_source(tmp_path / "x").splits["train"]
    assert split.read.encoded(0) == picture(0, 0)
    assert str(split.read.stamp(0)).startswith(f"{tmp_path}/a.png|")
    assert split.read.stamp(1) is None
    with pytest.raises(UnreadableImageError, match=r"000001/gone\.png: no such file: .*gone\.png"):
        split.read(1)


def two_of_each() -> datasets.Dataset:
    names = datasets.ClassLabel(names=list(NAMES))
    columns = {
        "left": PICTURES,
        "right": PICTURES[::-1],
        "fine": [k % 3 for k in range(30)],
        "coarse": [k % 2 for k in range(30)],
    }
    return make(columns, left=IMAGE, right=IMAGE, fine=names, coarse=names)


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    folder = save(tmp_path / "x", train=two_of_each(), validation=two_of_each())
    with pytest.raises(DataError, match=r"several columns of images, left, right; .* #image=left"):
        open_source(folder)
    with pytest.raises(DataError, match=r"several columns of labels, fine, coarse; .* #label=fine"):
        open_source(f"{folder}#image=right")
    source = open_source(f"{folder}#image=right,label=coarse")
    assert source.name == f"{folder}#image=right,label=coarse"
    assert source.classes == NAMES[:2]
    assert source.splits["train"].read.encoded(0) == picture(29 % 3, 29)
    with pytest.raises(DataError, match="x/train: has no column middle; there are: left, right, fine, coarse"):
        open_source(f"{folder}#image=middle,label=fine")


def test_group_can_be_a_column_or_a_pattern(tmp_path: Path) -> None:
    groups = [f"p{k // 5:02}" for k in range(150)]
    write_table(150, person=groups).save_to_disk(str(tmp_path / "x"))
    source = open_source(tmp_path / "x", group_by="person")
    found = [{groups[int(path.split("/")[-2])] for path in split.paths} for split in source.splits.values()]
    assert len(set.union(*found)) == sum(map(len, found)) == 30
    assert open_source(tmp_path / "x", group_by=r"\d+(?=\d\.png)").splits["train"].groups is not None


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"train": make({"text": ["a"], "label": [1]})}, "has no column of images; there are: text, label"),
        ({"train": make({"image": PICTURES}, image=IMAGE)}, "has no column of labels; .*there are: image"),
        ({"train": make({"image": PICTURES[:2], "label": [0.5, 1.5]}, image=IMAGE, label=datasets.Value("float32"))},
         "the column label holds float, but a label is a text or a number"),
        ({"train": make({"image": PICTURES[:2], "label": [[0], [1]]}, image=IMAGE, label=datasets.List(INTEGER))},
         "the column label holds list"),
        ({"val_a": write_table(3), "val_b": write_table(3)}, "its splits val_a and val_b are both val"),
        ({"alpha": write_table(3), "beta": write_table(3)}, "none of its splits is train, .*there are: alpha, beta"),
        ({"test": write_table(3)}, "has test, but no train images"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_trained_on_are_refused(
    tmp_path: Path, tables: dict[str, datasets.Dataset], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        open_source(save(tmp_path / "x", **tables))


def test_other_splits_are_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(tmp_path / "x", train=write_table(24), valid=write_table(6), extra=write_table(5))
    assert sizes(open_source(folder)) == {"train": 24, "val": 6}
    assert "the split extra is left out" in capsys.readouterr().err


def test_configurations_are_listed_and_can_be_chosen(tmp_path: Path) -> None:
    for name, count in (("big", 24), ("small", 12)):
        (tmp_path / "x" / name).mkdir(parents=True)
        write_table(count).to_parquet(str(tmp_path / "x" / name / "train.parquet"))
        write_table(6, 50).to_parquet(str(tmp_path / "x" / name / "test.parquet"))
    files = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train.parquet\n"
        f"  - split: test\n    path: {name}/test.parquet\n"
        for name in ("big", "small")
    )
    (tmp_path / "x" / "README.md").write_text(f"---\nconfigs:\n{files}---\n")
    with pytest.raises(DataError, match=r"several configurations, \['big', 'small'\]; .* #config=NAME"):
        open_source(tmp_path / "x")
    source = open_source(f"{tmp_path}/x#config=small", as_it_is=True)
    assert sizes(source) == {"train": 12, "test": 6}
    assert source.name == f"{tmp_path}/x#config=small"


def test_script_in_the_folder_is_not_run(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path / "evil", train=write_table(24))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(DataError, match="scripts are no longer supported"):
        open_source(folder)
    assert not (tmp_path / "ran").exists()


def test_damaged_table_is_an_error(saved: Path) -> None:
    file = saved / "train" / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(DataError, match="cannot be read"):
        open_source(saved)
    file.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        open_source(saved)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**5), st.binary(min_size=1, max_size=9)), min_size=1, max_size=5))
def test_damaged_bytes_are_read_or_reported(saved: Path, changes: list[tuple[int, bytes]]) -> None:
    file = saved / "train" / "data-00000-of-00001.arrow"
    backup = saved.parent / "backup"
    if not backup.exists():
        backup.write_bytes(file.read_bytes())
    data = bytearray(backup.read_bytes())
    for place, content in changes:
        data[place % len(data) : place % len(data) + len(content)] = content
    file.unlink()  # a new file: the one that is mapped must not change
    file.write_bytes(data)
    try:
        split = open_source(saved, as_it_is=True).splits["train"]
        for k in range(len(split)):
            split.read(k)
    except FeatherlightError:
        pass


def test_data_larger_than_memory_is_read_along_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = datasets.DatasetDict({"train": write_table(24), "validation": write_table(6, 24)})
    tables.save_to_disk(str(tmp_path / "saved"), num_shards={"train": 4, "validation": 1})
    monkeypatch.setattr("featherlight.sources.hugging_face.memory_bytes", lambda: 3000)
    split = open_source(tmp_path / "saved").splits["train"]
    assert split.shards is not None
    assert split.shards.tolist() == [k // 6 for k in range(24)]


def test_missing_library_says_how_to_install_it(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r'pip install "featherlight\[huggingface\]"'):
        open_source(saved)


# ---- the hub


@pytest.mark.parametrize("data", ["hf://", "hf://a/b/c", "hf://a b", "hf://owner/name@"])
def test_what_is_no_name_on_the_hub_is_refused(data: str) -> None:
    with pytest.raises(UsageError, match="is no name on the hub; write hf://owner/name"):
        open_source(data)


def test_folder_that_would_be_read_instead_of_the_hub_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="a folder owner/name lies here and would be read instead"):
        open_source("hf://owner/name")


SCRIPT = """
import json, sys
from featherlight.sources import open_source
source = open_source(sys.argv[1])
split = source.splits["train"]
shown = {name: len(images) for name, images in source.splits.items()}
print(json.dumps([source.name, source.classes, shown, split.paths[1], split.read(1).shape, source.fingerprint]))
"""


def run_with_hub(data: str, home: Path, endpoint: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the library looks at its variables only once."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "FEATHERLIGHT_OFF"))
    }
    environment |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "no_proxy": "127.0.0.1", **variables}
    command = [sys.executable, "-c", SCRIPT, data]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_name_on_the_hub_is_fetched_once_and_then_needs_no_network(tmp_path: Path) -> None:
    tables = {"train": write_table(24), "validation": write_table(6, 24), "test": write_table(5, 30)}
    folder = write_parquet(tmp_path / "repo", **tables)
    with serve_hub(folder) as hub:
        first = run_with_hub("hf://owner/name@main", tmp_path / "hf", hub.url, HF_TOKEN="hf_secret")
        assert first.returncode == 0, first.stderr
        assert sorted(name for name in hub.fetched if name.endswith(".parquet")) == sorted(
            f"data/{split}-00000-of-00001.parquet" for split in tables
        )
        assert "Bearer hf_secret" in hub.tokens
    name, classes, shown, path, shape, found = json.loads(first.stdout)
    assert (name, tuple(classes), shown) == ("hf://owner/name@main", NAMES, COUNTS)
    assert (path, shape) == ("owner/name@main/train/000001/000001.png", [16, 16, 3])
    assert found == open_source(folder).fingerprint
    again = run_with_hub("hf://owner/name@main", tmp_path / "hf", hub.url, FEATHERLIGHT_OFFLINE="1")
    assert again.stdout == first.stdout, again.stderr


def test_hub_that_cannot_be_reached_says_what_to_do(tmp_path: Path) -> None:
    code = "import sys; from featherlight.cli.main import run; sys.exit(run(sys.argv[1:]))"
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "FEATHERLIGHT_OFFLINE": "1",
    }
    command = [sys.executable, "-c", code, "train", "hf://owner/name", "--out", str(tmp_path / "run")]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
    assert "hf://owner/name: cannot be had from the hub" in answer.stderr
    assert "set HF_HOME to a cache that holds it" in answer.stderr
    assert "hf download owner/name --repo-type dataset --local-dir DIR" in answer.stderr
    assert not (tmp_path / "run").exists()


def test_arrow_memory_stays_small(tmp_path: Path) -> None:
    noise = [{"bytes": np.random.default_rng(k).bytes(2**20), "path": None} for k in range(64)]
    make({"image": noise, "label": [0, 1] * 32}, image=IMAGE, label=INTEGER).save_to_disk(str(tmp_path / "big"))
    before = pa.total_allocated_bytes()
    source = open_source(tmp_path / "big", as_it_is=True)
    assert len(source.splits["test"]) == 64
    assert pa.total_allocated_bytes() - before < 2**22
