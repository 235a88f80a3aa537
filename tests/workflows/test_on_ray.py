from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pq = pytest.importorskip("pyarrow.parquet")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, in this process
]

Paint = Callable[[Path, str, int], Path]
COUNT = 2500
PART = 64  # images in a part of so many


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one processor each; what asks them stands outside."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    started = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    started.add_node(**node)
    yield started
    started.shutdown()


@pytest.fixture
def table(tmp_path: Path, paint: Paint) -> Path:
    """Names 2,500 images, every one different, of which every hundredth is damaged."""
    for number in range(COUNT):
        path = paint(tmp_path / "photos" / f"{number:04}.png", ("red", "green", "blue")[number % 3], number)
        if number % 100 == 50:
            path.write_bytes(path.read_bytes()[:200])
    lines = "".join(f"photos/{number:04}.png\n" for number in reversed(range(COUNT)))
    (tmp_path / "list.csv").write_text("path\n" + lines)
    return tmp_path / "list.csv"


def start(model: Path, table: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "featherlight", "predict", str(model), "--input", str(table)]
    command += ["--output", str(output), *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate(timeout=600)
    return process.returncode, err


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.01)


def parts_of(output: Path) -> dict[str, int]:
    """Finished parts, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in Path(f"{output}.parts").glob("[0-9]*.parquet")}


def names_below(pid: int) -> Iterator[bytes]:
    """What the processes are called that a process started, and those that these started."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            yield Path(f"/proc/{child}/cmdline").read_bytes()
            yield from names_below(int(child))


def is_working(node: Any) -> bool:
    """Whether a node is answering a part just now: Ray calls its processes by what they do."""
    raylet = next(info[0].process for name, info in node.all_processes.items() if name == "raylet")
    return any(name.startswith(b"ray::Map") for name in names_below(raylet.pid))


def check(output: Path, table: Path, model: Path) -> None:
    """Every image is answered once, in order, as one process alone answers it."""
    alone = output.with_name("alone.parquet")
    code, err = finish(start(model, table, alone, "--device", "cpu", "--threads", "1"))
    assert code == 1, err
    found, expected = pq.read_table(output), pq.read_table(alone)
    folder = table.parent
    assert found["path"].to_pylist() == [f"{folder}/photos/{number:04}.png" for number in reversed(range(COUNT))]
    assert found["error"].null_count == COUNT - COUNT // 100
    assert found.equals(expected)
    assert not Path(f"{output}.parts").exists()


def test_a_node_killed_midway_costs_no_image_and_none_is_answered_twice(
    cluster: Any, light_run: Path, table: Path, tmp_path: Path
) -> None:
    output, (_, second) = tmp_path / "answers.parquet", cluster.list_all_nodes()
    process = start(light_run, table, output, "--ray", cluster.address)
    wait_for(lambda: len(parts_of(output)) >= 3 and is_working(second), process)
    assert len(parts_of(output)) < COUNT // PART
    cluster.remove_node(second, allow_graceful=False)
    code, err = finish(process)
    assert code == 1, err
    assert err.splitlines()[-2:] == [f"{output}: 2,500 images", "25 images could not be read"]
    check(output, table, light_run)


def test_whoever_asked_is_killed_and_goes_on(cluster: Any, light_run: Path, table: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.parquet"
    process = start(light_run, table, output, "--ray", cluster.address)
    wait_for(lambda: len(parts_of(output)) >= 3, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = parts_of(output)
    assert 3 <= len(kept) < COUNT // PART
    process = start(light_run, table, output, "--ray", cluster.address)
    wait_for(lambda: len(parts_of(output)) > len(kept), process)
    assert kept.items() <= parts_of(output).items()
    code, err = finish(process)
    assert code == 1, err
    assert f"going on: {len(kept) * PART:,} images of 2,500 are answered already" in err
    check(output, table, light_run)


def test_exported_files_run_on_this_machine_alone(
    light_run: Path, color_folder: Path, table: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    import featherlight

    exported = featherlight.export(light_run, "onnx", data=color_folder, out=tmp_path / "exported")
    output = tmp_path / "answers.parquet"
    code, err = finish(start(Path(exported.path), table, output, "--ray", "local"))
    assert code == 1, err
    check(output, table, Path(exported.path))


def test_what_a_worker_finds_wrong_is_one_line(light_run: Path, table: Path, tmp_path: Path) -> None:
    broken = tmp_path / "model.safetensors"
    broken.write_bytes((light_run / "model.safetensors").read_bytes()[:-100])
    code, err = finish(start(broken, table, tmp_path / "answers.parquet", "--ray", "local"))
    assert (code, len(err.splitlines())) == (2, 1), err
    assert err.startswith("error: model.safetensors: damaged model file")
    assert not (tmp_path / "answers.parquet.parts").exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9"),
        ("ray://localhost:10001", "'ray://localhost:10001' is no Ray cluster: write HOST:PORT"),
        ("localhost", "'localhost' is no Ray cluster: write HOST:PORT"),
    ],
)
def test_an_address_where_nothing_answers_is_one_line(
    light_run: Path, table: Path, tmp_path: Path, address: str, message: str
) -> None:
    code, err = finish(start(light_run, table, tmp_path / "answers.parquet", "--ray", address))
    assert (code, len(err.splitlines())) == (2, 1), err
    assert message in err
    assert not (tmp_path / "answers.parquet.parts").exists()
