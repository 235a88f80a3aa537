from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from featherlight import download
from featherlight.download import fetch
from featherlight.errors import DownloadError, UsageError
from file_server import FileServer, break_off, hang_up, redirect, send

CONTENT = np.random.default_rng(0).bytes(200_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(file_server: FileServer) -> FileServer:
    file_server.files["/a.bin"] = CONTENT
    return file_server


def part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def left_over(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".lock")


@pytest.mark.parametrize("sha256", [SHA, SHA[:8], SHA.upper(), None])
def test_file_arrives_whole(server: FileServer, tmp_path: Path, sha256: str | None) -> None:
    target = fetch(f"{server.url}/a.bin", tmp_path / "new" / "a.bin", sha256=sha256)
    assert target.read_bytes() == CONTENT
    assert left_over(target.parent) == ["a.bin"]


def test_file_that_is_there_and_right_is_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    for _ in range(2):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA)
    assert len(server.ranges) == 1


def test_damaged_file_that_is_there_is_replaced(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(CONTENT[:-1])
    assert fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA).read_bytes() == CONTENT


def test_wrong_checksum_names_url_and_path_and_keeps_nothing(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256="0" * 64)
    assert f"{server.url}/a.bin" in str(caught.value)
    assert str(tmp_path / "a.bin") in str(caught.value)
    assert SHA in str(caught.value)
    assert left_over(tmp_path) == []


def test_problem_that_verify_finds_is_told(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="it is no picture"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", verify=lambda file: "it is no picture")
    assert left_over(tmp_path) == []


def test_connection_that_breaks_off_is_taken_up_where_it_ended(server: FileServer, tmp_path: Path) -> None:
    server.answers.append(break_off(CONTENT[:70_000], len(CONTENT)))
    assert fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=70000-"]


def test_interrupted_download_is_taken_up_by_the_next_call(server: FileServer, tmp_path: Path) -> None:
    server.answers += [break_off(CONTENT[:70_000], len(CONTENT)), hang_up]
    with pytest.raises(DownloadError, match="broke off") as caught:
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA)
    assert f"{server.url}/a.bin" in str(caught.value)
    assert str(tmp_path / "a.bin") in str(caught.value)
    assert not (tmp_path / "a.bin").exists()
    assert fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=70000-", "bytes=70000-"]


def test_server_without_ranges_sends_all_again(server: FileServer, tmp_path: Path) -> None:
    server.knows_ranges = False
    part_of(tmp_path / "a.bin").write_bytes(CONTENT[:50_000])
    assert fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"x" * 50_000, b"x" * len(CONTENT), b"x" * 300_000], ids=["other", "full", "longer"])
def test_part_of_another_file_is_thrown_away(server: FileServer, tmp_path: Path, part: bytes) -> None:
    part_of(tmp_path / "a.bin").write_bytes(part)
    assert fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA).read_bytes() == CONTENT


def test_without_a_checksum_an_old_part_is_not_trusted(server: FileServer, tmp_path: Path) -> None:
    part_of(tmp_path / "a.bin").write_bytes(b"x" * 50_000)
    assert fetch(f"{server.url}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.ranges == [None]


def test_range_that_was_not_asked_for_is_refused(server: FileServer, tmp_path: Path) -> None:
    part_of(tmp_path / "a.bin").write_bytes(CONTENT[:50_000])
    server.answers.append(lambda request: send(request, CONTENT[9:], 206, f"bytes 9-{len(CONTENT) - 1}/*"))
    with pytest.raises(DownloadError, match="another part"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA)


def test_missing_file_tells_the_servers_answer(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"nothing\.bin.* 404 Not Found.*put it there: .*a\.bin"):
        fetch(f"{server.url}/nothing.bin", tmp_path / "a.bin", sha256=SHA)
    assert left_over(tmp_path) == []


def test_no_network_names_url_and_path(tmp_path: Path, file_server: FileServer) -> None:
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/a\.bin .*refused.*put it there: .*a\.bin"):
        fetch("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", sha256=SHA)  # the discard port; nobody listens


def test_offline_is_a_choice(tmp_path: Path) -> None:  # conftest sets it for all tests
    with pytest.raises(DownloadError, match="FEATHERLIGHT_OFFLINE is set"):
        fetch("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", sha256=SHA)


def test_server_that_never_answers_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.answers.append(lambda request: server.done.wait() and None)
    with pytest.raises(DownloadError, match="timed out"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA, timeout_s=0.2)


def test_server_that_falls_silent_is_given_up(server: FileServer, tmp_path: Path) -> None:
    def stall(request: BaseHTTPRequestHandler) -> None:
        break_off(CONTENT[:1000], len(CONTENT))(request)
        server.done.wait()

    server.answers += [stall, stall]
    with pytest.raises(DownloadError, match="broke off"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA, timeout_s=0.2)


def test_server_that_drips_is_given_up(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 1)

    def drip(request: BaseHTTPRequestHandler) -> None:
        break_off(b"", len(CONTENT))(request)
        while not server.done.wait(0.02):
            try:
                request.wfile.write(b"x")
            except OSError:
                return

    server.answers.append(drip)
    with pytest.raises(DownloadError, match="slower than"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA, timeout_s=0.2)


def test_file_that_announces_too_much_is_refused(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="200,000 bytes; at most 1,000"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", max_bytes=1000)
    assert left_over(tmp_path) == []


def test_file_without_announced_size_is_cut_at_the_limit(server: FileServer, tmp_path: Path) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not server.done.is_set():
            try:
                request.wfile.write(b"x" * 10_000)
            except OSError:
                return

    server.answers.append(endless)
    with pytest.raises(DownloadError, match="more than 1,000,000 bytes"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", max_bytes=1_000_000)
    assert part_of(tmp_path / "a.bin").stat().st_size == 0


def test_redirection_is_followed(server: FileServer, tmp_path: Path) -> None:
    server.answers.append(redirect(f"{server.url}/a.bin"))
    assert fetch(f"{server.url}/old.bin", tmp_path / "a.bin", sha256=SHA).read_bytes() == CONTENT


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:,x"])
def test_redirection_to_anything_but_http_is_refused(server: FileServer, tmp_path: Path, location: str) -> None:
    server.answers.append(redirect(location))
    with pytest.raises(DownloadError, match=r"not followed|302"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert left_over(tmp_path) == []


def test_redirections_in_a_circle_end(server: FileServer, tmp_path: Path) -> None:
    server.answers += [redirect("/b.bin")] * 50
    with pytest.raises(DownloadError, match="302"):
        fetch(f"{server.url}/b.bin", tmp_path / "a.bin")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a", "a.bin", "https://", "http://[::1", ""])
def test_address_that_is_not_http_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="no http or https address"):
        fetch(url, tmp_path / "a.bin")


@pytest.mark.parametrize("sha256", ["abc", "x" * 64, SHA + "0"])
def test_checksum_that_is_none_is_refused(tmp_path: Path, sha256: str) -> None:
    with pytest.raises(UsageError, match="no SHA-256"):
        fetch("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", sha256=sha256)


def test_folder_that_cannot_be_written_is_told(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match="cannot write"):
        fetch(f"{server.url}/a.bin", tmp_path / "file" / "a.bin")


def test_full_disk_is_told(server: FileServer, tmp_path: Path, disk_with_room_for) -> None:
    with disk_with_room_for(50_000), pytest.raises(DownloadError, match=r"cannot write .*a\.bin"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA)


def test_two_at_once_fetch_one_file_once(server: FileServer, tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=fetch, args=(f"{server.url}/a.bin", tmp_path / "a.bin"), kwargs={"sha256": SHA})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert len(server.ranges) == 1
