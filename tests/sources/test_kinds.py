from __future__ import annotations

from pathlib import Path

import pytest

from featherlight.sources.kinds import kind_of_data

CARD = "---\nlicense: mit\ndataset_info:\n  features: []\n---\nAbout this data."


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["train-0.tar", "val-0.tar", "classes.txt"], "shards"),
        (["train/0.tar", "val/0.tar"], "shards"),
        (["data/train-0.parquet"], "hugging_face"),
        (["a/train/0000.parquet"], "hugging_face"),
        (["dataset_dict.json", "train/state.json"], "hugging_face"),
        (["state.json", "dataset_info.json", "data-0.arrow"], "hugging_face"),
        (["README.md", "data/train.parquet", "assets/banner.png"], "hugging_face"),
        (["README.md", "cats/1.jpg", "dogs/2.jpg"], None),
        (["cats/1.jpg", "dogs/2.jpg", "backup.tar"], None),
        (["train/cats/1.jpg", "train/dogs/2.jpg", "labels.parquet"], None),
        (["train.pandas.parquet", "val.pandas.parquet"], None),  # manifests
        (["notes.txt"], None),
        ([".hidden.tar"], None),
        (["a/b/c/d/e.tar"], None),
        ([], None),
    ],
)
def test_kind_of_a_folder_is_seen(tmp_path: Path, files: list[str], kind: str | None) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        content = CARD if name == "README.md" else "PAR1...huggingface...PAR1"
        (tmp_path / name).write_text("PAR1...PAR1" if "pandas" in name else content)
    assert kind_of_data(str(tmp_path)) == kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("a.tar", "shards"),
        ("a-{0..9}.tar::b.tar", "shards"),
        ("a-{0..9}.tar.gz", "shards"),  # refused with a reason
        ("HTTPS://host/a-{0..9}.tar", "shards"),
        ("hf://owner/name", "hugging_face"),
        ("digits", None),
        ("a.zip", None),
        ("", None),
    ],
)
def test_kind_of_a_name_is_seen(data: str, kind: str | None) -> None:
    assert kind_of_data(data) == kind


def test_table_that_hugging_face_wrote_is_told_from_a_manifest(tmp_path: Path) -> None:
    for name, content in (("a.parquet", "PAR1huggingfacePAR1"), ("b.parquet", "PAR1PAR1"), ("a.txt", "huggingface")):
        (tmp_path / name).write_text(content)
    assert kind_of_data(str(tmp_path / "a.parquet")) == "hugging_face"
    assert kind_of_data(str(tmp_path / "b.parquet")) is None
    assert kind_of_data(str(tmp_path / "a.txt")) is None


def test_packed_file_that_is_there_may_be_cifar(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz").touch()
    assert kind_of_data(str(tmp_path / "cifar-10-binary.tar.gz")) is None
