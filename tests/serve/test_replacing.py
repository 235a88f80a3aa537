"""The model's file is replaced while the server answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import Running, form, run_server, write_colour_model

GERMAN = ("blau", "grün", "rot")


class Asking:
    """Asks again and again, and notes every answer."""

    def __init__(self, server: Running) -> None:
        self.answers: list[tuple[int, tuple[str, ...]]] = []
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        with self._server.client() as client:
            while not self._over.is_set():
                response = client.post("/v1/predict", files=form("red", "blue", "green", "red"))
                rows = response.json().get("predictions", [])
                self.answers.append((response.status_code, tuple(row["label"] for row in rows)))
                time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_colour_model(tmp_path / "model.onnx")
    return tmp_path


@pytest.fixture
def serving(folder: Path) -> Iterator[Running]:
    with run_server(folder) as running:
        yield running


def test_replaced_model_takes_over_without_losing_a_request(serving: Running, folder: Path) -> None:
    with Asking(serving) as asking:
        write_colour_model(folder / "model.onnx", GERMAN)
        serving.wait_for_line("took over the new model")
        time.sleep(0.3)
    english, german = ("red", "blue", "green", "red"), ("rot", "blau", "grün", "rot")
    assert asking.answers[0] == (200, english)
    assert asking.answers[-1] == (200, german)
    assert set(asking.answers) == {(200, english), (200, german)}  # no request is answered by both
    assert asking.answers.index((200, german)) == asking.answers.count((200, english))
    assert serving.metric("featherlight_model_loads_total", '{outcome="taken over"}') == 1
    with serving.client() as client:
        assert client.get("/v1/model").json()["classes"] == list(GERMAN)


def test_broken_models_are_refused_and_the_old_one_stays(serving: Running, folder: Path) -> None:
    path = folder / "model.onnx"
    with Asking(serving) as asking:
        write_colour_model(path, GERMAN, broken=True)
        serving.wait_for_line("refused the new model, the old one stays: the model gives NaN")
        path.write_bytes(path.read_bytes()[:300])
        serving.wait_for_line(f"refused the new model, the old one stays: {path}")
        path.unlink()
        time.sleep(1.5)
        write_colour_model(path, GERMAN)
        serving.wait_for_line("took over the new model")
        time.sleep(0.3)
    assert {status for status, _ in asking.answers} == {200}
    assert asking.answers[-1][1][0] == "rot"
    assert serving.metric("featherlight_model_loads_total", '{outcome="refused"}') == 2
    assert sum("refused the new model" in line for line in serving.lines) == 2
    assert "Traceback" not in "\n".join(serving.lines)
