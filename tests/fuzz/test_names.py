from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featherlight.errors import DataError, UnreadableImageError
from featherlight.images import load_image
from featherlight.sources.folder import list_images

Cli = Callable[..., Any]

NAMES = [
    "plain", "a b", " edges ", "new\nline", "tab\t", "return\r", 'quote"', "it's", "-dash", "--json", "a|b", "#", "~",
    "100%", "%s{}", "$(x)", "*", "[a]", "a\\b", "<b>&amp;", "\x1b[31mred", "\x7f", "\u00e9", "e\u0301", "\U0001f408",
    "\u05e9\u05dc\u05d5\u05dd", "\u202egnp", "x" * 251, os.fsdecode(b"gr\xf6\xdfe"), os.fsdecode(b"\xff"),
]  # fmt: skip
CLASSES = ["plain", "new\nline", "<b>\u05e9 \U0001f408", os.fsdecode(b"k\xf6nig"), "\x1b[31mred"]
TRAINING = ("--epochs", 1, "--set", "input_size=16", "--set", "batch_size=16", "--device", "cpu")


def write_noise(path: str | Path, *seeds: int) -> None:
    pixels = np.random.default_rng(seeds).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    with open(path, "wb") as file:
        Image.fromarray(pixels).save(file, "PNG")


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train/`` and ``val/`` with every class of ``CLASSES``, in each an image of every name."""
    root = tmp_path_factory.mktemp("odd")
    for s, split in enumerate(("train", "val")):
        for c, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for k, stem in enumerate(NAMES):
                write_noise(folder / f"{stem}.png", s, c, k)
    return root


@pytest.fixture(scope="module")
def odd_run(odd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a network trained on it."""
    import featherlight

    out = tmp_path_factory.mktemp("runs") / "odd\nrun \U0001f408"
    return featherlight.train(odd_folder, out=out, epochs=1, input_size=16, batch_size=16, device="cpu").path


def images_of(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*.png")]


def test_odd_names_are_trained_on_measured_and_named(cli: Cli, odd_folder: Path, odd_run: Path) -> None:
    evaluation = json.loads((odd_run / "evaluation.json").read_text())
    assert evaluation["classes"] == sorted(CLASSES)
    assert evaluation["num_images"] == len(NAMES) * len(CLASSES)
    answer = cli("predict", odd_run, odd_folder / "val", "--json")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert (answer.code, answer.err) == (0, "")
    assert sorted(row["path"] for row in rows) == sorted(images_of(odd_folder / "val"))
    assert {row["label"] for row in rows} <= set(CLASSES)


def test_odd_classes_keep_their_line_in_tables(cli: Cli, odd_run: Path) -> None:
    answer = cli("evaluate", odd_run)
    assert answer.code == 0, answer.err
    assert all(line.isprintable() for line in answer.out.splitlines())
    table = answer.out.split("\n\n")[1].splitlines()
    assert [line.split("  ")[0] for line in table] == [
        "class", r"\x1b[31mred", "<b>\u05e9 \U0001f408", r"k\udcf6nig", r"new\nline", "plain",
    ]  # fmt: skip


def test_odd_names_are_checked(cli: Cli, odd_folder: Path, tmp_path: Path) -> None:
    (broken := tmp_path / "a\nb \x1b[31m").mkdir()
    (broken / "dog").mkdir()
    write_noise(broken / "dog" / "1.png", 9)
    (broken / "dog" / "cut\n.png").write_bytes(b"\x89PNG\r\n")
    for folder, count in ((odd_folder, len(NAMES) * len(CLASSES) * 2), (broken, 2)):
        answer = cli("check", folder, "--out", tmp_path / "out", "--json")
        found = json.loads(answer.out)
        assert found["num_images"] == count
        unreadable = [row["paths"] for row in found["findings"] if row["kind"] == "unreadable"]
        assert unreadable == [[f"{broken}/dog/cut\n.png"]] * (folder == broken)


def test_notes_and_errors_keep_their_line(cli: Cli, odd_folder: Path, odd_run: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad" / "plain"
    bad.mkdir(parents=True)
    (bad / "new\nline\x1b[31m.png").touch()
    write_noise(bad / "1.png", 5)
    shown = rf"{bad}/new\nline\x1b[31m.png: empty file"
    answer = cli("evaluate", odd_run, tmp_path / "bad")
    assert (answer.code, answer.err.splitlines()) == (0, [f"skipped {shown}", "1 unreadable image skipped"])
    answer = cli("evaluate", odd_run, tmp_path / "bad", "--strict")
    advice = "Remove or repair them, or leave out --strict"
    assert (answer.code, answer.err.splitlines()) == (
        2, [f"skipped {shown}", f"error: 1 unreadable image, the first: {shown}. {advice}"],
    )  # fmt: skip


def test_names_that_look_like_options_or_patterns_are_found(
    cli: Cli, odd_folder: Path, odd_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(odd_folder / "val" / "plain")
    names = ["-dash.png", "--json.png", "*.png", "[a].png", "~.png", " edges .png"]
    answer = cli("predict", odd_run, "--json", "--", *names)
    assert (answer.code, answer.err) == (0, "")
    assert [json.loads(line)["path"] for line in answer.out.splitlines()] == names


def test_folder_that_is_no_text_cannot_be_trained_on_and_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"r\xf6ot")
    for split in ("train", "val"):
        for k, name in enumerate("ab"):
            (root / split / name).mkdir(parents=True)
            write_noise(root / split / name / "1.png", len(split), k)
            write_noise(root / split / name / "2.png", len(split), k, 2)
    answer = cli("train", root, "--out", tmp_path / "run", *TRAINING)
    assert answer.code == 2
    assert r"r\udcf6ot' is not valid UTF-8; rename the folder" in answer.err
    assert not (tmp_path / "run").exists()


# ---- what is no plain file


@pytest.fixture
def special(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Name -> reason of what lies among the images of class ``red``, beside some good ones."""
    root = tmp_path / "data"
    for k, colour in enumerate(("blue", "green", "red")):
        (root / colour).mkdir(parents=True)
        for j in range(3):
            write_noise(root / colour / f"{j}.png", k, j)
    red = root / "red"
    (red / "nowhere.png").symlink_to("gone.png")
    (red / "itself.png").symlink_to("itself.png")
    (red / "there.png").symlink_to("back.png")
    (red / "back.png").symlink_to("there.png")
    (red / "linked.png").symlink_to("../blue/0.png")
    (red / "zero.png").symlink_to("/dev/zero")
    (red / "circle").symlink_to("..")
    (red / "more.png").mkdir()
    write_noise(red / "more.png" / "0.png", 7)
    (red / "empty.png").touch()
    os.mkfifo(red / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server, (red / "sparse.jpg").open("wb") as sparse:
        sparse.truncate(10 * 2**30)
        directory = os.open(red, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{directory}/socket.png")  # the path itself may be too long for a socket
        os.close(directory)
        yield {
            "nowhere.png": "no such file",
            "itself.png": "cannot be read: too many levels of symbolic links",
            "there.png": "cannot be read: too many levels of symbolic links",
            "back.png": "cannot be read: too many levels of symbolic links",
            "zero.png": "a pipe or a device, not a file",
            "pipe.png": "a pipe or a device, not a file",
            "socket.png": "a pipe or a device, not a file",
            "empty.png": "empty file",
            "sparse.jpg": "too large: files up to 1024 MiB are read",
        }


@pytest.fixture
def reasons(special: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Path -> reason."""
    return {str(tmp_path / "data" / "red" / name): reason for name, reason in special.items()}


GOOD = 3 + 3 + 3 + 2  # of blue, green, red; linked.png and more.png/0.png


def test_special_files_are_error_rows(cli: Cli, tiny_run: Path, reasons: dict[str, str], tmp_path: Path) -> None:
    answer = cli("predict", tiny_run, tmp_path / "data", "--json")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert answer.code == 1
    assert {row["path"]: row["error"] for row in rows if "error" in row} == reasons
    assert len(rows) == len(reasons) + GOOD


def test_special_files_that_a_pattern_finds_are_error_rows(
    cli: Cli, tiny_run: Path, reasons: dict[str, str], tmp_path: Path
) -> None:
    answer = cli("predict", tiny_run, f"{tmp_path}/data/red/*.*", "--json")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert {row["path"]: row["error"] for row in rows if "error" in row} == reasons


def test_special_files_are_skipped_when_measuring(
    cli: Cli, tiny_run: Path, reasons: dict[str, str], tmp_path: Path
) -> None:
    answer = cli("evaluate", tiny_run, tmp_path / "data", "--json")
    assert answer.code == 0, answer.err
    assert dict(json.loads(answer.out)["unreadable"]) == reasons
    assert json.loads(answer.out)["num_images"] == GOOD


def test_special_files_are_skipped_in_training(cli: Cli, reasons: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "train").symlink_to(tmp_path / "data")
    (tmp_path / "split" / "val").symlink_to(tmp_path / "data")
    answer = cli("train", tmp_path / "split", "--out", tmp_path / "run", "--allow-leaks", *TRAINING)
    assert answer.code == 0, answer.err
    for path, reason in reasons.items():
        for split in ("train", "val"):
            assert f"skipped {path.replace('/data/', f'/split/{split}/')}: {reason}\n" in answer.err


def test_special_files_are_findings_of_check(cli: Cli, reasons: dict[str, str], tmp_path: Path) -> None:
    answer = cli("check", tmp_path / "data", "--out", tmp_path / "out", "--json")
    findings = [row for row in json.loads(answer.out)["findings"] if row["kind"] == "unreadable"]
    assert {path for row in findings for path in row["paths"]} == set(reasons)


def test_folder_that_is_gone_when_it_is_entered_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: cannot be listed \(No such file or directory\)"):
        list_images(tmp_path, "gone")


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder with an image and a folder that this process may not read: root gives up its rights meanwhile."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own lies in one that only root may enter
        folder = Path(name)
        (folder / "closed").mkdir()
        write_noise(folder / "1.png", 1)
        for path, mode in ((folder / "1.png", 0), (folder / "closed", 0), (folder, 0o755)):
            path.chmod(mode)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65_534)
        yield folder
        os.seteuid(user)
        (folder / "closed").chmod(0o700)


def test_what_may_not_be_read_is_told(locked: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"1\.png: no permission to read it"):
        load_image(locked / "1.png")
    with pytest.raises(DataError, match=r"closed: cannot be listed \(Permission denied\)"):
        list_images(locked)
