"""Training, evaluation and prediction over shards, tables and http, as a person would do it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featherlight.errors import TrainingStoppedError
from featherlight.model_file import read_tensors
from featherlight.sources import open_source
from featherlight.training.recipe import read_recipe
from featherlight.workflows import fit as workflow
from featherlight.workflows import training_images
from featherlight.workflows.observer import Observer
from featherlight.workflows.train import resume, train
from shard_files import NAMES, picture, samples, write_shards, write_splits, write_table
from shard_server import serve_shards

COUNTS = {"train": 48, "val": 9, "test": 9}
SETTINGS = {"model": "mobilenet_v1_x0_25", "batch_size": 6, "input_size": 16, "seed": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The same images as shards, as a Hugging Face folder, and behind http."""
    import datasets

    shards = write_splits(tmp_path_factory.mktemp("shards"), COUNTS, per_shard=20)
    saved = tmp_path_factory.mktemp("saved")
    tables = {"train": write_table(48), "validation": write_table(9, 48), "test": write_table(9, 57)}
    datasets.DatasetDict(tables).save_to_disk(str(saved))
    with pytest.MonkeyPatch.context() as patch, serve_shards(shards) as server:
        patch.delenv("FEATHERLIGHT_OFFLINE", raising=False)
        patch.setenv("no_proxy", "127.0.0.1")
        web = f"{server.url}/{{train-{{0000..0002}},val-0000,test-0000}}.tar"
        yield {"shards": str(shards), "table": str(saved), "web": web}


@pytest.mark.parametrize("kind", ["shards", "table", "web"])
def test_train_evaluate_and_predict(
    data: dict[str, str], tmp_path: Path, cli: Callable[..., Any], capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    run = train(data[kind], out=tmp_path / "run", epochs=20, **SETTINGS)
    assert run.metrics["top1"] == 1.0
    assert (run.metrics["split"], run.metrics["num_images"]) == ("test", 9)
    assert read_recipe(run.path).data == data[kind]
    capsys.readouterr()
    answer = cli("evaluate", run.path, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert (found["data"], found["split"], found["top1"]) == (data[kind], "test", 1.0)
    assert "has changed" not in answer.err
    assert json.loads(cli("evaluate", run.path, data[kind], "--split", "all", "--json").out)["num_images"] == 66
    (tmp_path / "new.png").write_bytes(picture(2, 999))
    assert json.loads(cli("predict", run.path, tmp_path / "new.png", "--json").out)["label"] == NAMES[2]


class InterruptedAt(Observer):
    """Sends what Ctrl-C sends, in the middle of the second epoch."""

    steps = 0

    def step(self, text: str, part_done: float) -> None:
        super().step(text, part_done)
        self.steps += 1
        if self.steps == 11:
            signal.raise_signal(signal.SIGINT)


def train_until_interrupted(data: str, out: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "Observer", InterruptedAt)
        with pytest.raises(TrainingStoppedError, match="--resume"):
            train(data, out=out, **settings)


@pytest.mark.parametrize("kind", ["shards", "table", pytest.param("web", marks=pytest.mark.slow)])
def test_streaming_taken_up_in_the_middle_of_an_epoch_ends_in_the_same_bits(
    data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(training_images, "fits_in_memory", lambda *_: False)  # as if the images were a hundred thousand
    settings = {**SETTINGS, "epochs": 2, "workers": 2}
    whole = train(data[kind], out=tmp_path / "whole", **settings)
    train_until_interrupted(data[kind], tmp_path / "cut", monkeypatch, **settings)
    again = resume(tmp_path / "cut")
    one, other = read_tensors(whole.model_path), read_tensors(again.model_path)
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize("kind", ["shards", "table", "web"])
def test_images_can_be_checked(data: dict[str, str], tmp_path: Path, cli: Callable[..., Any], kind: str) -> None:
    answer = cli("check", data[kind], "--json", "--out", tmp_path / "checked")
    assert answer.code in (0, 1), answer.err
    found = json.loads(answer.out)
    assert (found["num_images"], sorted(found["classes"])) == (66, sorted(NAMES))


def test_model_is_evaluated_on_other_shards_whole(
    data: dict[str, str], tmp_path: Path, cli: Callable[..., Any]
) -> None:
    run = train(data["shards"], out=tmp_path / "run", epochs=1, **SETTINGS)
    write_shards(tmp_path / "other" / "%04d.tar", ({**row, "cls": NAMES[row["cls"]]} for row in samples(12, 900)), 5)
    found = json.loads(cli("evaluate", run.path, tmp_path / "other", "--json").out)
    assert (found["split"], found["num_images"]) == ("test", 12)
    answer = cli("evaluate", run.path, f"{data['shards']}/test-0000.tar", "--json")
    assert json.loads(answer.out)["num_images"] == 9


def test_changed_shards_are_told_when_evaluating_and_refused_when_resuming(
    tmp_path: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = write_splits(tmp_path / "shards", COUNTS, per_shard=20)
    train_until_interrupted(str(shards), tmp_path / "cut", monkeypatch, epochs=2, **SETTINGS)
    run = train(str(shards), out=tmp_path / "run", epochs=1, **SETTINGS)
    write_shards(shards / "test-%04d.tar", samples(9, 700), 20)
    assert "has changed since this model was trained" in cli("evaluate", run.path).err
    assert cli("train", "--resume", tmp_path / "cut").code == 2


def test_only_what_was_held_out_counts_though_the_server_has_other_images_now(
    tmp_path: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FEATHERLIGHT_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve_shards(write_splits(tmp_path / "served", COUNTS, per_shard=50)) as server:
        data = f"{server.url}/{{train,val,test}}-0000.tar"
        run = train(data, out=tmp_path / "run", epochs=1, **SETTINGS)
        write_shards(server.folder / "val-%04d.tar", samples(9, 700), 50)
        assert json.loads(cli("evaluate", run.path, data, "--json").out)["num_images"] == COUNTS["test"]


@pytest.mark.slow
def test_training_beyond_the_room_fetches_each_shard_once_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FEATHERLIGHT_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(training_images, "fits_in_memory", lambda *_: False)
    folder = write_splits(tmp_path / "served", {"train": 300, "val": 12}, per_shard=12)
    largest = max(file.stat().st_size for file in folder.glob("*.tar"))
    monkeypatch.setenv("FEATHERLIGHT_SHARD_SPACE", str(17 * largest))
    with serve_shards(folder) as server:
        train(f"{server.url}/{{train-{{0000..0024}},val-0000}}.tar", out=tmp_path / "run", epochs=2, **SETTINGS)
        fetched = server.shards_fetched
    assert len(fetched) == 26
    assert max(fetched[f"train-{k:04}.tar"] for k in range(25)) <= 3  # to see what is in it, and in two epochs


def test_run_of_a_hub_or_web_name_gets_a_directory_name_that_can_be_typed(
    data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = train(f"{data['web']}#image=png,label=cls", epochs=1, **SETTINGS)
    assert run.path.parent.name == "runs"
    assert set(run.path.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_training_begins_with_what_the_source_says(data: dict[str, str]) -> None:
    prints = {open_source(data[kind]).fingerprint for kind in ("shards", "web")}
    assert len(prints) == 1
