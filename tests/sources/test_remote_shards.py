from __future__ import annotations

import gzip
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from featherlight.errors import DataError, DownloadError, UsageError
from featherlight.sources import open_source
from featherlight.sources.remote_shards import RemoteFile, shard_space
from shard_files import NAMES, picture, samples, write_shards, write_splits
from shard_server import ShardServer, serve_shards

COUNTS = {"train": 25, "val": 6, "test": 5}
PATTERN = "{train-{0000..0002},val-0000,test-0000}.tar"
SHARDS = ("train-0000.tar", "train-0001.tar", "train-0002.tar", "val-0000.tar", "test-0000.tar")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShardServer]:
    monkeypatch.delenv("FEATHERLIGHT_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve_shards(write_splits(tmp_path / "served", COUNTS)) as served:
        yield served


def data(server: ShardServer) -> str:
    return f"{server.url}/{PATTERN}"


def fetched_files() -> list[Path]:
    return sorted((Path(os.environ["FEATHERLIGHT_CACHE"]) / "shards" / "files").glob("*.tar"))


def test_shards_behind_http_are_those_on_the_disk(server: ShardServer) -> None:
    near, far = open_source(server.folder), open_source(data(server))
    assert (far.name, far.classes) == (data(server), NAMES)
    assert far.fingerprint == near.fingerprint
    for name, split in far.splits.items():
        assert split.labels.tolist() == near.splits[name].labels.tolist()
        assert split.shards is None
        for k in range(len(split)):
            assert split.read.encoded(k) == near.splits[name].read.encoded(k)
    assert far.splits["val"].paths[0] == f"{server.url.removeprefix('http://')}/val-0000.tar/000025.png"


def test_nothing_is_fetched_twice(server: ShardServer) -> None:
    for _ in range(3):
        source = open_source(data(server))
        for split in source.splits.values():
            for k in range(len(split)):
                split.read(k)
    assert server.shards_fetched == dict.fromkeys(SHARDS, 1)
    assert server.bytes_sent < sum((server.folder / name).stat().st_size for name in SHARDS) + 2000  # and classes.txt


def test_shard_that_changes_on_the_server_is_fetched_anew(server: ShardServer) -> None:
    before = open_source(data(server)).fingerprint
    write_shards(server.folder / "val-%04d.tar", samples(6, 500), 10)
    after = open_source(data(server))
    assert after.fingerprint != before
    assert after.splits["val"].read.encoded(0) == picture(500 % 3, 500)
    assert server.shards_fetched["val-0000.tar"] == 2
    assert server.shards_fetched["train-0000.tar"] == 1


@pytest.mark.parametrize("lacks", ["answers_head", "says_version"])
def test_server_that_says_little_is_enough(server: ShardServer, lacks: str) -> None:
    setattr(server, lacks, False)
    for _ in range(2):
        assert len(open_source(data(server)).splits["train"]) == 25
    assert server.shards_fetched == dict.fromkeys(SHARDS, 1)


def test_what_was_fetched_is_used_when_the_server_is_gone(
    server: ShardServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = open_source(data(server))
    requests = server.heads.total() + server.fetches.total()
    monkeypatch.setenv("FEATHERLIGHT_OFFLINE", "1")
    again = open_source(data(server))
    assert (again.fingerprint, again.classes) == (before.fingerprint, NAMES)
    assert again.splits["train"].read(3).shape == (16, 16, 3)
    assert "cannot be reached; what was fetched before is used" in capsys.readouterr().err
    assert server.heads.total() + server.fetches.total() == requests


def test_server_that_cannot_be_reached_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEATHERLIGHT_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DownloadError, match=r"cannot download http://127\.0\.0\.1:9/train-0\.tar"):
        open_source("http://127.0.0.1:9/train-{0..9}.tar")


def test_shard_that_the_server_does_not_have_is_named(server: ShardServer) -> None:
    with pytest.raises(DataError, match=r"train-0003\.tar: the server has no such file \(404"):
        open_source(f"{server.url}/train-{{0000..0005}}.tar")
    server.answers_head = False
    with pytest.raises(DownloadError, match=r"train-0003\.tar: the server answers 404"):
        open_source(f"{server.url}/train-{{0000..0005}}.tar")


def test_redirections_are_followed_without_fetching_twice(server: ShardServer) -> None:
    source = open_source(f"{server.url}/moved/{PATTERN}")
    assert source.classes == NAMES
    assert server.shards_fetched == dict.fromkeys([*SHARDS, *(f"moved/{name}" for name in SHARDS)], 1)
    assert server.heads["train-0000.tar"] == server.heads["moved/train-0000.tar"] == 1


def test_server_that_fails_is_named_and_the_next_start_goes_on(server: ShardServer) -> None:
    server.answers_head = False
    server.refuses = {"train-0002.tar"}
    with pytest.raises(DownloadError, match=r"train-0002\.tar: the server answers 503"):
        open_source(data(server))
    server.refuses = set()
    open_source(data(server))
    assert server.shards_fetched == {**dict.fromkeys(SHARDS, 1), "train-0002.tar": 2}


def test_damaged_shard_is_named_by_its_address_and_not_kept(server: ShardServer) -> None:
    shard = server.folder / "train-0001.tar"
    content = shard.read_bytes()
    shard.write_bytes(content[:5000])
    with pytest.raises(DataError, match=rf"{server.url}/train-0001\.tar: is no whole tar file"):
        open_source(data(server))
    assert len(fetched_files()) == 1
    shard.write_bytes(content)
    assert len(open_source(data(server)).splits["train"]) == 25


def test_compressed_shards_are_refused_before_they_are_fetched(server: ShardServer) -> None:
    (server.folder / "train-0.tar.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match="is compressed"):
        open_source(f"{server.url}/train-0.tar.gz")
    assert server.fetches.total() == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("http://me:secret@host/a.tar", "host: a name or password in the address"),
        ("http://host/a.tar::b.tar", "cannot be mixed"),
        ("http://host/photos.zip", r"photos\.zip: what can be read behind http\(s\) are WebDataset shards"),
        ("http://host/", "what can be read behind"),
        ("s3://bucket/a-{0..3}.tar", "from this disk or behind http"),
        ("pipe:cat a.tar", "from this disk or behind http"),
    ],
)
def test_address_that_cannot_be_used_is_refused(data: str, message: str) -> None:
    with pytest.raises((UsageError, DataError), match=message):
        open_source(data)


def test_address_with_a_query_is_warned_about(server: ShardServer, capsys: pytest.CaptureFixture[str]) -> None:
    source = open_source(f"{server.url}/train-{{0000..0002}}.tar?token=abc")
    assert source.classes == NAMES
    assert not any("abc" in path for split in source.splits.values() for path in split.paths)
    assert "what stands behind the question mark, is written into the model file" in capsys.readouterr().err


# ---- more than may be kept


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShardServer]:
    """40 training shards, of which fewer than half may be kept."""
    monkeypatch.delenv("FEATHERLIGHT_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = write_splits(tmp_path / "many", {"train": 160, "val": 4}, per_shard=4)
    largest = max(file.stat().st_size for file in folder.glob("*.tar"))
    monkeypatch.setenv("FEATHERLIGHT_SHARD_SPACE", str(17 * largest))
    with serve_shards(folder) as served:
        yield served


def test_shards_beyond_the_room_are_fetched_again_and_the_room_is_kept(
    many: ShardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    source = open_source(f"{many.url}/{{train-{{0000..0039}},val-0000}}.tar")
    assert "each epoch fetches them anew" in capsys.readouterr().err
    assert many.shards_fetched.total() == 41
    train = source.splits["train"]
    assert train.shards is not None
    assert train.bring is not None
    assert len(source.splits["val"]) == 4
    for k in range(160):
        assert train.read.encoded(k) == picture(k % 3, k)
        assert sum(file.stat().st_size for file in fetched_files()) <= shard_space()
    assert max(many.shards_fetched.values()) == 2


def test_opening_again_fetches_nothing(many: ShardServer) -> None:
    first = open_source(f"{many.url}/{{train-{{0000..0039}},val-0000}}.tar")
    assert open_source(f"{many.url}/{{train-{{0000..0039}},val-0000}}.tar").fingerprint == first.fingerprint
    assert many.shards_fetched.total() == 41


def test_splits_are_cut_with_each_shard_fetched_once(many: ShardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    far = open_source(f"{many.url}/train-{{0000..0039}}.tar")
    assert many.shards_fetched.total() == 40
    near = open_source(f"{many.folder}/train-{{0000..0039}}.tar")
    assert far.fingerprint == near.fingerprint
    assert far.own_splits == ("train", "val")


def test_too_little_room_for_the_shards_in_use_is_an_error(many: ShardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = max(file.stat().st_size for file in many.folder.glob("*.tar"))
    monkeypatch.setenv("FEATHERLIGHT_SHARD_SPACE", str(9 * largest))
    with pytest.raises(DataError, match=r"16 shards of up to .* must lie on the disk at the same time"):
        open_source(f"{many.url}/{{train-{{0000..0039}},val-0000}}.tar")
    assert many.fetches.total() == 0


def test_disk_without_room_is_found_before_fetching(server: ShardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(DataError, match=r"has room for 0\.0 GB; set FEATHERLIGHT_CACHE .* or FEATHERLIGHT_SHARD_SPACE"):
        open_source(data(server))
    assert server.fetches.total() == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 100 * 10**9), ("50GB", 50 * 10**9), ("1.5 tb", 15 * 10**11), ("300", 300), ("2M", 2 * 10**6)],
)
def test_room_is_a_size(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("FEATHERLIGHT_SHARD_SPACE", text)
    assert shard_space() == size


@pytest.mark.parametrize("text", ["much", "-1", "1PB", "GB"])
def test_room_that_is_no_size_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FEATHERLIGHT_SHARD_SPACE", text)
    with pytest.raises(UsageError, match="a size like 50GB is expected"):
        shard_space()


# ---- several at once


def _bring(file: RemoteFile) -> int:
    return file.bring().stat().st_size


def test_processes_and_threads_that_want_one_shard_fetch_it_once(server: ShardServer) -> None:
    size = (server.folder / "train-0000.tar").stat().st_size
    file = RemoteFile(f"{server.url}/train-0000.tar", size, "v")
    with multiprocessing.get_context("spawn").Pool(3) as pool, ThreadPoolExecutor(3) as threads:
        sizes = pool.map_async(_bring, [file] * 6)
        assert set(threads.map(_bring, [file] * 6)) == {size}
        assert sizes.get(60) == [size] * 6
    assert server.shards_fetched == {"train-0000.tar": 1}


def test_copy_that_is_deleted_in_between_is_fetched_again(server: ShardServer) -> None:
    split = open_source(data(server)).splits["val"]
    shutil.rmtree(Path(os.environ["FEATHERLIGHT_CACHE"]) / "shards" / "files")
    assert split.read(0).shape == (16, 16, 3)
    assert server.shards_fetched["val-0000.tar"] == 2
