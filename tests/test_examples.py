"""Every example runs as it stands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
NUM_IMAGES = 80  # of a colour
Load = Callable[[str], ModuleType]


@pytest.fixture
def example(load_script: Callable[[Path], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Imports an example; what it writes goes into an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda name: load_script(EXAMPLES / f"{name}.py")


def test_every_example_is_on_the_page_and_tested_here() -> None:
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    tests = Path(__file__).read_text(encoding="utf-8")
    for name in set(NAMES) - {"demo"}:  # tests/test_demo.py runs that one
        assert f'--8<-- "examples/{name}.py"' in page
        assert f'"{name}"' in tests


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "demo"])
def test_help_of_an_example_shows_how_it_is_called(name: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", "--help"], capture_output=True, text=True, check=True
    )
    assert f"python examples/{name}.py" in done.stdout


def test_photos_are_sorted_by_what_the_model_says(example: Load, paint: Callable[..., Path], tmp_path: Path) -> None:
    heap = tmp_path / "heap"
    for number, colour in enumerate(("blue", "green", "red")):
        paint(heap / str(number) / "photo.png", colour, number)
    (heap / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (heap / "notes.txt").touch()
    counts = example("sort_photos").sort_photos("cifar10", heap, tmp_path / "sorted")
    assert counts.total() == 3
    assert {path.parent.name for path in (tmp_path / "sorted").rglob("*.png")} == set(counts)
    assert len(list(heap.rglob("*.png"))) == 3


@pytest.mark.slow
def test_network_of_an_own_loop_is_a_model_that_predicts(
    example: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = example("own_training_loop")
    loop.main(tmp_path / "own.safetensors", epochs=5)
    right = float(capsys.readouterr().out.rsplit(": ", 1)[1].partition("%")[0])
    assert right > 80


def test_own_loop_gives_the_network_what_predictors_give_it(example: Load, tmp_path: Path) -> None:
    import torch

    import featherlight

    loop = example("own_training_loop")
    images = loop.load_images()[0][:5]
    network = featherlight.create_model("mobilenet_v1_x0_25", num_classes=10, input_size=loop.SIDE).eval()
    featherlight.save_model(network, tmp_path / "own.safetensors", loop.CLASSES, loop.PREPROCESSING)
    with torch.inference_mode():
        expected = network(loop.normalise(images)).softmax(1).amax(1)
    answers = featherlight.Predictor(tmp_path / "own.safetensors").predict(images)
    torch.testing.assert_close(torch.tensor([answer.probability for answer in answers]), expected, atol=1e-5, rtol=0)


def test_exported_file_gives_the_models_answer_to_a_program_of_its_own(
    example: Load, light_run: Path, color_folder: Path, tmp_path: Path
) -> None:
    import featherlight

    script = example("export_and_run")
    image = color_folder / "test" / "red" / "00.png"
    label, probability = script.name_image(script.export(str(light_run), tmp_path / "net.onnx"), image)
    (expected,) = featherlight.Predictor(light_run).predict(image)
    assert label == expected.label == "red"
    assert probability == pytest.approx(expected.probability, abs=1e-5)


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server of the model that comes with the package."""
    with subprocess.Popen(
        [sys.executable, "-m", "featherlight", "serve", "cifar10", "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        yield next(word.rstrip("/;") for line in process.stderr for word in line.split() if word.startswith("http://"))
        process.terminate()
        process.stderr.read()


@pytest.mark.slow
def test_server_answers_its_client(
    example: Load, server: str, color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    client = example("ask_server")
    good, bad = client.ask(server, [color_folder / "test" / "red" / "00.png", tmp_path / "broken.jpg"])
    assert good["probability"] > 0
    assert "error" in bad
    with pytest.raises(SystemExit, match="400: "):
        client.ask(server, [tmp_path / "broken.jpg"])


def test_manifest_has_labels_and_groups_of_file_names(
    example: Load, paint: Callable[..., Path], tmp_path: Path
) -> None:
    from featherlight.sources import open_source

    script = example("manifest_from_names")
    for colour in ("blue", "red"):
        for number in range(NUM_IMAGES):
            paint(tmp_path / "photos" / f"{colour}-series{number // 2}-{number:02}.png", colour, number)
    script.train_on_names(tmp_path / "photos", tmp_path / "out", epochs=1)
    assert (tmp_path / "out" / "run" / "model.safetensors").is_file()
    source = open_source(tmp_path / "out" / "images.csv")
    groups = [set(split.groups or ()) for split in source.splits.values()]
    assert source.classes == ("blue", "red")
    assert sum(map(len, groups)) == len(set.union(*groups)) == NUM_IMAGES // 2


@pytest.mark.slow
def test_a_run_in_python_answers(
    example: Load, color_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").touch()
    images = [str(color_folder / "test" / "red" / "00.png"), "broken.png"]
    example("train_and_predict").train_and_predict(str(color_folder), images, epochs=10)
    *_, share, answer, broken = capsys.readouterr().out.splitlines()
    assert "% of 12 test images are right" in share
    assert answer.startswith(f"{images[0]}: ")
    assert broken.startswith("broken.png: cannot be read")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "function", "settings"),
    [
        ("compare_recipes", "compare_recipes", {"model": "mobilenet_v1_x0_25"}),
        ("distill", "distill", {"large": "mobilenet_v1_x0_5"}),
    ],
)
def test_two_ways_of_training_end_in_a_sentence(
    example: Load, color_folder: Path, tmp_path: Path, name: str, function: str, settings: dict[str, Any]
) -> None:
    sentence = getattr(example(name), function)(str(color_folder), tmp_path / "runs", epochs=2, **settings)
    assert sentence.endswith(".")
    assert len(list((tmp_path / "runs").rglob("model.safetensors"))) >= 2
