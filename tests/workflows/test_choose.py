from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import featherlight
from featherlight.choosing import Choice
from featherlight.device_profile import DeviceProfile, MeasuredNetwork, write_device_profile
from featherlight.engines import open_engine
from featherlight.errors import GateFailedError, UsageError
from featherlight.files import held_alone
from featherlight.report.texts import texts
from featherlight.training.checkpoint import read_progress
from featherlight.training.metrics_log import read_metrics
from featherlight.training.recipe import read_recipe
from featherlight.workflows import choose_deliver
from featherlight.workflows.choose import choose, resume_choice
from featherlight.workflows.choose_state import Entry, State, read_state
from featherlight.workflows.evaluate import evaluate

NETWORKS = ("mobilenet_v1_x0_25", "shufflenet_v1_g1_x0_25", "shufflenet_v2_x0_5")
TINY: dict[str, Any] = {
    "models": NETWORKS, "input_sizes": (16,), "threads": 1, "device": "cpu", "settings": {"batch_size": 6},
}  # fmt: skip
FIELDS = {"budget", "candidates", "pick", "sentence"}
CANDIDATE = {"model", "latency_ms", "size_bytes", "macs", "accuracy", "trained_s", "dropped"}
PICK = {"model", "accuracy", "split", "files"}


@pytest.fixture(scope="module", autouse=True)
def _seconds_of_computing() -> Iterator[None]:
    """Seconds are those that this process computes, so that a busy machine does not change how the race goes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", time.process_time)
        yield


@pytest.fixture(scope="module")
def impossible(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Choice]:
    """A choice that no network can win; what it measures is remembered for the others here."""
    out = tmp_path_factory.mktemp("impossible") / "out"
    return out, choose(color_folder, max_latency="0.1us", time="1h", out=out, **TINY)


@pytest.fixture(scope="module")
def made(color_folder: Path, impossible: object, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Choice]:
    """Three networks, raced for 14 seconds. Only to be read."""
    out = tmp_path_factory.mktemp("made") / "out"
    return out, choose(color_folder, max_latency="10s", max_size="2MB", time="14s", out=out, **TINY)


@pytest.fixture
def copied(made: tuple[Path, Choice], tmp_path: Path) -> Path:
    """The finished choice, to be changed."""
    return Path(shutil.copytree(made[0], tmp_path / "out"))


def rewind(folder: Path, **limits: float) -> State:
    """What a kill after the race would have left: nothing is delivered yet."""
    content = json.loads((folder / "state.json").read_text())
    for entry in content["entries"].values():
        entry["delivered"] = {}
    content["order"]["limits"] |= limits
    (folder / "state.json").write_text(json.dumps(content))
    shutil.rmtree(folder / "onnx")
    state = read_state(folder)
    assert state is not None
    return state


def test_choose_json_has_the_fields_of_the_contract(made: tuple[Path, Choice]) -> None:
    content = json.loads((made[0] / "choose.json").read_text())
    assert content.keys() >= FIELDS
    assert all(row.keys() >= CANDIDATE for row in content["candidates"])
    assert content["pick"].keys() >= PICK
    assert content["budget"]["max_size_bytes"] == 2_000_000
    assert content["budget"]["time_s"] == 14
    assert sorted(row["model"] for row in content["candidates"]) == sorted(NETWORKS)
    assert content["sentence"] == made[1].sentence


def test_all_race_and_the_best_goes_on_from_where_it_stood(made: tuple[Path, Choice]) -> None:
    folder, choice = made
    assert len(choice.trained) == 3
    state = read_state(folder)
    assert state is not None
    first, last = state.rungs
    assert sorted(first.entrants) == sorted(f"{name}-16" for name in NETWORKS)
    (finalist,) = last.entrants
    assert state.entries[finalist].trained_s > 2 * first.until_s
    assert len(read_recipe(state.run_of(finalist)).history) == 1
    others = [state.entries[name] for name in first.entrants if name != finalist]
    assert all(entry.rungs == 1 and entry.trained_s < 2 * first.until_s for entry in others)


def test_pick_has_the_figures_of_its_exported_file(made: tuple[Path, Choice], color_folder: Path) -> None:
    pick = made[1].pick
    assert pick is not None
    file, model = pick.files
    assert pick.size_bytes == Path(file).stat().st_size
    assert Path(model).name == "model.safetensors"
    assert pick.split == "test"
    assert pick.accuracy == evaluate(file, color_folder, split="test").top1
    assert pick.num_images == 12
    assert pick.agreement == 1.0
    assert open_engine(file).card.model == pick.model
    assert made[1].candidates[0].name == pick.name


def test_picture_and_page_show_every_network(made: tuple[Path, Choice]) -> None:
    folder, choice = made
    page = (folder / "choose.html").read_text(encoding="utf-8")
    assert (folder / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert all(one.name in page for one in choice.candidates)
    assert choice.sentence in page
    assert "http" not in page.replace("http-equiv", "")


def test_command_of_the_answer_asks_for_the_same(made: tuple[Path, Choice], color_folder: Path) -> None:
    command = made[1].command
    assert command.startswith(
        f"featherlight choose {color_folder} --max-latency 10000ms --max-size 2000000B --time 14s"
    )
    assert command.count("--models") == 3
    assert "--set batch_size=6" in command


def test_called_again_nothing_is_done_twice(copied: Path, color_folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}
    choice = choose(color_folder, max_latency="10s", max_size="2MB", time="14s", out=copied, **TINY)
    changed = {path.name for path, at in before.items() if path.stat().st_mtime_ns != at}
    assert changed - {".lock"} == {"state.json", "choose.json", "choose.html", "pareto.png"}
    assert choice.pick is not None


def test_choice_killed_before_its_export_only_exports(copied: Path) -> None:
    state = rewind(copied)
    trained = {name: read_progress(state.run_of(name)).step for name in state.entries}
    choice = resume_choice(copied)
    assert choice.pick is not None
    assert Path(choice.pick.files[0]).is_relative_to(copied.absolute())
    assert {name: read_progress(state.run_of(name)).step for name in state.entries} == trained


@pytest.mark.slow
def test_winner_whose_gate_fails_gives_way_to_the_next(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = rewind(copied)
    real, refused = choose_deliver.export, list[str]()

    def refuse_first(run: Path, *arguments: Any, **options: Any) -> Any:
        if not refused:
            refused.append(run.name)
            raise GateFailedError("not exported, since the file gives other answers than its model")
        return real(run, *arguments, **options)

    monkeypatch.setattr(choose_deliver, "export", refuse_first)
    choice = resume_choice(copied)
    assert choice.pick is not None
    assert choice.pick.name != refused[0]
    dropped = {one.name: one.dropped for one in choice.candidates}
    assert "other answers" in str(dropped[refused[0]])
    assert dropped[choice.pick.name] is None
    assert len(dropped) == len(state.entries)


@pytest.mark.slow
def test_a_file_that_breaks_a_limit_is_not_left_to_be_taken(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewind(copied)
    content = json.loads((copied / "state.json").read_text())
    content["order"]["limits"]["latency_ms"] = 1000.0
    (copied / "state.json").write_text(json.dumps(content))
    monkeypatch.setattr(choose_deliver, "_measure", lambda *_: 2000.0)  # as if the machine had become slow
    assert resume_choice(copied).pick is None
    assert not list(copied.rglob("*.onnx"))


def test_accuracy_that_is_not_reached_says_what_is_missing(copied: Path, cli: Callable[..., Any]) -> None:
    content = json.loads((copied / "state.json").read_text())
    content["order"]["limits"]["accuracy"] = 0.99
    for entry in content["entries"].values():
        if entry["delivered"]:
            entry["delivered"]["accuracy"] = 0.5
    (copied / "state.json").write_text(json.dumps(content))
    answer = cli("choose", "--resume", copied)
    assert answer.code == 1
    assert "99.0% were asked for and 50.0% reached" in answer.out
    assert "--time 56s" in answer.out
    assert json.loads((copied / "choose.json").read_text())["reached"] is False


def test_impossible_limits_end_before_training_with_the_nearest(impossible: tuple[Path, Choice]) -> None:
    folder, choice = impossible
    assert choice.pick is None
    assert not choice.reached
    assert not (folder / "runs").exists()
    assert all(one.dropped and "where 0.0001 ms are allowed" in one.dropped for one in choice.candidates)
    nearest = min(choice.candidates, key=lambda one: one.latency_ms or 0.0)
    assert f"{nearest.model} at 16 px comes nearest" in choice.sentence
    assert choice.advice[0].startswith("Relax: --max-latency")
    assert json.loads((folder / "choose.json").read_text())["pick"] is None


def test_what_breaks_a_limit_by_counting_is_not_measured(color_folder: Path, tmp_path: Path) -> None:
    choice = choose(color_folder, max_macs="1k", time="1h", out=tmp_path / "out", **TINY)
    assert choice.pick is None
    assert all("1k MACs are allowed" in str(one.dropped) for one in choice.candidates)
    assert [one.latency_ms is None for one in choice.candidates] == [False, True, True]  # but the nearest
    assert "--max-macs" in choice.advice[0]


def test_other_options_do_not_go_on_with_a_choice(copied: Path, color_folder: Path) -> None:
    with pytest.raises(UsageError, match="other limits or options"):
        choose(color_folder, max_latency="10s", time="14s", out=copied, **TINY)


def test_changed_images_do_not_go_on_with_a_choice(
    copied: Path, color_folder: Path, tmp_path: Path, paint: Callable[[Path, str, int], Path]
) -> None:
    data = Path(shutil.copytree(color_folder, tmp_path / "data"))
    paint(data / "train" / "red" / "new.png", "red", 999)
    content = json.loads((copied / "state.json").read_text())
    content["order"]["data"] = str(data)
    (copied / "state.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="the images have changed"):
        resume_choice(copied)


def test_folder_with_other_things_is_refused(color_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        choose(color_folder, time="14s", out=tmp_path, **TINY)
    with pytest.raises(UsageError, match="no choice"):
        resume_choice(tmp_path)


def test_two_processes_do_not_work_on_one_choice(copied: Path) -> None:
    before = (copied / "state.json").read_bytes()
    with held_alone(copied / ".lock") as alone:
        assert alone
        with pytest.raises(UsageError, match="another process is at work"):
            resume_choice(copied)
    assert (copied / "state.json").read_bytes() == before


def test_what_a_kill_left_of_an_export_is_swept(copied: Path) -> None:
    rewind(copied)
    (copied / ".onnx-a1b2c3").mkdir()
    (copied / ".onnx-a1b2c3" / "model.onnx").write_bytes(b"half")
    resume_choice(copied)
    assert sorted(path.name for path in copied.iterdir()) == [
        ".lock", "choose.html", "choose.json", "onnx", "pareto.png", "runs", "state.json",
    ]  # fmt: skip


def test_finished_choice_is_told_again_in_another_language(
    copied: Path, made: tuple[Path, Choice], color_folder: Path
) -> None:
    again = choose(color_folder, max_latency="10s", max_size="2MB", time="14s", out=copied, lang="zh", **TINY)
    assert again.pick == replace(made[1].pick, files=again.pick.files, run=again.pick.run)
    page = (copied / "choose.html").read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in page
    assert "未参与选择的图片上的准确率" in page
    resume_choice(copied)
    assert '<html lang="en">' in (copied / "choose.html").read_text(encoding="utf-8")


def test_why_a_network_is_out_is_still_translated_after_a_kill(copied: Path) -> None:
    state = read_state(copied)
    entry = Entry("mobilenet_v1_x0_5", 16, dropped=state.order.limits.broken_by(20_000.0))
    state.entries["mobilenet_v1_x0_5-16"] = entry
    state.save()
    again = read_state(copied).entries["mobilenet_v1_x0_5-16"].dropped
    assert again == "20,000 ms where 10,000 ms are allowed"
    assert texts("zh").tell(again) == "20,000 ms，只允许 10,000 ms"


def test_damaged_state_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"format": 1, "order": {}}')
    with pytest.raises(UsageError, match="damaged"):
        resume_choice(tmp_path)


def measured(network: str, p50_ms: float, input_size: int = 16) -> MeasuredNetwork:
    return MeasuredNetwork(network, 1000, input_size, "onnxruntime", "float32", 1, 4, p50_ms, p50_ms * 1.2, 10**6, None)


def test_device_profile_takes_the_place_of_measuring(color_folder: Path, tmp_path: Path, impossible: object) -> None:
    profile = tmp_path / "pi.json"
    rows = (measured(NETWORKS[0], 40.0), measured(NETWORKS[1], 30.0))
    write_device_profile(profile, DeviceProfile("Raspberry Pi 4", {}, rows))
    choice = choose(color_folder, max_latency="20ms", time="1h", device_profile=profile, out=tmp_path / "out", **TINY)
    assert {one.model: one.latency_ms for one in choice.candidates} == dict(
        zip(NETWORKS, (40.0, 30.0, None), strict=True)
    )
    assert {one.dropped for one in choice.candidates} == {
        "40 ms where 20 ms are allowed", "30 ms where 20 ms are allowed", "not in the device profile",
    }  # fmt: skip
    assert choice.machine == "Raspberry Pi 4"
    assert f"{NETWORKS[1]} at 16 px comes nearest" in choice.sentence


def test_device_profile_without_the_size_says_which_it_has(color_folder: Path, tmp_path: Path) -> None:
    profile = tmp_path / "pi.json"
    write_device_profile(profile, DeviceProfile("Raspberry Pi 4", {}, (measured(NETWORKS[0], 40.0, 224),)))
    with pytest.raises(UsageError, match=r"no such network at 16 px.*it has sizes 224"):
        choose(color_folder, time="1h", device_profile=profile, out=tmp_path / "out", **TINY)
    assert not (tmp_path / "out").exists()


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "featherlight", "choose", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_where_it_would_have_ended(color_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (
        color_folder,
        "--time",
        "25s",
        "--input-size",
        16,
        "--threads",
        1,
        "--set",
        "batch_size=6",
        "--out",
        out,
    )
    names = [word for name in NETWORKS for word in ("--models", name)]
    rows: dict[str, list[dict[str, Any]]] = {}
    for number in range(8):
        process = start(*arguments, *names)
        time.sleep(4 + 1.7 * number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for run in (out / "runs").glob("*"):  # what a finished epoch left is never done again
            known, found = rows.get(run.name, []), read_metrics(run)
            done = read_progress(run).epoch
            assert [row for row in found if row["epoch"] <= done][: len(known)] == known
            rows[run.name] = [row for row in found if row["epoch"] <= done]
    process = start(*arguments, *names)
    assert process.wait() == 0
    content = json.loads((out / "choose.json").read_text())
    assert len(content["candidates"]) == 3
    assert all(Path(file).is_file() for file in content["pick"]["files"])
    for run in (out / "runs").glob("*"):
        assert read_metrics(run)[: len(rows.get(run.name, []))] == rows.get(run.name, [])


@pytest.mark.slow
def test_full_disk_says_how_to_go_on_with_the_choice(color_folder: Path, tmp_path: Path) -> None:
    """As a full disk: files may not grow, first beyond what an exported file needs, then beyond a checkpoint."""
    out = tmp_path / "out"
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, 2 * (int(sys.argv.pop(1)),))\n"
        "from featherlight.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    arguments = [color_folder, "--time", "10s", "--input-size", 16, "--models", NETWORKS[0], "--out", out]
    for limit in (400_000, 1_200_000):
        command = [sys.executable, "-c", code, str(limit), "choose", *map(str, [*arguments, "--set", "batch_size=6"])]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.returncode == 2
        assert found.stderr.count("File too large") == 1
        assert found.stderr.endswith(f"when this is mended, go on with: featherlight choose --resume {out}\n")
    assert resume_choice(out).pick is not None


@pytest.mark.slow
def test_trials_draw_sizes_and_recipes(color_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    given = {**TINY, "input_sizes": (32,), "models": NETWORKS[:2]}
    choice = choose(color_folder, trials=2, time="30s", out=tmp_path / "out", **given)
    drawn = [one for one in choice.candidates if "trial" in one.name]
    assert len(drawn) >= 2
    assert all(set(one.settings) == {"learning_rate", "label_smoothing", "trivial_augment"} for one in drawn)
    state = read_state(tmp_path / "out")
    assert state is not None
    assert {one.name for one in drawn} == {name for name, entry in state.entries.items() if entry.trial}


@pytest.mark.slow
def test_data_without_a_test_split_is_measured_on_images_held_out(color_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(color_folder / "train", data / "train")
    shutil.copytree(color_folder / "val", data / "val")
    choice = choose(data, time="12s", out=tmp_path / "out", **{**TINY, "models": NETWORKS[:1]})
    assert choice.pick is not None
    assert choice.pick.split == "held-out"
    again = featherlight.evaluate(choice.pick.run)
    assert (again.split, again.num_images) == ("test", choice.pick.num_images)
