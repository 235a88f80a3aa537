from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from featherlight.errors import DataError, UnreadableImageError
from featherlight.images import load_image
from featherlight.sources.parts import find_parts
from featherlight.sources.stores import Store, find_store, is_stored, open_store, store_of

Paint = Callable[[Path, str, int], Path]


@pytest.mark.parametrize(
    ("given", "store", "address"),
    [
        ("s3://photos/2024/", Store("s3://", "photos"), "s3://photos/2024"),
        ("S3://photos", Store("s3://", "photos"), "s3://photos"),
        ("gs://b/a.parquet?x=1&y=2", Store("gs://", "b", "x=1&y=2"), "gs://b/a.parquet"),
    ],
)
def test_an_address_is_split_into_store_and_key(given: str, store: Store, address: str) -> None:
    assert is_stored(given)
    assert find_store(given) == (store, address)


@pytest.mark.parametrize("given", ["s3://KEY:SECRET@bucket/a", "s3://bucket/a?secret_key=x", "s3://b/?session_token=x"])
def test_secrets_in_an_address_are_refused_and_not_shown(given: str) -> None:
    with pytest.raises(DataError, match="secrets do not belong into an address") as refused:
        find_store(given)
    assert "SECRET" not in str(refused.value)
    assert "=x" not in str(refused.value)


def test_another_bucket_is_reached_in_the_same_way() -> None:
    known = Store("s3://", "photos", "endpoint_override=localhost:9000")
    assert store_of("s3://photos/a.png", known) == known
    assert store_of("s3://others/a.png", known) == Store("s3://", "others", known.query)
    assert store_of("gs://others/a.png", known) == Store("gs://", "others")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Gives addresses in a bucket of a server that answers as S3 does."""
    pytest.importorskip("pyarrow")
    server = shutil.which("moto_server")
    if server is None:
        pytest.skip("moto_server is not installed")
    from pyarrow.fs import FileSystem

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([server, "-p", str(port)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    # moto's answer at the end of an upload in several pieces is none that Arrow takes: a small file goes in one
    query = f"?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1&allow_delayed_open=true"
    _wait_for(port, process)
    FileSystem.from_uri(f"s3://photos{query}&allow_bucket_creation=true")[0].create_dir("photos")
    yield lambda key: f"s3://photos/{key}{query}"
    process.terminate()
    process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server did not start")


def put(bucket: Callable[[str], str], key: str, content: bytes) -> None:
    with open_store(find_store(bucket(""))[0]).open_output_stream(f"photos/{key}") as stream:
        stream.write(content)


@pytest.mark.slow
def test_images_and_tables_behind_s3(
    bucket: Callable[[str], str], tmp_path: Path, paint: Paint, light_run: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from featherlight.workflows.predict_many import predict_many

    contents = [paint(tmp_path / f"{n}.png", colour, n).read_bytes() for n, colour in enumerate(("red", "blue"))]
    put(bucket, "many/a b%20+?.png", contents[0])  # a key is no quoted address
    put(bucket, "many/deep/b.png", contents[1])
    put(bucket, "many/notes.txt", b"no image")
    put(bucket, "many/z.png", b"no image")
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"path": ["deep/b.png", "s3://photos/many/a b%20+?.png", "none.png"]}), sink)
    put(bucket, "many/list.parquet", sink.getvalue().to_pybytes())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"image": contents}), sink)
    put(bucket, "held/0.parquet", sink.getvalue().to_pybytes())

    def answers(given: str, output: str) -> list[tuple[str, str | None]]:
        predict_many(light_run, [given], output, device="cpu")
        return [(row["path"], row["label"] or row["error"]) for row in read(output)]

    def read(output: str) -> list[dict[str, str]]:
        store, address = find_store(output)
        with store.open(address) as stream:
            rows: list[dict[str, str]] = pq.read_table(stream).to_pylist()
            return rows

    assert answers(bucket("many"), bucket("out/1.parquet")) == [
        ("s3://photos/many/a b%20+?.png", "red"),
        ("s3://photos/many/deep/b.png", "blue"),
        ("s3://photos/many/z.png", "not an image (PNG, JPEG, WebP, BMP, GIF, TIFF or PPM)"),
    ]
    assert answers(bucket("many/list.parquet"), bucket("out/2.parquet")) == [
        ("s3://photos/many/deep/b.png", "blue"),
        ("s3://photos/many/a b%20+?.png", "red"),
        ("s3://photos/many/none.png", "no such file"),
    ]
    assert answers(bucket("held"), bucket("out/3.parquet")) == [
        ("s3://photos/held/0.parquet/000000", "red"),
        ("s3://photos/held/0.parquet/000001", "blue"),
    ]
    store, address = find_store(bucket("out"))
    assert store.list(address) == [f"s3://photos/out/{number}.parquet" for number in (1, 2, 3)]


@pytest.mark.slow
def test_what_is_not_behind_s3_is_named(bucket: Callable[[str], str]) -> None:
    with pytest.raises(DataError, match="s3://photos/none: no such file or folder in this bucket"):
        find_parts([bucket("none")])
    put(bucket, "a.txt", b"x")
    with pytest.raises(DataError, match="neither images nor Parquet files are below it"):
        find_parts([bucket("")])
    with pytest.raises(UnreadableImageError, match="no such file"):
        find_store(bucket("b.png"))[0].read("s3://photos/b.png")
    ((_, image),) = find_parts([bucket("a.txt")])[0].images()
    with pytest.raises(UnreadableImageError, match="not an image"):
        load_image(image)
