from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from featherlight import files
from featherlight.errors import FeatherlightError
from featherlight.files import (
    atomic_path,
    cache_folder,
    held_alone,
    replace_folder,
    staging_folder,
    sweep_staging,
    write_bytes,
    write_text,
)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_text_is_written_as_utf8_into_folders_that_are_made(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "猫.txt"
    write_text(target, "Käse\n")
    assert target.read_bytes() == b"K\xc3\xa4se\n"
    assert os.listdir(target.parent) == ["猫.txt"]


def test_old_file_is_seen_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(TypeError), atomic_path(target) as temporary:
        temporary.write_text("half") + "what is no number"
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_full_disk_leaves_the_old_file_and_says_what_could_not_be_written(
    tmp_path: Path, disk_with_room_for: Callable[[int], AbstractContextManager[None]]
) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")
    with disk_with_room_for(10_000), pytest.raises(FeatherlightError, match=r"cannot write .*a.bin: File too large"):
        write_bytes(target, bytes(1_000_000))
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_file_has_the_permissions_the_user_gives_new_files(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        write_text(tmp_path / "a.txt", "")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~mask


def test_folder_that_is_a_file_is_an_error_that_names_the_target(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(FeatherlightError, match=r"cannot write .*taken/a.txt: "):
        write_text(tmp_path / "taken" / "a.txt", "")


def test_target_that_is_a_folder_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(FeatherlightError, match=r"cannot write .*a: Is a directory"):
        write_text(tmp_path / "a", "")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("stem", ["n" * 250, "猫" * 83])
def test_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path, stem: str) -> None:
    target = tmp_path / f"{stem}.txt"
    write_text(target, "whole")
    assert target.read_text() == "whole"


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("FEATHERLIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "featherlight"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "featherlight"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "set"
    for content, names in (("old", ("a", "b")), ("new", ("b", "c"))):
        with staging_folder(target) as folder:
            for name in names:
                (folder / name).write_text(content)
            replace_folder(folder, target)
    assert {path.name: path.read_text() for path in target.iterdir()} == {"b": "new", "c": "new"}
    assert os.listdir(tmp_path) == ["set"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_folders_are_replaced_with_and_without_an_exchange_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").write_text("old")
    with staging_folder(tmp_path / "set") as folder:
        (folder / "b").write_text("new")
        replace_folder(folder, tmp_path / "set")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["b"]
    assert os.listdir(tmp_path) == ["set"]


def test_a_staging_folder_is_gone_after_an_error(tmp_path: Path) -> None:
    def write_half() -> None:
        with staging_folder(tmp_path / "set") as folder:
            (folder / "a").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert not os.listdir(tmp_path)


def test_only_one_holds_a_lock_and_a_kill_lets_it_go(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    code = (
        "import sys; from pathlib import Path; from featherlight.files import held_alone\n"
        "with held_alone(Path(sys.argv[1])) as alone:\n    print(alone, flush=True)\n    sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        with held_alone(lock) as alone:
            assert not alone
        other.kill()
    with held_alone(lock) as alone:
        assert alone


def test_what_kills_left_beside_a_target_is_swept_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".onnx-abc").mkdir()
    (tmp_path / ".onnx-abc" / "model.onnx").write_bytes(b"half")
    for name in ("onnx", ".web-abc"):
        (tmp_path / name).mkdir()
    sweep_staging(tmp_path / "onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".web-abc", "onnx"]
