"""Text lists in the layouts that the documents of PaddleClas, PaddleX and mmpretrain show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from featherlight.errors import DataError
from featherlight.sources import Source, open_source
from featherlight.sources.manifest.lists import is_list, read_class_names, split_word

MakeImages = Callable[..., list[Path]]
FLOWERS = ("pink primrose", "hard-leaved pocket orchid", "canterbury bells")


@pytest.fixture
def paddle(tmp_path: Path, make_images: MakeImages) -> Path:
    """flowers102 as PaddleClas has it: images in jpg/, lists and names beside that folder."""
    make_images(tmp_path / "flowers102" / "jpg", 30)
    root = tmp_path / "flowers102"
    write_lists(
        root, {"train_list.txt": range(20), "val_list.txt": range(20, 26), "test_list.txt": range(26, 30)}, "jpg/"
    )
    (root / "flowers102_label_list.txt").write_text("".join(f"{k} {name}\n" for k, name in enumerate(FLOWERS)))
    return root


@pytest.fixture
def mmpretrain(tmp_path: Path, make_images: MakeImages) -> Path:
    """ImageNet as mmpretrain has it: lists in meta/, paths that start in train/ and val/, secret test labels."""
    root = tmp_path / "imagenet"
    (root / "meta").mkdir(parents=True)
    make_images(root / "train" / "n01440764", 20)
    make_images(root / "val", 6, seed=1)
    write_lists(root / "meta", {"train.txt": range(20)}, "n01440764/")
    write_lists(root / "meta", {"val.txt": range(6)}, "")
    (root / "meta" / "test.txt").write_text("ILSVRC2012_test_00000001.JPEG 0\nILSVRC2012_test_00000002.JPEG 0\n")
    (root / "meta" / "classes.txt").write_text("\n".join(FLOWERS))
    return root


def write_lists(folder: Path, lists: Mapping[str, range], prefix: str) -> None:
    for name, numbers in lists.items():
        (folder / name).write_text("".join(f"{prefix}{k:03}.png {k % 3}\n" for k in numbers))


def counts(source: Source) -> dict[str, int]:
    return {name: len(split) for name, split in source.splits.items()}


def refusal(data: Path) -> str:
    with pytest.raises(DataError) as error:
        open_source(data)
    return str(error.value)


def test_folder_as_paddleclas_has_it(paddle: Path) -> None:
    source = open_source(paddle)
    assert source.name == str(paddle)
    assert source.classes == FLOWERS  # the order of the list, not of the alphabet
    assert counts(source) == {"train": 20, "val": 6, "test": 4}
    assert source.splits["val"].paths[0] == str(paddle / "jpg" / "020.png")
    assert source.splits["val"].labels.tolist() == [2, 0, 1, 2, 0, 1]
    assert source.splits["val"].read(0).shape == (6, 6, 3)
    assert source.own_splits == ()


def test_folder_as_mmpretrain_has_it(mmpretrain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = open_source(mmpretrain)
    assert source.classes == FLOWERS
    assert counts(source) == {"train": 20, "val": 6}
    assert source.splits["train"].paths[0] == str(mmpretrain / "train" / "n01440764" / "000.png")
    assert source.splits["val"].read(5).shape == (6, 6, 3)
    assert "meta/test.txt: every image has the same label" in capsys.readouterr().err


def test_lists_come_before_class_folders(paddle: Path, make_images: MakeImages) -> None:
    for name in ("rose", "tulip"):  # PaddleX: lists beside the class folders
        make_images(paddle / name, 3)
    assert counts(open_source(paddle)) == {"train": 20, "val": 6, "test": 4}


def test_without_val_list_it_is_cut_out_of_train(paddle: Path) -> None:
    (paddle / "val_list.txt").unlink()
    source = open_source(paddle)
    assert set(source.splits) == {"train", "val", "test"}
    assert len(source.splits["train"]) + len(source.splits["val"]) == 20
    assert source.own_splits == ("train", "val")


@pytest.mark.parametrize("name", ["train_list.txt", "meta/train.txt", "meta/train_annfile.txt"])
def test_one_list_is_split_by_hash(tmp_path: Path, make_images: MakeImages, name: str) -> None:
    make_images(tmp_path / "train", 60)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write_lists(tmp_path, {name: range(60)}, "")
    source = open_source(tmp_path / name)
    assert source.classes == ("0", "1", "2")
    assert sum(counts(source).values()) == 60
    assert source.own_splits == ("train", "val", "test")
    assert set(map(str, (tmp_path / "train").iterdir())) == {p for split in source.splits.values() for p in split.paths}


def test_a_list_to_measure_on_is_taken_as_it_is(paddle: Path) -> None:
    assert counts(open_source(paddle / "val_list.txt", as_it_is=True)) == {"test": 6}


def test_numbers_are_sorted_by_value(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path, 24)
    (tmp_path / "train.txt").write_text("".join(f"{k:03}.png {k}\n" for k in range(12)))
    (tmp_path / "val.txt").write_text("".join(f"{k + 12:03}.png {k}\n" for k in range(12)))
    assert open_source(tmp_path).classes == tuple(str(k) for k in range(12))


def test_names_with_spaces_and_tabs(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("my  cat.jpg 0\n\n  b.jpg\t1  \r\nc d 2.jpg 12\n")
    source = open_source(tmp_path / "train.txt", as_it_is=True)
    assert [Path(path).name for path in source.splits["test"].paths] == ["b.jpg", "c d 2.jpg", "my  cat.jpg"]
    assert source.classes == ("0", "1", "12")


def test_unused_names_are_left_out_and_counted(paddle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (paddle / "flowers102_label_list.txt").open("a") as file:
        file.write("3 english marigold\n")
    assert open_source(paddle).classes == FLOWERS
    assert "1 of 4 named classes have no images" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["labels.txt", "label_list.txt", "classes.txt", "x_label_list.txt", "Labels.txt"])
@pytest.mark.parametrize(
    "lines", ["rose\nlily of the valley\n", "0 rose\n1 lily of the valley", "1 lily of the valley\n0\trose\n\n"]
)
def test_class_lists(tmp_path: Path, name: str, lines: str) -> None:
    (tmp_path / name).write_text(lines)
    assert read_class_names(tmp_path) == {0: "rose", 1: "lily of the valley"}


def test_names_that_are_numbers_stay_names(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("7\n42\n")
    assert read_class_names(tmp_path) == {0: "7", 1: "42"}


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("crane\nmaillot\ncrane\n", "class 2 is also called 'crane', as 0 is"),
        ("cat\n\ndog\n", "class 1 is not named"),
    ],
)
def test_class_list_without_a_name_of_its_own_for_each(paddle: Path, lines: str, problem: str) -> None:
    (paddle / "flowers102_label_list.txt").write_text(lines)
    assert refusal(paddle) == f"{paddle}/flowers102_label_list.txt: {problem}; each class needs a name of its own"


def test_two_class_lists_are_refused(paddle: Path) -> None:
    (paddle / "labels.txt").write_text("a\nb\nc\n")
    assert refusal(paddle).endswith("flowers102_label_list.txt and labels.txt could each name the classes; keep one")


def test_two_lists_for_one_split_are_refused(paddle: Path) -> None:
    (paddle / "valid.txt").write_text("jpg/1.png 0\n")
    assert refusal(paddle).endswith("val_list.txt and valid.txt both list the val images; keep one")


def test_number_without_a_name_is_refused(paddle: Path) -> None:
    (paddle / "val_list.txt").write_text("jpg/001.png 0\njpg/002.png 3\n")
    assert refusal(paddle) == f"{paddle}/val_list.txt, line 2: label 3 has no name among the 3 in the class list"


@pytest.mark.parametrize("line", ["jpg/1.png", "jpg/1.png cat", "jpg/1.png 0,1,0", "jpg/1.png -1", "path,label", "5"])
def test_line_of_another_form_is_refused(paddle: Path, line: str) -> None:
    (paddle / "val_list.txt").write_text(f"jpg/001.png 0\n{line}\n")
    found = refusal(paddle)
    assert found.startswith(
        f"{paddle}/val_list.txt, line 2: {line!r} is not a path and a number, for example: jpg/1.jpg 0"
    )


def test_empty_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train_list.txt").write_text("\n\n")
    assert "train_list.txt: empty; expected a path and a number on each line" in refusal(tmp_path / "train_list.txt")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a/b.JPEG 12\n", True),
        (b"\n\nhttps://host/x 3\n", True),
        (b"once upon a time 12\n", False),
        (b"a.jpg\n", False),
        (b"", False),
        (b"\xff\xfe", False),
    ],
)
def test_other_text_files_are_no_lists(tmp_path: Path, content: bytes, expected: bool) -> None:
    (tmp_path / "train.txt").write_bytes(content)
    assert is_list(tmp_path / "train.txt") is expected


def test_stray_text_files_do_not_hide_class_folders(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / name, 40)
    (tmp_path / "train.txt").write_text("we trained on Monday 12\n")
    assert open_source(tmp_path).classes == ("cat", "dog")


@pytest.mark.parametrize(("stem", "word"), [("Train_List", "train"), ("valid", "val"), ("training_annfile", "train")])
def test_words_in_file_names(stem: str, word: str) -> None:
    from featherlight.sources.completing import SPLIT_WORDS

    assert SPLIT_WORDS[split_word(stem)] == word
    assert split_word(f"my_{stem}") == split_word("labels") == ""
