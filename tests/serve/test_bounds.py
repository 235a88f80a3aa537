"""A server that is asked too much, too slowly or is told to stop."""

from __future__ import annotations

import concurrent.futures
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from running_server import Running, form, picture, run_server, write_colour_model

from featherlight.errors import UsageError
from featherlight.serve import settings
from featherlight.serve.settings import Settings, read_api_keys

KEY, OTHER = "k" * 32, "0123456789abcdef"
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


@pytest.fixture(scope="module")
def slow_picture() -> bytes:
    """Takes a few tenths of a second to decode."""
    return picture(size=(5000, 4000))


@pytest.fixture(scope="module")
def hasty(colour_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with little patience and keys."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(f"# of the gate\n{KEY}\n\n{OTHER}\n")
    options = ("--request-timeout", "3s", "--threads", 1, "--api-key-file", keys)
    with run_server(colour_model, *options) as running:
        yield running


def test_half_sent_headers_end_the_connection(hasty: Running) -> None:
    with hasty.socket() as connection:
        connection.sendall(HEAD)
        for _ in range(3):  # a drop now and then does not help
            time.sleep(0.5)
            connection.sendall(b"X-More: 1\r\n")
        assert hasty.read_all(connection) == b""


def test_half_sent_body_is_408_and_ends_the_connection(hasty: Running) -> None:
    with hasty.socket() as connection:
        connection.sendall(HEAD + b"Authorization: Bearer %s\r\nContent-Length: 1000\r\n\r\nhalf" % KEY.encode())
        answer = hasty.read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert b"connection: close" in answer.lower()


def test_refused_body_that_never_ends_is_answered_in_time(hasty: Running) -> None:
    with hasty.socket() as connection:
        connection.sendall(HEAD + b"Authorization: Bearer %s\r\nContent-Length: 99999999\r\n\r\nhalf" % KEY.encode())
        assert hasty.read_all(connection).startswith(b"HTTP/1.1 413 ")


def test_silent_connection_is_closed(hasty: Running) -> None:
    with hasty.socket() as connection:
        assert hasty.read_all(connection) == b""


def test_endless_headers_are_refused(hasty: Running) -> None:
    with hasty.socket() as connection:
        connection.sendall(HEAD + b"X-Long: " + b"x" * 100_000)
        assert hasty.read_all(connection).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": f"Basic {KEY}"}, {"X-API-Key": ""}, {"X-API-Key": "ä"}],
)
@pytest.mark.parametrize("path", ["/v1/model", "/metrics"])
def test_without_a_key_there_is_no_answer(hasty: Running, path: str, headers: dict[str, str]) -> None:
    with hasty.client() as client:
        response = client.get(path, headers={name: value.encode() for name, value in headers.items()})
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert response.headers["content-type"] == "application/problem+json"
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": OTHER}])
def test_any_of_the_keys_opens(hasty: Running, headers: dict[str, str]) -> None:
    with hasty.client(headers=headers) as client:
        assert client.get("/v1/model").status_code == 200
        assert client.post("/v1/predict", files=form("red")).status_code == 200
        assert client.get("/metrics").status_code == 200


def test_what_does_not_fit_is_refused_at_once_and_a_stop_finishes_the_rest(
    colour_model: Path, slow_picture: bytes
) -> None:
    options = ("--threads", 1, "--queue", 3, "--max-files", 3, "--request-timeout", "100s")
    with (
        run_server(colour_model, *options) as running,
        concurrent.futures.ThreadPoolExecutor(12) as pool,
        running.client(headers={"content-type": "image/png"}) as client,
    ):

        def ask_twelve() -> list[concurrent.futures.Future[httpx.Response]]:
            return [pool.submit(client.post, "/v1/predict", content=slow_picture) for _ in range(12)]

        responses = [asked.result() for asked in ask_twelve()]
        assert {response.status_code for response in responses} == {200, 503}
        for response in responses:
            if response.status_code == 503:
                assert int(response.headers["retry-after"]) >= 1
                assert response.headers["content-type"] == "application/problem+json"
            else:
                assert response.json()["predictions"][0]["label"] == "red"

        asked = ask_twelve()
        while running.metric("featherlight_queue_images") < 3 and not all(future.done() for future in asked):
            time.sleep(0.01)
        assert running.stop() == 0
        assert sum(future.exception() is None and future.result().status_code == 200 for future in asked) >= 3
        assert "Traceback" not in "\n".join(running.lines)


def test_workers_share_an_address_and_their_numbers_and_finish_what_was_accepted(
    colour_model: Path, slow_picture: bytes
) -> None:
    with (
        run_server(colour_model, "--workers", 2, "--threads", 1) as running,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        running.client(headers={"content-type": "image/png"}) as slow,
    ):
        for _ in range(20):  # a connection each
            with running.client() as client:
                assert client.post("/v1/predict", files=form("blue", "red")).status_code == 200
        assert running.metric("featherlight_images_total", '{outcome="answered"}') == 40
        asked = pool.submit(slow.post, "/v1/predict", content=slow_picture)
        while running.metric("featherlight_queue_images") < 1 and not asked.done():
            time.sleep(0.01)
        assert running.stop() == 0
        assert asked.result().status_code == 200


@pytest.mark.slow
def test_workers_do_not_outlive_the_process_that_started_them(colour_model: Path) -> None:
    with run_server(colour_model, "--workers", 2) as running:
        running.process.kill()
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(running.address) != 0:
                    break
            time.sleep(0.05)
        else:
            raise AssertionError("somebody still listens")


def test_public_address_without_a_key_warns_and_an_interrupt_stops_gracefully(colour_model: Path) -> None:
    with run_server(colour_model, "--host", "0.0.0.0") as running:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 0
        warning, _ = running.lines  # what it serves, and no traceback
        assert "0.0.0.0 can be reached from elsewhere" in warning


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_addresses_of_this_machine_alone_are_known(host: str) -> None:
    assert not Settings(Path("m"), host=host).is_public


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_addresses_that_others_can_reach_are_known(host: str) -> None:
    assert Settings(Path("m"), host=host).is_public


@pytest.mark.parametrize(("limit", "cores"), [("max 100000", 64), ("150000 100000", 2), ("10000 100000", 1), ("", 64)])
def test_share_of_a_container_counts_as_its_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, cores: int
) -> None:
    group = Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2]
    (tmp_path / group).mkdir(parents=True, exist_ok=True)
    (tmp_path / group / "cpu.max").write_text(limit)
    monkeypatch.setattr(settings, "CGROUPS", tmp_path)
    monkeypatch.setattr(settings.os, "sched_getaffinity", lambda _: range(64))
    assert Settings(Path("m")).cores == cores
    assert Settings(Path("m"), workers=2).cores == max(1, cores // 2)
    assert Settings(Path("m"), workers=2, threads=3).cores == 3


def serve_in_vain(*arguments: object) -> str:
    command = [sys.executable, "-m", "featherlight", "serve", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_address_that_is_taken_is_named(server: Running, colour_model: Path) -> None:
    port = server.url.rpartition(":")[2]
    assert f"cannot listen at 127.0.0.1:{port}: " in serve_in_vain(colour_model, "--port", port)


def test_model_that_gives_no_numbers_is_not_served(tmp_path: Path) -> None:
    path = write_colour_model(tmp_path / "nan.onnx", broken=True)
    assert "the model gives NaN" in serve_in_vain(path, "--port", 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no key in it"),
        (b"# only\n\n", "no key in it"),
        (b"short\n", "key 1 needs at least 16"),
        (b"a key with spaces in it\n", "no spaces"),
        ("ü".encode() * 20, "printable ASCII"),
        (b"0123456789abcde\x01f\n", "printable"),
    ],
)
def test_keys_that_protect_nothing_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_api_keys(path)


def test_missing_key_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_api_keys(tmp_path / "none")


def test_queue_smaller_than_a_request_is_an_error() -> None:
    with pytest.raises(UsageError, match="raise --queue or lower --max-files"):
        Settings(Path("m"), queue=10, max_files=11)
