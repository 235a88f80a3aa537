"""``featherlight serve`` under load, beside the engine alone and LitServe with the same model, in one run.

ShuffleNetV2 1x at 224 px with fresh weights, exported to ONNX, on real JPEGs over loopback. The client shares the cores
with the server; how much of them it takes is reported.

1. offline: the engine as ``featherlight predict`` runs it, decoding included; before and after the rest
2. eight images a request, as many connections as keep the server busy; LitServe likewise
3. requests of one image, at 70 % of what single images reach: median and 99th percentile of the latency
4. twice that capacity: memory of the server second by second, and what became of every request

    python benchmarks/serving.py --images /data/flowers/val --seconds 20 --overload-minutes 10 --json serving.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from featherlight.cost.latency import machine_name

NETWORK, SIDE = "shufflenet_v2_x1_0", 224
OFFLINE_AIM, TAIL_AIM = 0.7, 5.0
CONNECTIONS = 6  # requests of eight images at a time
LOAD, OVERLOAD = 0.7, 2.0  # of capacity
IDLE_S, MAX_OUTSTANDING = 5.0, 400  # a connection is let go after; the client has at most so many
BOUNDARY = "featherlight-benchmark"
MET = {True: "met", False: "NOT MET"}
ANSWERED = {200, 503}
TICKS = os.sysconf("SC_CLK_TCK")

OFFLINE = """
import sys, time
from pathlib import Path
from featherlight import Predictor
files = [path.read_bytes() for path in sorted(Path(sys.argv[2]).rglob("*.jpg"))[:200]]
predictor = Predictor(sys.argv[1], threads=int(sys.argv[3]))
def images(seconds):
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        yield files[number % len(files)]
        number += 1
list(predictor.stream(images(1.0)))
began = time.monotonic()
count = sum(1 for _ in predictor.stream(images(float(sys.argv[4]))))
print(count / (time.monotonic() - began))
"""

LITSERVE = """
import sys
import litserve
from featherlight import Predictor

class Api(litserve.LitAPI):
    def setup(self, device):
        self.predictor = Predictor(sys.argv[1], threads=1)
    def decode_request(self, request):
        return [file.file.read() for file in request.getlist("files")]
    def batch(self, inputs):
        self.sizes = [len(images) for images in inputs]
        return [image for images in inputs for image in images]
    def predict(self, images):
        return self.predictor.predict(images)
    def unbatch(self, answers):
        answers = iter(answers)
        return [[next(answers) for _ in range(size)] for size in self.sizes]
    def encode_response(self, answers):
        return {"predictions": [answer.to_row() for answer in answers]}

if __name__ == "__main__":
    api = Api(max_batch_size=4, batch_timeout=0.005)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=int(sys.argv[3]), timeout=30).run(
        host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="error"
    )
"""


@dataclass
class Results:
    """What became of requests: statuses (0: no answer), latencies of those answered with 200, seconds it took."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    client_cpu: float = 0.0  # cores
    server_cpu: float = 0.0

    @property
    def rate(self) -> float:
        return self.statuses[200] / self.seconds

    def percentile(self, percent: float) -> float:
        return 1000 * float(np.percentile(self.latencies, percent)) if self.latencies else float("nan")


def write_model(folder: Path, given: str) -> Path:
    """The network as an ONNX file, in the form that is fastest here."""
    import torch

    from featherlight import Preprocessing, create_model, load_model, save_model
    from featherlight.engines.exported import ExportedCard
    from featherlight.targets.base import Draft, find_target
    from featherlight.workflows.fastest_form import choose_form

    torch.manual_seed(0)
    classes = [f"class {number}" for number in range(1000)]
    path = save_model(create_model(NETWORK), folder / "m.safetensors", classes, Preprocessing(SIDE))
    model, target = load_model(path), find_target("onnx")
    exported = ExportedCard(model.card, "tensor" if given == "tensor" else "image")  # type: ignore[arg-type]
    place = folder / "onnx"
    place.mkdir()
    target.write(Draft(choose_form(model, target, exported).network, exported), place)
    return place / target.file_names[0]


def form_body(images: Sequence[bytes]) -> bytes:
    """A whole request with the images as a form."""
    parts = [
        b'--%s\r\nContent-Disposition: form-data; name="files"; filename="%d.jpg"\r\n\r\n%s\r\n'
        % (BOUNDARY.encode(), number, image)
        for number, image in enumerate(images)
    ]
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """A keep-alive connection that opens itself anew when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._last = 0.0

    async def ask(self, request: bytes) -> int:
        """Sends a request; gives the status, 0 when there was no answer."""
        try:
            if time.monotonic() > self._last + IDLE_S:
                self.close()
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
            reader, writer = self._streams
            writer.write(request)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = re.search(r"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            self._last = time.monotonic() if "connection: close" not in head else 0.0
            return int(head.split(" ", 2)[1])
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def closed_loop(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Results:
    """Each connection sends its next request when it has the answer to the last."""
    results, began, number = Results(), time.monotonic(), 0

    async def work() -> None:
        nonlocal number
        connection = Connection(port)
        while time.monotonic() < began + seconds:
            number += 1
            sent = time.monotonic()
            results.statuses[await connection.ask(requests[number % len(requests)])] += 1
            results.latencies.append(time.monotonic() - sent)
        connection.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    results.seconds = time.monotonic() - began
    return results


async def open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Results:
    """Requests come at random moments, whether the last ones were answered or not; latency counts from that moment."""
    results, idle, tasks = Results(), list[Connection](), set[asyncio.Task[None]]()
    random = np.random.default_rng(0)
    began = due = time.monotonic()
    slots = asyncio.Semaphore(MAX_OUTSTANDING)

    async def work(number: int, due: float) -> None:
        connection = idle.pop() if idle else Connection(port)
        status = await connection.ask(requests[number % len(requests)])
        results.statuses[status] += 1
        if status == 200:
            results.latencies.append(time.monotonic() - due)
        idle.append(connection)
        slots.release()

    number = 0
    while due < began + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await slots.acquire()
        tasks.add(task := asyncio.create_task(work(number, due)))
        task.add_done_callback(tasks.discard)
        number, due = number + 1, due + random.exponential(1 / rate)
    await asyncio.gather(*tasks)
    results.seconds = time.monotonic() - began
    assert sum(results.statuses.values()) == number
    for connection in idle:
        connection.close()
    return results


def processes_of(pid: int) -> list[int]:
    """A process and what it started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [each for child in task.read_text().split() for each in processes_of(int(child))]
    return found


def cpu_seconds(pid: int) -> float:
    """That a process and its children have used."""
    fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in processes_of(pid)]
    return sum(int(values[11]) + int(values[12]) for values in fields) / TICKS


def memory_mb(pid: int) -> float:
    """Resident, of a process and its children."""
    texts = [Path(f"/proc/{one}/status").read_text() for one in processes_of(pid)]
    return sum(int(match[1]) for text in texts if (match := re.search(r"VmRSS:\s+(\d+)", text))) / 1000


def measured(pid: int, run: Callable[[], Any]) -> Results:
    """Runs a loop and notes which cores it took."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    client, server = usage.ru_utime + usage.ru_stime, cpu_seconds(pid)
    results: Results = asyncio.run(run())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    results.client_cpu = (usage.ru_utime + usage.ru_stime - client) / results.seconds
    results.server_cpu = (cpu_seconds(pid) - server) / results.seconds
    return results


@contextmanager
def server(command: Sequence[str], port: int) -> Iterator[int]:
    """A server's process, once it accepts connections."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                raise SystemExit(f"{command} ended with {process.returncode}")
            time.sleep(0.2)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with suppress(ProcessLookupError):  # LitServe's workers outlive it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def offline(model: Path, images: Path, threads: int, seconds: float) -> float:
    command = [sys.executable, "-c", OFFLINE, str(model), str(images), str(threads), str(seconds)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def show(name: str, results: Results, images: int) -> dict[str, Any]:
    row = {
        "what": name,
        "images_per_s": results.rate * images,
        "p50_ms": results.percentile(50),
        "p99_ms": results.percentile(99),
        "statuses": dict(results.statuses),
        "client_cores": results.client_cpu,
        "server_cores": results.server_cpu,
    }
    print(
        f"{name:34} {row['images_per_s']:7.1f} images/s  p50 {row['p50_ms']:7.1f} ms  p99 {row['p99_ms']:7.1f} ms  "
        f"client {results.client_cpu:.2f} of the cores, server {results.server_cpu:.2f}  {row['statuses']}",
        flush=True,
    )
    return row


async def watched_overload(
    pid: int, port: int, requests: Sequence[bytes], rate: float, seconds: float, memory: list[float]
) -> Results:
    async def watch() -> None:
        while True:
            memory.append(memory_mb(pid))
            await asyncio.sleep(1)

    watching = asyncio.create_task(watch())
    results = await open_loop(port, requests, rate, seconds)
    watching.cancel()
    return results


def measure_ours(options: argparse.Namespace, model: Path, eights: list[bytes], ones: list[bytes]) -> dict[str, Any]:
    port = free_port()
    command = [sys.executable, "-m", "featherlight", "serve", str(model), "--port", str(port), *options.serve.split()]
    memory: list[float] = []
    with server(command, port) as pid:
        measured(pid, lambda: closed_loop(port, eights, CONNECTIONS, 3))
        eight = measured(pid, lambda: closed_loop(port, eights, CONNECTIONS, options.seconds))
        single = measured(pid, lambda: closed_loop(port, ones, 4 * CONNECTIONS, options.seconds))
        steady = measured(pid, lambda: open_loop(port, ones, LOAD * single.rate, options.seconds))
        rows = [
            show("serve: eight images a request", eight, 8),
            show("serve: one image a request", single, 1),
            show(f"serve: {LOAD:.0%} load", steady, 1),
        ]
        seconds = 60 * options.overload_minutes
        over = measured(pid, lambda: watched_overload(pid, port, ones, OVERLOAD * single.rate, seconds, memory))
        rows.append(show(f"serve: {OVERLOAD:.0%} load", over, 1))
    tenth = memory[len(memory) // 10]
    print(f"memory, MB: at first {memory[0]:.0f}, after a tenth {tenth:.0f}, at the end {memory[-1]:.0f}")
    tail = steady.percentile(99) / steady.percentile(50)
    print(f"p99 / p50 at {LOAD:.0%} load: {tail:.1f}, at most {TAIL_AIM:g} wanted: {MET[tail <= TAIL_AIM]}")
    print(f"every request answered or refused: {MET[set(over.statuses) <= ANSWERED]}")
    return {"rows": rows, "memory_mb": memory, "tail": tail}


def measure_litserve(
    options: argparse.Namespace, model: Path, eights: list[bytes], folder: Path
) -> dict[str, Any] | None:
    if find_spec("litserve") is None:
        print("LitServe is not installed")
        return None
    port, script = free_port(), folder / "lit.py"
    script.write_text(LITSERVE)
    with server([sys.executable, str(script), str(model), str(port), str(options.threads)], port) as pid:
        time.sleep(5)  # its worker loads the model after the port is open
        requests = [request.replace(b"/v1/predict", b"/predict", 1) for request in eights]
        measured(pid, lambda: closed_loop(port, requests, CONNECTIONS, 3))
        found = measured(pid, lambda: closed_loop(port, requests, CONNECTIONS, options.seconds))
        return show("LitServe: eight images a request", found, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=Path, required=True, help="a folder of JPEGs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, help="an exported file, in place of the one that is made")
    parser.add_argument("--input", choices=("image", "tensor"), default="image", help="of the exported file")
    parser.add_argument("--serve", default="", help="more options for featherlight serve")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each load")
    parser.add_argument("--overload-minutes", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    files = [path.read_bytes() for path in sorted(options.images.rglob("*.jpg"))[:200]]
    if not files:
        parser.error(f"no .jpg in {options.images}")
    ones = [form_body([file]) for file in files]
    eights = [form_body([files[(start + k) % len(files)] for k in range(8)]) for start in range(0, len(files), 8)]
    print(f"{machine_name()}; {len(files)} JPEGs of {np.mean([len(file) for file in files]) / 1000:.0f} kB")
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or write_model(Path(folder), options.input)
        before = offline(model, options.images, options.threads, options.seconds)
        print(f"offline: {before:.1f} images/s")
        ours = measure_ours(options, model, eights, ones)
        lit = measure_litserve(options, model, eights, Path(folder))
        after = offline(model, options.images, options.threads, options.seconds)
        share = ours["rows"][0]["images_per_s"] / ((before + after) / 2)
        print(f"offline afterwards: {after:.1f} images/s")
        print(f"serve reaches {share:.0%} of offline, {OFFLINE_AIM:.0%} wanted: {MET[share >= OFFLINE_AIM]}")
    if options.json is not None:
        found = {"machine": machine_name(), "offline": [before, after], "ours": ours, "litserve": lit, "share": share}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
