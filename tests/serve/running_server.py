"""A tiny exported model made by hand, and the real server in a process of its own."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from featherlight.engines.exported import ExportedCard
from featherlight.files import write_bytes
from featherlight.images import Preprocessing
from featherlight.model_file import ModelCard

COLOURS = {"blue": (20, 30, 220), "green": (30, 200, 40), "red": (230, 30, 20)}
BLACK, GREY = (0, 0, 0), (120, 121, 122)
SIDE = 16


def write_colour_model(
    path: Path,
    classes: tuple[str, ...] = tuple(COLOURS),
    *,
    broken: bool = False,
    fragile: bool = False,
    reject: dict[str, Any] | None = None,
) -> Path:
    """An exported file that names the colour which most of an image has: means of channels, times 10.

    Args:
        path: where.
        classes: in the order blue, green, red.
        broken: all of its outputs are NaN.
        fragile: means are divided by the brightest, so that of black images its outputs are NaN.
        reject: when it says that it does not know, see ``ModelCard``.
    """
    weights = np.float32(np.nan if broken else 10) * np.eye(3, dtype=np.float32)[::-1]
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("ReduceMax", ["means", "last"], ["brightest"], keepdims=1),
        helper.make_node("Div", ["means", "brightest" if fragile else "white"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    constants = {
        "axes": np.array([1, 2], np.int64),
        "last": np.array([1], np.int64),
        "white": np.float32(255),
        "weights": weights,
    }
    graph = helper.make_graph(
        nodes, "colours",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("logits", "probabilities")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    card = ModelCard("colour_means", {"num_classes": 3}, classes, Preprocessing(SIDE), reject=reject)
    helper.set_model_props(model, ExportedCard(card).to_metadata())
    write_bytes(path, model.SerializeToString())
    return path


def picture(colour: str | tuple[int, int, int] = "red", size: tuple[int, int] = (24, 18), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour] if isinstance(colour, str) else colour).save(file, kind)
    return file.getvalue()


def form(*colours: str) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (f"{colour}-{number}.png", picture(colour))) for number, colour in enumerate(colours)]


@dataclass
class Running:
    """A server and what it said so far."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def socket(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=60)

    @staticmethod
    def read_all(connection: socket.socket) -> bytes:
        """What the server sends until it closes the connection."""
        received = b""
        while piece := connection.recv(2**16):
            received += piece
        return received

    def wait_for_line(self, text: str, seconds: float = 30) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in self.lines:
                if text in line:
                    return line
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{text!r} is in none of {self.lines}")

    def metric(self, name: str, labels: str = "") -> float:
        with self.client() as client:
            text = client.get("/metrics").text
        return sum(float(value) for value in re.findall(rf"^{name}{re.escape(labels)} (\S+)$", text, re.MULTILINE))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def run_server(model: Path, *options: object) -> Iterator[Running]:
    """``featherlight serve`` at a free port, ready; stopped at the end if it still runs."""
    command = [sys.executable, "-m", "featherlight", "serve", str(model), "--port", "0", *map(str, options)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stderr is not None
    running = Running(process)
    reader = threading.Thread(target=_read, args=(running,), daemon=True)
    reader.start()
    try:
        address = re.search(r"http://\S+:\d+", running.wait_for_line("serving "))
        assert address is not None
        running.url = address[0].replace("0.0.0.0", "127.0.0.1")
        with running.client() as client:
            assert client.get("/readyz").status_code == 200
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(10)
        process.stderr.close()


def _read(running: Running) -> None:
    assert running.process.stderr is not None
    for line in running.process.stderr:
        running.lines.append(line.rstrip())
