from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import featherlight
from featherlight.errors import DataError, UsageError
from featherlight.model_file import read_card, read_tensors, write_model_file
from featherlight.workflows.compare import short_names, split_arguments

COLOURS = ("blue", "green", "red")
Paint = Callable[[Path, str, int], Path]


@pytest.fixture
def changed(tiny_run: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a copy of the model with other classes, biases or origin."""

    def write(
        name: str,
        classes: tuple[str, ...] = COLOURS,
        bias: dict[str, float] | None = None,
        **provenance: Any,
    ) -> Path:
        source = tiny_run / "model.safetensors"
        card, tensors = read_card(source), read_tensors(source)
        weight, biases = (key for key in tensors if tensors[key].shape[:1] == (3,))
        if len(tensors[weight].shape) == 1:
            weight, biases = biases, weight
        order = [COLOURS.index(label) if label in COLOURS else -1 for label in classes]
        known = np.array(order) >= 0
        tensors[weight] = np.where(known[:, None], tensors[weight][order], 0).astype(np.float32)
        tensors[biases] = np.where(known, tensors[biases][order], -100).astype(np.float32)
        for label, shift in (bias or {}).items():
            tensors[biases][classes.index(label)] += shift
        card = replace(
            card, classes=classes, arguments={**card.arguments, "num_classes": len(classes)},
            provenance={**card.provenance, **provenance},
        )  # fmt: skip
        path = tmp_path / name / "model.safetensors"
        path.parent.mkdir()
        write_model_file(path, tensors, card)
        return path

    return write


def test_same_network_with_classes_in_another_order_gives_the_same_answers(
    tiny_run: Path, changed: Callable[..., Path]
) -> None:
    other = changed("turned", ("red", "blue", "green"))
    result = featherlight.compare([tiny_run, other], latency_s=0, threads=1)
    assert (result.split, result.num_images, result.classes) == ("test", 12, COLOURS)
    assert [model.accuracy for model in result.models] == [1.0, 1.0]
    assert result.disagreements == ()
    assert result.pairs[0].difference == 0
    assert result.models[0].nll == pytest.approx(result.models[1].nll, rel=1e-5)
    assert "name every image alike" in result.sentence


def test_model_that_names_all_images_alike_is_really_worse_and_its_answers_are_listed(
    tiny_run: Path, changed: Callable[..., Path]
) -> None:
    blind = changed("blind", bias={"green": 1e4})
    result = featherlight.compare([blind, tiny_run], split="all", latency_s=0, threads=1)
    assert result.num_images == 60
    (pair,) = result.pairs
    assert (pair.only_first, pair.only_second, pair.disagreements) == (0, 40, 40)
    assert pair.difference == pytest.approx(2 / 3)
    assert pair.real
    assert result.models[0].recall == {"blue": 0.0, "green": 1.0, "red": 0.0}
    assert {one.true for one in result.disagreements} == {"blue", "red"}
    assert all(one.answers == ("green", one.true) for one in result.disagreements)
    assert all(Path(one.path).parent.name == one.true for one in result.disagreements)
    assert result.sentence.startswith("tiny is better than model.safetensors by 66.7 points")


def test_cost_is_counted_and_latency_measured_in_turn(tiny_run: Path, changed: Callable[..., Path]) -> None:
    result = featherlight.compare([tiny_run, changed("other")], latency_s=0.01, threads=1)
    expected = featherlight.profile(tiny_run)
    for model in result.models:
        assert (model.params, model.macs) == (expected.params, expected.macs)
        assert model.size_bytes > 1e6
        assert model.latency_ms is not None
        assert model.latency_ms > 0
    assert result.threads == 1


def test_figures_are_those_of_an_evaluation(tiny_run: Path, changed: Callable[..., Path]) -> None:
    unsure = changed("unsure", bias={"green": 0.7})
    result = featherlight.compare([tiny_run, unsure], split="val", latency_s=0, threads=1)
    for model, path in zip(result.models, (tiny_run, unsure), strict=True):
        alone = featherlight.evaluate(path, split="val")
        assert (model.accuracy, list(model.accuracy_interval)) == (alone.top1, alone.top1_interval)
        assert (model.ece, model.nll) == pytest.approx((alone.ece, alone.nll), rel=1e-5)


@pytest.mark.slow
def test_exported_files_and_model_files_mix(tiny_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnx = featherlight.export(tiny_run, "onnx", out=tmp_path / "tiny.onnx").path
    result = featherlight.compare([tiny_run, onnx], latency_s=0.01, threads=1)
    assert [model.engine for model in result.models] == ["torch", "onnxruntime"]
    assert result.models[0].macs == result.models[1].macs
    assert result.models[1].size_bytes == Path(onnx).stat().st_size
    assert result.disagreements == ()
    assert any("different engines" in note for note in result.notes)
    as_onnx = featherlight.compare([tiny_run, onnx], engine="onnxruntime", latency_s=0, threads=1)
    assert [model.engine for model in as_onnx.models] == ["onnxruntime", "onnxruntime"]
    with pytest.raises(UsageError, match="the torch engine cannot run"):
        featherlight.compare([tiny_run, onnx], engine="torch", latency_s=0, threads=1)


def test_model_with_further_classes_is_compared_on_the_images_classes(
    tiny_run: Path, changed: Callable[..., Path]
) -> None:
    more = changed("more", (*COLOURS, "violet"))
    result = featherlight.compare([tiny_run, more], latency_s=0, threads=1)
    assert result.disagreements == ()
    assert any("also knows 1 class that these images lack: violet" in note for note in result.notes)


def test_model_that_lacks_a_class_is_named(tiny_run: Path, changed: Callable[..., Path]) -> None:
    fewer = changed("fewer", ("blue", "green"))
    with pytest.raises(DataError, match=r"fewer/model\.safetensors: the model never saw this class: red"):
        featherlight.compare([tiny_run / "model.safetensors", fewer], latency_s=0, threads=1)


def test_models_trained_on_different_images_need_data_that_none_saw(
    tiny_run: Path, changed: Callable[..., Path], color_folder: Path, tmp_path: Path, paint: Paint
) -> None:
    stranger = changed("stranger", data="elsewhere", fingerprint="another")
    with pytest.raises(UsageError, match="not trained on the same images; name some"):
        featherlight.compare([tiny_run, stranger], latency_s=0, threads=1)
    for colour in COLOURS:
        for seed in range(3):
            paint(tmp_path / "new" / colour / f"{seed}.png", colour, 900 + seed)
    result = featherlight.compare([tiny_run, stranger], tmp_path / "new", latency_s=0, threads=1)
    assert result.num_images == 9


def test_images_that_one_model_was_trained_on_are_left_out_for_all(
    tiny_run: Path, changed: Callable[..., Path], tmp_path: Path, paint: Paint
) -> None:
    data = tmp_path / "flat"
    for colour in COLOURS:
        for seed in range(20):
            paint(data / colour / f"{seed}.png", colour, seed)
    from featherlight.sources import open_source

    source = open_source(data)
    trained = changed("trained", data=source.name, fingerprint=source.fingerprint)
    stranger = changed("stranger", data="elsewhere", fingerprint="another")
    result = featherlight.compare([stranger, trained], data, latency_s=0, threads=1)
    held_out = source.splits["test" if "test" in source.splits else "val"]
    assert result.num_images == len(held_out) < 60


def test_model_that_does_not_know_its_data_asks_for_some(tiny_run: Path, changed: Callable[..., Path]) -> None:
    unknown = changed("unknown", data=None)
    with pytest.raises(UsageError, match="does not say what it was trained on; name the images: featherlight compare"):
        featherlight.compare([unknown, tiny_run], latency_s=0, threads=1)


def test_what_is_no_comparison_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least two"):
        featherlight.compare([tiny_run])
    with pytest.raises(UsageError, match="are the same model"):
        featherlight.compare([tiny_run, tiny_run / "model.safetensors"])
    with pytest.raises(UsageError, match="threads cannot be measured"):
        featherlight.compare([tiny_run, "cifar10"], threads=1000)


def test_unreadable_image_is_left_out_for_all(
    tiny_run: Path, changed: Callable[..., Path], color_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(color_folder / "test", tmp_path / "data"))
    (data / "red" / "00.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = featherlight.compare([tiny_run, changed("other")], data, latency_s=0, threads=1)
    assert result.num_images == 11
    assert capsys.readouterr().err.count("red/00.png") == 1


def test_page_json_and_curves_are_written(tiny_run: Path, changed: Callable[..., Path], tmp_path: Path) -> None:
    second = Path(shutil.copytree(tiny_run, tmp_path / "second"))
    shutil.copy(changed("blind", bias={"green": 1e4}), second / "model.safetensors")
    out = tmp_path / "out"
    result = featherlight.compare([tiny_run, second], latency_s=0, threads=1, out=out)
    found = json.loads((out / "compare.json").read_text())
    assert found == json.loads(json.dumps(result.to_dict()))
    assert found["disagreements"][0]["answers"] == {"tiny": found["disagreements"][0]["true"], "second": "green"}
    page = (out / "compare.html").read_text()
    assert page.count("data:image/jpeg") == len(result.disagreements) == 8
    assert page.count('<figure class="chart lines">') == 3
    assert result.sentence in page
    assert f"featherlight compare {tiny_run} {second}" in page
    assert "://" not in page
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_names_are_as_short_as_they_can_be() -> None:
    assert short_names(["runs/a", "runs/b/"]) == ["a", "b"]
    assert short_names(["runs/a/model.onnx", "runs/b/model.onnx"]) == ["a/model.onnx", "b/model.onnx"]
    assert short_names(["cifar10", "x/cifar10"]) == ["cifar10", "x/cifar10"]


def test_last_argument_that_is_no_model_is_the_data(tiny_run: Path, color_folder: Path, tmp_path: Path) -> None:
    a, b, data = str(tiny_run), str(tiny_run / "model.safetensors"), str(color_folder)
    assert split_arguments([a, b, data], None) == ([a, b], data)
    assert split_arguments([a, b, "digits"], None) == ([a, b], "digits")
    assert split_arguments([a, b, "cifar10"], None) == ([a, b], "cifar10")
    assert split_arguments([a, b, "gone.onnx"], None) == ([a, b, "gone.onnx"], None)
    assert split_arguments([a, b], None) == ([a, b], None)
    assert split_arguments([a, b, data], "digits") == ([a, b, data], "digits")


def test_threads_of_this_process_come_back(tiny_run: Path, changed: Callable[..., Path]) -> None:
    before = torch.get_num_threads()
    featherlight.compare([tiny_run, changed("other")], latency_s=0, threads=1)
    assert torch.get_num_threads() == before
