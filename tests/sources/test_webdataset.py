from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from featherlight.errors import DataError, UnreadableImageError, UsageError
from featherlight.images import load_image
from featherlight.sources import Source, open_source
from featherlight.sources.tar_index import index_shard
from shard_files import NAMES, picture, samples, write_shards, write_splits, write_tar

COUNTS = {"train": 25, "val": 6, "test": 5}


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write_splits(tmp_path / "shards", COUNTS)


def sizes(source: Source) -> dict[str, int]:
    return {name: len(split) for name, split in source.splits.items()}


def test_folder_of_shards_has_all_samples_with_their_classes(shards: Path) -> None:
    source = open_source(shards)
    assert (source.name, source.classes, sizes(source)) == (str(shards), NAMES, COUNTS)
    assert (source.own_splits, source.unreadable) == ((), ())
    for start, split in zip((0, 25, 31), source.splits.values(), strict=True):
        for k in range(len(split)):
            number = start + k
            assert split.labels[k] == number % 3
            assert split.read.encoded(k) == picture(number % 3, number)
            assert np.array_equal(split.read(k), load_image(picture(number % 3, number)))
    assert source.splits["train"].paths[10] == f"{shards}/train-0001.tar/000010.png"


def test_reader_crosses_process_borders(shards: Path) -> None:
    read = open_source(shards).splits["train"].read
    again = pickle.loads(pickle.dumps(read))
    assert np.array_equal(again(13), read(13))
    assert again.stamp(13) == read.stamp(13)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{train-{0000..0002},val-0000}.tar", {"train": 25, "val": 6}),
        ("train-*.tar::{root}/val-0000.tar", {"train": 25, "val": 6}),
        ("*.tar", COUNTS),
    ],
)
def test_shards_can_be_named_by_patterns(shards: Path, pattern: str, expected: dict[str, int]) -> None:
    source = open_source(f"{shards}/{pattern.replace('{root}', str(shards))}")
    assert sizes(source) == expected
    assert open_source(source.name).fingerprint == source.fingerprint
    assert (source.fingerprint == open_source(shards).fingerprint) == (expected == COUNTS)


def test_relative_patterns_become_absolute(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shards.parent)
    source = open_source("shards/train-{0000..0002}.tar::shards/val-0000.tar")
    assert source.name == f"{shards}/train-{{0000..0002}}.tar::{shards}/val-0000.tar"
    monkeypatch.chdir("/")
    assert open_source(source.name).fingerprint == source.fingerprint


def test_splits_can_be_told_by_folders(tmp_path: Path) -> None:
    write_shards(tmp_path / "train" / "%04d.tar", samples(20), 7)
    write_shards(tmp_path / "val" / "%04d.tar", samples(5, 20), 7)
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    assert sizes(open_source(tmp_path)) == {"train": 20, "val": 5}
    found = open_source(f"{tmp_path}/train/{{0000..0002}}.tar::{tmp_path}/val/0000.tar")
    assert (sizes(found), found.classes) == ({"train": 20, "val": 5}, NAMES)


def test_shards_without_splits_are_cut_by_hash(tmp_path: Path) -> None:
    write_shards(tmp_path / "%04d.tar", samples(200), 60)
    source = open_source(tmp_path)
    assert source.own_splits == ("train", "val", "test")
    assert sum(sizes(source).values()) == 200
    assert sizes(open_source(tmp_path, as_it_is=True)) == {"test": 200}


def test_single_shard_is_enough(tmp_path: Path) -> None:
    (shard,) = write_shards(tmp_path / "birds-%04d.tar", samples(60), 100)
    assert sum(sizes(open_source(shard)).values()) == 60


def test_shard_whose_name_tells_no_split_beside_others_is_refused(shards: Path) -> None:
    shutil.copy(shards / "train-0000.tar", shards / "extra-0000.tar")
    with pytest.raises(DataError, match=r"extra-0000\.tar: its name tells no split, while others do"):
        open_source(shards)


def test_groups_stay_on_one_side(tmp_path: Path) -> None:
    rows = ({"__key__": f"person{k // 5:02}_{k}", "png": picture(k % 3, k), "cls": NAMES[k % 3]} for k in range(150))
    write_shards(tmp_path / "%04d.tar", rows, 40)
    source = open_source(tmp_path, group_by=r"person\d+")
    people = [{path.rpartition("/")[2][:8] for path in split.paths} for split in source.splits.values()]
    assert len(set.union(*people)) == sum(map(len, people)) == 30


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "owl\n\ncat \r\ndog\n"),
        ("_info.json", json.dumps({"splits": {}, "class_names": ["owl", "cat", "dog"]})),
        (
            "dataset_info.json",
            json.dumps({"features": {"cls": {"names": ["owl", "cat", "dog"], "_type": "ClassLabel"}}}),
        ),
    ],
)
def test_class_names_lie_beside_the_shards(shards: Path, name: str, content: str) -> None:
    (shards / "classes.txt").unlink()
    assert open_source(shards).classes == ("0", "1", "2")
    (shards / name).write_text(content)
    assert open_source(shards).classes == ("owl", "cat", "dog")


def test_class_names_that_cannot_be_read_are_an_error(shards: Path) -> None:
    (shards / "classes.txt").write_bytes(b"\xff\xfe\0")
    with pytest.raises(DataError, match=r"classes\.txt: holds no class names"):
        open_source(shards)


def test_index_is_remembered_until_the_shard_changes(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[str] = []
    monkeypatch.setattr(
        "featherlight.sources.shard_indices.index_shard",
        lambda path, *rest: walked.append(path.name) or index_shard(path, *rest),
    )
    first = open_source(shards)
    assert len(walked) == 5
    assert open_source(shards).fingerprint == first.fingerprint
    assert len(walked) == 5
    write_shards(shards / "val-%04d.tar", samples(6, 500), 10)
    assert open_source(shards).fingerprint != first.fingerprint
    assert walked[5:] == ["val-0000.tar"]


def test_fingerprint_sees_labels_classes_and_contents(shards: Path) -> None:
    prints = [open_source(shards).fingerprint]
    (shards / "classes.txt").write_text("a\nb\nc")
    prints.append(open_source(shards).fingerprint)
    write_shards(shards / "val-%04d.tar", ({**row, "cls": 0} for row in samples(6, 25)), 10)
    prints.append(open_source(shards).fingerprint)
    rows = ({**row, "png": picture(0, 99)} for row in samples(6, 25))
    write_shards(shards / "val-%04d.tar", ({**row, "cls": 0} for row in rows), 10)
    prints.append(open_source(shards).fingerprint)
    assert len(set(prints)) == 4
    moved = shards.rename(shards.parent / "elsewhere")
    assert open_source(moved).fingerprint == prints[-1]


def test_shard_that_changes_or_goes_while_it_is_used_gives_no_wrong_image(shards: Path) -> None:
    split = open_source(shards).splits["val"]
    write_shards(shards / "val-%04d.tar", samples(6, 500), 10)
    with pytest.raises(UnreadableImageError, match="its shard has changed since it was opened"):
        split.read(0)
    (shards / "val-0000.tar").unlink()
    with pytest.raises(UnreadableImageError, match=r"val-0000\.tar/000025\.png: no such file"):
        split.read(0)


def test_damaged_image_is_named_with_its_shard(shards: Path) -> None:
    write_tar(
        shards / "val-0000.tar", {"a.png": picture(0, 0)[:100], "a.cls": b"0", "b.png": picture(1, 1), "b.cls": b"1"}
    )
    split = open_source(shards).splits["val"]
    with pytest.raises(UnreadableImageError, match=r"val-0000\.tar/a\.png: "):
        split.read(0)
    assert split.read(1).shape == (16, 16, 3)


def test_samples_without_image_or_label_are_named(shards: Path) -> None:
    write_tar(shards / "val-0000.tar", {"a.cls": b"0", "b.png": picture(1, 1), "c.png": picture(1, 2), "c.cls": b"1"})
    source = open_source(shards)
    assert sizes(source) == {**COUNTS, "val": 1}
    assert source.unreadable == (
        (f"{shards}/val-0000.tar/a", "no image in this sample"),
        (f"{shards}/val-0000.tar/b.png", "no label"),
    )


def test_image_that_claims_more_than_can_be_decoded_is_unreadable(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featherlight.sources.shards.MAX_FILE_BYTES", 100)
    with pytest.raises(UnreadableImageError, match="too large: files up to"):
        open_source(shards).splits["val"].read(0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{root}/train-{0000..0007}.tar", r"train-0003\.tar: no such shard"),
        ("{root}/nothing-*.tar", r"nothing-\*\.tar: no such shard"),
        ("{root}/train-{0000..0002}.tar.gz", r"no such shard"),
        ("{root}/nowhere.tar", r"nowhere\.tar: no such shard"),
        ("{root}/train-0000.tar#image=left.jpg", "not one image with a label"),
        ("{root}#label=species", "not one image with a label"),
    ],
)
def test_what_is_not_there_is_named(shards: Path, data: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(data.replace("{root}", str(shards)))


def test_compressed_shards_are_refused_with_the_reason(shards: Path) -> None:
    for name in ("train-0.tar.gz", "train-1.tar.gz"):
        write_tar(shards / name, {"a.png": b""})
    with pytest.raises(DataError, match="is compressed, so images in it cannot be found by their place"):
        open_source(f"{shards}/train-{{0..1}}.tar.gz")


def test_choice_is_part_of_the_name(shards: Path) -> None:
    source = open_source(f"{shards}#image=png,label=cls")
    assert source.name == f"{shards}#image=png,label=cls"
    assert open_source(source.name).fingerprint == open_source(shards).fingerprint
    with pytest.raises(UsageError, match="only of WebDataset shards and Hugging Face data sets"):
        open_source("digits#label=x")


def test_data_larger_than_memory_is_read_along_its_shards(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_source(shards).splits["train"].shards is None
    monkeypatch.setattr("featherlight.sources.shard_indices.memory_bytes", lambda: 20_000)
    split = open_source(shards).splits["train"]
    assert split.shards is not None
    assert split.shards.tolist() == [0] * 10 + [1] * 10 + [2] * 5
    assert split.bring is None  # nothing to be fetched


@pytest.mark.parametrize("is_sorted", [False, True])
def test_shards_of_one_class_each_are_warned_about_where_batches_suffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_sorted: bool
) -> None:
    rows = sorted(samples(60), key=lambda row: row["cls"] if is_sorted else 0)
    write_shards(tmp_path / "train-%04d.tar", iter(rows), 20)
    write_shards(tmp_path / "val-%04d.tar", samples(6), 20)
    open_source(tmp_path)
    assert "few classes" not in capsys.readouterr().err  # images are mixed across all shards
    monkeypatch.setattr("featherlight.sources.shard_indices.memory_bytes", lambda: 20_000)
    open_source(tmp_path)
    assert ("each shard holds images of few classes only, 1 in the mean" in capsys.readouterr().err) == is_sorted


def test_folder_that_cannot_be_listed_is_an_error(shards: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may list everything")
    (shards / "more").mkdir(mode=0)
    with pytest.raises(DataError, match="cannot be listed"):
        open_source(shards)
