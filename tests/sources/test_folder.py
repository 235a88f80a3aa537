from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.errors import DataError, UnreadableImageError
from featherlight.sources import Source, open_source

MakeImages = Callable[..., list[Path]]


def relative(source: Source, split: str) -> list[str]:
    return [Path(path).relative_to(source.name).as_posix() for path in source.splits[split].paths]  # type: ignore[index]


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as error:
        open_source(root)
    return str(error.value)


@pytest.fixture
def split_root(tmp_path: Path, make_images: MakeImages) -> Path:
    for number, split in enumerate(("train", "val", "test")):
        for name in ("dog", "cat"):
            make_images(tmp_path / "r" / split / name, 4 - number, seed=number)
    return tmp_path / "r"


def test_split_folders_are_taken_as_they_are(split_root: Path) -> None:
    source = open_source(split_root)
    assert source.name == str(split_root)
    assert source.classes == ("cat", "dog")
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 8, "val": 6, "test": 4}
    assert relative(source, "test") == ["test/cat/000.png", "test/cat/001.png", "test/dog/000.png", "test/dog/001.png"]
    assert source.splits["test"].labels.tolist() == [0, 0, 1, 1]
    assert source.splits["test"].labels.dtype == np.int64
    image = source.splits["test"].read(2)
    np.testing.assert_array_equal(image, np.array(Image.open(source.splits["test"].paths[2])))
    assert source.flip_safe
    assert source.unreadable == ()


@pytest.mark.parametrize(
    "names", [("training", "valid", "testing"), ("Train", "VALIDATION", "Test"), ("TRAIN", "Val", "TESTING")]
)
def test_other_names_of_splits(split_root: Path, names: tuple[str, ...]) -> None:
    for old, new in zip(("train", "val", "test"), names, strict=True):
        (split_root / old).rename(split_root / f"{new}x")
        (split_root / f"{new}x").rename(split_root / new)
    assert set(open_source(split_root).splits) == {"train", "val", "test"}


def test_two_folders_for_one_split_are_refused(split_root: Path) -> None:
    shutil.copytree(split_root / "val", split_root / "valid")
    assert "'val' and 'valid' are both the val folder" in refusal(split_root)


def test_without_test_folder_there_is_no_test_split(split_root: Path) -> None:
    shutil.rmtree(split_root / "test")
    assert set(open_source(split_root).splits) == {"train", "val"}


def test_without_val_folder_a_tenth_of_train_becomes_val(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / "train" / name, 100)
        make_images(tmp_path / "test" / name, 5, seed=1)
    source = open_source(tmp_path)
    assert len(source.splits["train"]) + len(source.splits["val"]) == 200
    assert 8 <= len(source.splits["val"]) <= 36
    assert len(source.splits["test"]) == 10
    assert all(path.startswith("train/") for path in relative(source, "val"))
    assert relative(source, "val") == sorted(relative(source, "val"))


def test_one_folder_a_class_is_split_by_hash(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("cat", "dog", "bird"):
        make_images(tmp_path / name, 100)
    source = open_source(tmp_path)
    assert source.classes == ("bird", "cat", "dog")
    counts = {name: np.bincount(split.labels, minlength=3) for name, split in source.splits.items()}
    assert sum(counts.values()).tolist() == [100, 100, 100]
    assert all(68 <= count <= 92 for count in counts["train"])  # three standard deviations
    assert all(count >= 2 for count in (*counts["val"], *counts["test"]))
    labels = [source.classes.index(path.split("/")[0]) for path in relative(source, "train")]
    assert source.splits["train"].labels.tolist() == labels


def test_old_images_stay_where_they_are_when_new_ones_come(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / name, 60)
    before = open_source(tmp_path)
    make_images(tmp_path / "cat" / "new", 50)
    make_images(tmp_path / "ape", 40)
    after = open_source(tmp_path)
    for split in ("train", "val", "test"):
        assert set(relative(before, split)) <= set(relative(after, split))
    assert after.fingerprint != before.fingerprint


def test_renamed_and_copied_images_stay_on_their_side(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("cat", "dog"):
        for file in make_images(tmp_path / name, 60):
            Image.open(file).save(file.with_name(f"copy of {file.stem}.bmp"))  # other bytes, same pixels
    source = open_source(tmp_path)
    for split in ("train", "val", "test"):
        stems = [Path(path).parent.name + Path(path).stem.removeprefix("copy of ") for path in relative(source, split)]
        assert sorted(stems) == sorted([*dict.fromkeys(stems)] * 2)


def test_second_start_gives_the_same(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / name, 40)
    first, second = open_source(tmp_path), open_source(tmp_path)
    assert first.fingerprint == second.fingerprint
    assert {k: v.paths for k, v in first.splits.items()} == {k: v.paths for k, v in second.splits.items()}


def test_fingerprint_is_about_content_not_place(split_root: Path, tmp_path: Path) -> None:
    before = open_source(split_root).fingerprint
    split_root.rename(tmp_path / "elsewhere")
    assert open_source(tmp_path / "elsewhere").fingerprint == before
    (tmp_path / "elsewhere" / "val" / "cat" / "000.png").rename(tmp_path / "elsewhere" / "val" / "dog" / "009.png")
    assert open_source(tmp_path / "elsewhere").fingerprint != before


def test_fingerprint_changes_with_a_file_size(split_root: Path) -> None:
    before = open_source(split_root).fingerprint
    with (split_root / "train" / "cat" / "000.png").open("ab") as file:
        file.write(b"\0")
    assert open_source(split_root).fingerprint != before


def test_relative_path_is_made_absolute(split_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(split_root.parent)
    source = open_source("r")
    monkeypatch.chdir("/")
    assert source.name == str(split_root)
    assert source.splits["train"].read(0).shape == (6, 6, 3)


def test_split_can_be_pickled(split_root: Path) -> None:
    split = open_source(split_root).splits["train"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(split)).read(1), split.read(1))


def test_images_are_known_by_extension_at_any_depth(split_root: Path, make_images: MakeImages) -> None:
    cat = split_root / "val" / "cat"
    (cat / "deep" / "er").mkdir(parents=True)
    suffixes = ["PNG", "Jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "gif", "tif", "TIFF", "ppm", "pgm", "pbm"]
    names = [*(f"a.{suffix}" for suffix in suffixes), "deep/er/b.png"]
    for name in names:
        shutil.copy(cat / "000.png", cat / name)
    for name in ("readme.txt", ".hidden.png", "Thumbs.db", "png", "x.png.bak"):
        shutil.copy(cat / "000.png", cat / name)
    make_images(cat / ".cache", 2)
    make_images(cat / "__MACOSX", 2)
    expected = sorted([f"val/cat/{name}" for name in (*names, "000.png", "001.png", "002.png")])
    assert [path for path in relative(open_source(split_root), "val") if "/cat/" in path] == expected


def test_hidden_and_system_folders_are_no_classes(split_root: Path, make_images: MakeImages) -> None:
    for folder in ("__MACOSX/train", ".git", "train/.ipynb_checkpoints", "train/__MACOSX"):
        make_images(split_root / folder, 1)
    assert open_source(split_root).classes == ("cat", "dog")


def test_strange_names_are_kept(tmp_path: Path, make_images: MakeImages) -> None:
    classes = ["a b", "c\nd", "Ünïcode 猫", "[x]*?", os.fsdecode(b"\xff\xfe")]
    for name in classes:
        for split in ("train", "val"):
            file = make_images(tmp_path / split / "tmp", 1)[0]
            (tmp_path / split / name).mkdir()
            file.rename(tmp_path / split / name / f"{name} 1.png")
            file.parent.rmdir()
    source = open_source(tmp_path)
    assert source.classes == tuple(sorted(classes))
    for i in range(5):
        assert source.splits["val"].read(i).shape == (6, 6, 3)


def test_strange_names_survive_the_hash_cache(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("x", os.fsdecode(b"\xff\n")):
        make_images(tmp_path / name, 40)
    assert open_source(tmp_path).fingerprint == open_source(tmp_path).fingerprint


def test_class_called_train_is_no_split(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("train", "bus", "car"):
        make_images(tmp_path / name, 40)
    assert open_source(tmp_path).classes == ("bus", "car", "train")


def test_links_to_files_and_folders_are_followed(split_root: Path, tmp_path: Path, make_images: MakeImages) -> None:
    target = make_images(tmp_path / "far", 3)
    (split_root / "train" / "cat" / "link.png").symlink_to(target[0])
    (split_root / "train" / "bird").symlink_to(tmp_path / "far")
    source = open_source(split_root)
    assert source.classes == ("bird", "cat", "dog")
    assert "train/cat/link.png" in relative(source, "train")
    assert len([path for path in relative(source, "train") if "/bird/" in path]) == 3


def test_circles_of_links_end(split_root: Path) -> None:
    cat, dog = split_root / "train" / "cat", split_root / "train" / "dog"
    before = relative(open_source(split_root), "train")
    (cat / "self").symlink_to(cat)
    (dog / "deep").mkdir()
    (dog / "deep" / "back").symlink_to(dog)
    (dog / "a").symlink_to(dog / "b")
    (dog / "b").symlink_to(dog / "a")
    assert relative(open_source(split_root), "train") == before


def test_broken_link_is_reported_not_passed_over(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / name, 40)
    (tmp_path / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert [path for path, _ in open_source(tmp_path).unreadable] == [str(tmp_path / "cat" / "gone.png")]


def test_unreadable_files_are_left_out_and_listed(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / name, 40)
    (tmp_path / "cat" / "a.jpg").write_text("no image")
    (tmp_path / "dog" / "z.png").touch()
    source = open_source(tmp_path)
    assert [path for path, _ in source.unreadable] == [str(tmp_path / "cat" / "a.jpg"), str(tmp_path / "dog" / "z.png")]
    assert source.unreadable[1][1] == "empty file"
    paths = [path for split in source.splits.values() for path in split.paths]
    assert len(paths) == 80
    assert not {path for path, _ in source.unreadable} & set(paths)


def test_strict_makes_an_unreadable_file_an_error(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / name, 40)
    open_source(tmp_path, strict=True)
    (tmp_path / "dog" / "z.png").touch()
    with pytest.raises(UnreadableImageError, match=r"dog/z\.png: empty file"):
        open_source(tmp_path, strict=True)


def test_unreadable_file_in_split_folders_is_found_when_read(split_root: Path) -> None:
    (split_root / "train" / "cat" / "000.png").write_bytes(b"")
    split = open_source(split_root).splits["train"]
    with pytest.raises(UnreadableImageError, match=r"train/cat/000\.png: empty file"):
        split.read(0)


# ---- what cannot be used


def test_empty_folder_says_what_is_expected(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path}: no images")
    assert "one folder a class (cats/1.jpg" in message


def test_class_folders_without_any_image(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.txt").touch()
    assert refusal(tmp_path).startswith(f"{tmp_path}: no images")


def test_loose_images(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path, 3)
    assert "images lie loose, without class folders; expected one folder a class" in refusal(tmp_path)


def test_loose_images_in_a_split(split_root: Path, make_images: MakeImages) -> None:
    shutil.rmtree(split_root / "val")
    make_images(split_root / "val", 3)
    assert refusal(split_root).startswith(f"{split_root / 'val'}: images lie loose")


def test_loose_images_in_every_split(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "train", 3)
    make_images(tmp_path / "test", 3)
    assert refusal(tmp_path).startswith(f"{tmp_path / 'train'}: images lie loose")


def test_empty_split_folder(split_root: Path) -> None:
    shutil.rmtree(split_root / "test")
    (split_root / "test").mkdir()
    assert refusal(split_root).startswith(f"{split_root / 'test'}: no images")


def test_one_class(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "cat", 3)
    assert "only one class, 'cat', so there is nothing to tell apart" in refusal(tmp_path)


def test_one_folder_too_high_is_guessed(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / "pets" / name, 3)
    assert f"did you mean {tmp_path / 'pets'}?" in refusal(tmp_path)


def test_empty_classes_are_all_named(split_root: Path) -> None:
    for name in ("ape", "bee"):
        (split_root / "train" / name).mkdir()
    assert f"{split_root / 'train'}: class folders without images: 'ape', 'bee'" in refusal(split_root)


def test_classes_unknown_to_train_are_named(split_root: Path, make_images: MakeImages) -> None:
    make_images(split_root / "test" / "ape", 1)
    make_images(split_root / "test" / "bee", 1)
    assert "test/ has classes that train/ does not have: 'ape', 'bee'" in refusal(split_root)


def test_class_absent_from_val_is_fine(split_root: Path) -> None:
    shutil.rmtree(split_root / "val" / "cat")
    source = open_source(split_root)
    assert source.classes == ("cat", "dog")
    assert source.splits["val"].labels.tolist() == [1, 1, 1]


def test_split_folders_without_train(split_root: Path) -> None:
    shutil.rmtree(split_root / "train")
    assert "has test/, val/ but no train/" in refusal(split_root)


def test_too_few_images_to_split(tmp_path: Path, make_images: MakeImages) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / name, 1)
    message = refusal(tmp_path)
    assert "add more, or make train/ and val/ folders yourself" in message


def test_class_whose_images_are_all_unreadable_is_named(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "cat", 40)
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.png").touch()
    assert "class 'dog' has only 0 readable images" in refusal(tmp_path)


def test_few_images_may_leave_no_test_split_but_never_an_empty_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for attempt in range(30):
        root = tmp_path / str(attempt)
        for name in ("a", "b"):
            (root / name).mkdir(parents=True)
            for number in range(10):
                Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).save(root / name / f"{number}.png")
        try:
            splits = open_source(root).splits
        except DataError:
            continue
        seen.add("test" in splits)
        assert all(len(split) for split in splits.values())
    assert seen == {True, False}
