from __future__ import annotations

import io
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.errors import UnreadableImageError
from featherlight.sources import open_source
from featherlight.sources.manifest import remote
from featherlight.sources.manifest.remote import RemoteReader, is_url, place_of
from file_server import FileServer, break_off, redirect


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def server(file_server: FileServer) -> Iterator[FileServer]:
    file_server.files |= {f"/{k}.png": png(k) for k in range(3)}
    yield file_server
    remote._unreached.clear()


def reason(url: str) -> str:
    with pytest.raises(UnreadableImageError) as error:
        RemoteReader((url,))(0)
    assert error.value.path == url
    return error.value.reason


def never_answer(server: FileServer) -> None:
    server.answers += [lambda request: server.done.wait() and None] * 20


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("http://x", True),
        ("HTTPS://X/a", True),
        ("http:/x", False),
        ("file:///x", False),
        ("a/http://x", False),
        ("", False),
    ],
)
def test_addresses_are_told_from_paths(path: str, expected: bool) -> None:
    assert is_url(path) is expected


def test_image_is_fetched_once_and_kept(server: FileServer) -> None:
    read = RemoteReader((f"{server.url}/0.png",))
    assert read.stamp(0) is None
    for _ in range(2):
        np.testing.assert_array_equal(read(0), np.array(Image.open(io.BytesIO(png(0)))))
        assert read.encoded(0) == png(0)
    assert len(server.ranges) == 1
    kept = place_of(f"{server.url}/0.png")
    assert read.stamp(0) == f"{kept}|{len(png(0))}|{kept.stat().st_mtime_ns}"
    assert [file.name for file in kept.parent.iterdir()] == [kept.name]  # no lock or part is left


def test_files_and_addresses_mix(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(7))
    read = RemoteReader((str(tmp_path / "a.png"), f"{server.url}/1.png"))
    assert (read.encoded(0), read.encoded(1)) == (png(7), png(1))


def test_threads_fetch_an_address_once(server: FileServer) -> None:
    read = RemoteReader((f"{server.url}/0.png",))
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(read, [0] * 16))
    assert all(np.array_equal(image, images[0]) for image in images)
    assert len(server.ranges) == 1


def _read_all(urls: tuple[str, ...]) -> int:
    read = RemoteReader(urls)
    return sum(int(read(k).sum()) for k in range(len(urls)))


def test_processes_fetch_an_address_once(server: FileServer) -> None:
    urls = tuple(f"{server.url}/{k}.png" for k in range(3))
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        sums = pool.map(_read_all, [urls] * 3)
    assert set(sums) == {sum(int(np.array(Image.open(io.BytesIO(png(k)))).sum()) for k in range(3))}
    assert len(server.ranges) == 3


def test_nothing_is_shown_while_images_are_fetched(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    RemoteReader((f"{server.url}/0.png",))(0)
    assert capsys.readouterr() == ("", "")


# ---- what can be wrong


def test_missing_image_is_told_and_not_asked_for_again(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        assert reason(f"{server.url}/none.png") == "the server answers 404 Not Found"
    assert len(server.ranges) == 1
    server.files["/none.png"] = png(0)
    monkeypatch.setattr(remote, "RETRY_AFTER_S", 0.0)
    assert RemoteReader((f"{server.url}/none.png",))(0).shape == (8, 8, 3)


def test_host_that_never_answers_is_given_up(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SILENCE_S", 0.1)
    never_answer(server)
    assert {reason(f"{server.url}/{k}.png") for k in range(3)} == {"cannot download (timed out)"}
    host = server.url.removeprefix("http://")
    assert {reason(f"{server.url}/{k}.png") for k in range(10, 90)} == {f"{host} could not be reached 3 times in a row"}
    assert len(server.ranges) == 3


def test_host_that_answers_in_between_is_not_given_up(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SILENCE_S", 0.1)
    for k in range(6):
        if k % 2:
            server.answers.append(lambda request: server.done.wait() and None)
            reason(f"{server.url}/slow{k}.png")
        else:
            reason(f"{server.url}/none{k}.png")
    assert RemoteReader((f"{server.url}/0.png",))(0).shape == (8, 8, 3)


def test_server_that_drips_is_not_waited_for(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TOTAL_S", 0.3)

    def drip(request: BaseHTTPRequestHandler) -> None:
        break_off(b"", 10**6)(request)
        while not server.done.wait(0.01):
            try:
                request.wfile.write(b"x" * 100)
            except OSError:
                return

    server.answers.append(drip)
    assert reason(f"{server.url}/0.png") == "no image within 0.3 s"


def test_connection_that_breaks_off_is_told(server: FileServer) -> None:
    server.answers += [break_off(png(0)[:20], len(png(0)))] + [break_off(b"", len(png(0)))] * 3
    assert reason(f"{server.url}/0.png").startswith("the download broke off (")


def test_refused_connection_is_told(server: FileServer) -> None:
    assert reason("http://127.0.0.1:9/a.png").startswith("cannot download (")  # the discard port; nobody listens


def test_too_many_bytes_are_refused(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 10)
    assert reason(f"{server.url}/0.png") == f"{len(png(0))} bytes; at most 10 are accepted"


def test_page_instead_of_an_image_is_told(server: FileServer) -> None:
    server.files["/page.png"] = b"<!doctype html>"
    assert reason(f"{server.url}/page.png").startswith("not an image")


def test_redirection_to_a_file_is_refused(server: FileServer) -> None:
    server.answers.append(redirect("file:///etc/hostname"))
    assert "302" in reason(f"{server.url}/0.png")


@pytest.mark.parametrize(
    "url", ["http://", "http://[", "http://a b/c", "https:///x.png", "http://x:99999/a", "http://\n/a"]
)
def test_address_that_is_none_is_told(server: FileServer, url: str) -> None:
    assert reason(url)


def test_offline_is_told_and_not_remembered(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("FEATHERLIGHT_OFFLINE", "1")
        assert reason(f"{server.url}/0.png") == "is not fetched, since FEATHERLIGHT_OFFLINE is set"
    assert RemoteReader((f"{server.url}/0.png",))(0).shape == (8, 8, 3)


def test_full_disk_is_told(server: FileServer, disk_with_room_for) -> None:
    with disk_with_room_for(20):
        assert "cannot write" in reason(f"{server.url}/0.png")


# ---- as a source


def manifest(folder: Path, server: FileServer, splits: bool) -> Path:
    server.files |= {f"/{k}.png": png(k) for k in range(40)}
    rows = [
        f"{server.url}/{k}.png,{'ab'[k % 2]}{(',val' if k % 4 < 2 else ',train') if splits else ''}" for k in range(42)
    ]
    (folder / "m.csv").write_text("\n".join([f"url,label{',split' if splits else ''}", *rows]))
    return folder / "m.csv"


@pytest.mark.parametrize("read_up_to", [100, 10])
def test_with_splits_nothing_is_fetched_at_the_start(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_up_to: int
) -> None:
    monkeypatch.setattr("featherlight.sources.fingerprint.READ_UP_TO", read_up_to)
    source = open_source(manifest(tmp_path, server, splits=True))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 20, "val": 22}
    assert server.ranges == []
    before = source.fingerprint
    assert source.splits["train"].read(0).shape == (8, 8, 3)
    assert len(server.ranges) == 1
    assert open_source(source.name).fingerprint == before


def test_without_splits_images_are_fetched_to_be_split(server: FileServer, tmp_path: Path) -> None:
    source = open_source(manifest(tmp_path, server, splits=False))
    assert sum(len(split) for split in source.splits.values()) == 40
    assert source.unreadable == tuple((f"{server.url}/{k}.png", "the server answers 404 Not Found") for k in (40, 41))
    assert len(server.ranges) == 42
    again = open_source(source.name)
    assert again.fingerprint == source.fingerprint
    assert len(server.ranges) == 42


def test_download_that_hangs_does_not_keep_the_process(server: FileServer) -> None:
    never_answer(server)
    script = f"""
from featherlight.sources.manifest import remote
remote.TOTAL_S = 0.1
try: remote.fetch_image("{server.url}/0.png")
except Exception as error: print(error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == f"{server.url}/0.png: no image within 0.1 s\n"
