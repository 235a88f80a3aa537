from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from featherlight.errors import DataError, FeatherlightError, ModelFileError, UsageError
from featherlight.predictor import Predictor
from featherlight.workflows.predict import predict

Paint = Callable[[Path, str, int], Path]
Pipe = Callable[[bytes], None]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """Puts bytes on standard input."""

    def put(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return put


def answers(run: Path, *images: object) -> list[tuple[str, str | None]]:
    return [(a.path, a.label or a.error) for a in predict(run, [str(image) for image in images], device="cpu")]


def test_files_folders_and_globs_are_answered_in_the_given_order(tiny_run: Path, tmp_path: Path, paint: Paint) -> None:
    for name, colour in (("b/2.png", "red"), ("b/1.png", "blue"), ("b/deep/3.png", "green"), ("a.png", "green")):
        paint(tmp_path / name, colour, 0)
    (tmp_path / "b" / "notes.txt").touch()
    assert answers(tiny_run, tmp_path / "b", tmp_path / "a.png", f"{tmp_path}/b/*.png") == [
        (str(tmp_path / "b/1.png"), "blue"),
        (str(tmp_path / "b/2.png"), "red"),
        (str(tmp_path / "b/deep/3.png"), "green"),
        (str(tmp_path / "a.png"), "green"),
        (str(tmp_path / "b/1.png"), "blue"),
        (str(tmp_path / "b/2.png"), "red"),
    ]


def test_python_paths_are_taken_too(tiny_run: Path, tmp_path: Path, paint: Paint) -> None:
    image = paint(tmp_path / "a.png", "red", 0)
    assert [answer.label for answer in predict(tiny_run, [image], device="cpu")] == ["red"]


def test_missing_path_is_an_error_before_anything_is_answered(tiny_run: Path, tmp_path: Path, paint: Paint) -> None:
    image = paint(tmp_path / "a.png", "red", 0)
    with pytest.raises(DataError, match=r"none\.png: no such file or folder"):
        next(predict(tiny_run, [image, tmp_path / "none.png"], device="cpu"))


def test_missing_model_is_an_error(tmp_path: Path, paint: Paint) -> None:
    with pytest.raises(ModelFileError, match="no such model file"):
        next(predict(tmp_path / "none", [paint(tmp_path / "a.png", "red", 0)]))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_standard_input_can_be_an_image(tiny_run: Path, tmp_path: Path, paint: Paint, pipe: Pipe, kind: str) -> None:
    with Image.open(paint(tmp_path / "a.png", "blue", 0)) as image:
        image.save(tmp_path / "image", kind)
    pipe((tmp_path / "image").read_bytes())
    assert answers(tiny_run, "-") == [("-", "blue")]


@pytest.mark.parametrize(
    "data", [b"P3\n2 2\n255\n" + b"210 40 50 " * 4, b"P6 1 1 127 " + b"T\n\r", b"P5\n# dark\n2 1\n127\n!!"]
)
def test_images_that_are_text_are_images(tiny_run: Path, pipe: Pipe, data: bytes) -> None:
    pipe(data)
    ((path, label),) = answers(tiny_run, "-")
    assert path == "-"
    assert label in {"blue", "green", "red"}


@pytest.mark.parametrize("length", [20, 200])
def test_truncated_image_on_standard_input_is_one_error(
    tiny_run: Path, tmp_path: Path, paint: Paint, pipe: Pipe, length: int
) -> None:
    pipe(paint(tmp_path / "a.png", "blue", 0).read_bytes()[:length])
    ((path, error),) = answers(tiny_run, "-")
    assert path == "-"
    assert error in {"truncated", "truncated or damaged", "damaged"}


def test_standard_input_can_be_a_path_a_line(tiny_run: Path, tmp_path: Path, paint: Paint, pipe: Pipe) -> None:
    names = ["a b.png", "猫.png", "P5.png", "x\x0bnot-a-line\u2028end.png", " leading.png"]
    paths = [str(paint(tmp_path / name, "green", 0)) for name in names]
    pipe("\n".join(["", *paths, "", str(tmp_path / "none.png"), ""]).encode())
    assert answers(tiny_run, "-") == [
        *((path, "green") for path in paths),
        (str(tmp_path / "none.png"), "no such file"),
    ]


def test_lines_may_end_as_on_windows(tiny_run: Path, tmp_path: Path, paint: Paint, pipe: Pipe) -> None:
    path = str(paint(tmp_path / "a.png", "red", 0))
    pipe(f"{path}\r\n{path}\r\n".encode())
    assert answers(tiny_run, "-") == [(path, "red")] * 2


def test_one_name_that_is_no_utf8_does_not_spoil_the_list(
    tiny_run: Path, tmp_path: Path, paint: Paint, pipe: Pipe
) -> None:
    good = paint(tmp_path / "a.png", "red", 0)
    latin = os.path.join(os.fsencode(tmp_path), "größe.png".encode("latin-1"))
    Path(os.fsdecode(latin)).write_bytes(good.read_bytes())
    pipe(os.fsencode(good) + b"\n" + latin + b"\n")
    assert answers(tiny_run, "-") == [(str(good), "red"), (os.fsdecode(latin), "red")]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"  \n"])
def test_empty_standard_input_is_an_error_that_says_what_to_pipe(tiny_run: Path, pipe: Pipe, data: bytes) -> None:
    pipe(data)
    with pytest.raises(UsageError, match="standard input is empty; pipe in an image, or a path a line"):
        answers(tiny_run, "-")


def test_answers_come_one_at_a_time(tiny_run: Path, color_folder: Path) -> None:
    stream = predict(tiny_run, [color_folder], device="cpu")
    assert next(stream).label == "blue"
    stream.close()


def test_answers_are_the_predictors(tiny_run: Path, color_folder: Path) -> None:
    images = sorted(str(path) for path in (color_folder / "val").rglob("*.png"))
    assert list(predict(tiny_run, [color_folder / "val"], top=2, device="cpu")) == Predictor(
        tiny_run, device="cpu"
    ).predict(images, top=2)


def test_top_below_one_is_an_error(tiny_run: Path, color_folder: Path) -> None:
    with pytest.raises(FeatherlightError, match="top is 0"):
        next(predict(tiny_run, [color_folder], top=0, device="cpu"))
