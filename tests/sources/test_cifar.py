from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_layouts import Images, read_source, write_archive, write_binary, write_python
from featherlight.errors import DataError, FeatherlightError
from featherlight.sources import Source, open_source
from featherlight.sources.cifar import _CLASSES

CLASSES = ("bird", "cat", "dog")
Writer = Callable[[Path], None]


def make(count: int, seed: int) -> Images:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
    return Images(pixels, np.arange(count) % len(CLASSES), [f"{i}.png" for i in range(count)])


TRAIN, TEST = make(60, 1), make(9, 2)


def binary(folder: Path) -> None:
    write_binary(folder, CLASSES, TRAIN, TEST)


def python(folder: Path) -> None:
    write_python(folder, CLASSES, TRAIN, TEST)


def binary100(folder: Path) -> None:
    folder.mkdir()
    for name, images in (("train.bin", TRAIN), ("test.bin", TEST)):
        labels = np.stack([np.full(len(images.labels), 99), images.labels], axis=1).astype(np.uint8)
        (folder / name).write_bytes(np.concatenate([labels, images.pixels], axis=1).tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(CLASSES) + "\n")
    (folder / "coarse_label_names.txt").write_text("animals\n")


def python100(folder: Path) -> None:
    folder.mkdir()
    for name, images in (("train", TRAIN), ("test", TEST)):
        content = {b"data": images.pixels, b"fine_labels": images.labels.tolist(), b"coarse_labels": [0]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    (folder / "meta").write_bytes(pickle.dumps({b"fine_label_names": [c.encode() for c in CLASSES]}, protocol=2))


LAYOUTS: dict[str, Writer] = {"binary": binary, "python": python, "binary100": binary100, "python100": python100}
KINDS = {"binary": "cifar10", "python": "cifar10", "binary100": "cifar100", "python100": "cifar100"}
each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def check(source: Source) -> None:
    """Every image of both splits is there once, with its own label."""
    assert source.classes == CLASSES
    assert set(source.splits) == {"train", "val", "test"}
    assert source.flip_safe
    for names, images in ((("train", "val"), TRAIN), (("test",), TEST)):
        seen = {}
        for name in names:
            split = source.splits[name]  # type: ignore[index]
            seen |= {int(path.rsplit("/")[-1]): (split.read(i), split.labels[i]) for i, path in enumerate(split.paths)}
        assert sorted(seen) == list(range(len(images.labels)))
        for i, (image, label) in seen.items():
            np.testing.assert_array_equal(image, images.pixels[i].reshape(3, 32, 32).transpose(1, 2, 0))
            assert label == images.labels[i]
    assert 0 < len(source.splits["val"]) < 20


@each_layout
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("packed", ["", ".tar.gz", ".TGZ"])
def test_every_layout_is_recognised_by_content(tmp_path: Path, layout: str, nested: bool, packed: str) -> None:
    folder = tmp_path / "my data\n" / "stuff"
    folder.parent.mkdir()
    LAYOUTS[layout](folder)
    path = folder.parent if nested else folder
    if packed:
        path = tmp_path / f"any name{packed}"
        with tarfile.open(path, "w:gz") as tar:
            tar.add(folder, arcname="inner" if nested else ".")
    source = open_source(path)
    check(source)
    assert source.name == str(path)
    kind = KINDS[layout]
    assert source.splits["test"].paths[3] == f"{kind}/test/00003"
    assert all(path.startswith(f"{kind}/train/") for path in source.splits["val"].paths)


def test_both_layouts_of_the_same_data_are_the_same_source(tmp_path: Path) -> None:
    for layout in ("binary", "python"):
        LAYOUTS[layout](tmp_path / layout)
    assert open_source(tmp_path / "binary").fingerprint == open_source(tmp_path / "python").fingerprint


def test_fingerprint_changes_with_a_pixel_or_a_label(tmp_path: Path) -> None:
    binary(tmp_path / "c")
    before = open_source(tmp_path / "c").fingerprint
    assert open_source(tmp_path / "c").fingerprint == before
    file = tmp_path / "c" / "test_batch.bin"
    data = bytearray(file.read_bytes())
    for position in (0, 5):  # the first label; one of the first pixels
        changed = bytearray(data)
        changed[position] = (changed[position] + 1) % 3
        file.write_bytes(changed)
        assert open_source(tmp_path / "c").fingerprint != before


def test_images_are_one_array_and_splits_can_be_pickled(tmp_path: Path) -> None:
    binary(tmp_path / "c")
    source = open_source(tmp_path / "c")
    assert source.splits["train"].read.reader is source.splits["test"].read.reader  # type: ignore[attr-defined]
    split = pickle.loads(pickle.dumps(source.splits["val"]))
    np.testing.assert_array_equal(split.read(0), source.splits["val"].read(0))


def test_duplicates_of_training_images_stay_on_one_side(tmp_path: Path) -> None:
    twice = Images(np.concatenate([TRAIN.pixels] * 2), np.concatenate([TRAIN.labels] * 2), TRAIN.filenames * 2)
    write_binary(tmp_path / "c", CLASSES, twice, TEST)
    splits = open_source(tmp_path / "c").splits
    numbers = {name: {int(path[-5:]) % 60 for path in splits[name].paths} for name in ("train", "val")}
    assert not numbers["train"] & numbers["val"]


@each_layout
def test_without_names_the_well_known_ones_are_used(tmp_path: Path, layout: str) -> None:
    kind = KINDS[layout]
    names = _CLASSES[kind]  # type: ignore[index]
    assert len(set(names)) == {"cifar10": 10, "cifar100": 100}[kind]
    assert list(names) == sorted(names)
    assert names[3] == {"cifar10": "cat", "cifar100": "bear"}[kind]
    LAYOUTS[layout](tmp_path / "c")
    for meta in ("batches.meta.txt", "batches.meta", "fine_label_names.txt", "meta"):
        (tmp_path / "c" / meta).unlink(missing_ok=True)
    with pytest.raises(DataError, match=f"class '{names[3]}' has only 0 readable images"):
        open_source(tmp_path / "c")


@pytest.mark.parametrize(
    ("layout", "missing"), [("binary", "data_batch_3.bin"), ("python", "test_batch"), ("binary100", "test.bin")]
)
def test_missing_batches_are_named(tmp_path: Path, layout: str, missing: str) -> None:
    LAYOUTS[layout](tmp_path / "c")
    (tmp_path / "c" / missing).unlink()
    with pytest.raises(DataError, match=f"looks like {KINDS[layout]}, but {missing} is missing"):
        open_source(tmp_path / "c")


@pytest.mark.parametrize("data", [b"", b"x", bytes(3072), bytes(3073 * 2 - 1)])
def test_wrong_size_of_records_is_refused(tmp_path: Path, data: bytes) -> None:
    binary(tmp_path / "c")
    (tmp_path / "c" / "data_batch_2.bin").write_bytes(data)
    with pytest.raises(DataError, match=r"data_batch_2\.bin: has \d+ bytes, not a multiple of 3073"):
        open_source(tmp_path / "c")


def test_labels_out_of_range_are_refused(tmp_path: Path) -> None:
    binary(tmp_path / "c")
    (tmp_path / "c" / "test_batch.bin").write_bytes(b"\x03" + bytes(3072))
    with pytest.raises(DataError, match=r"test_batch\.bin: has labels from 3 to 3, but there are 3 classes"):
        open_source(tmp_path / "c")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({b"data": TEST.pixels, b"labels": [0] * 8}, "has 9 images but 8 labels"),
        ({b"data": TEST.pixels, b"labels": [-1] * 9}, "has labels from -1 to -1, but there are 3 classes"),
        ({b"data": TEST.pixels, b"labels": [0.5] * 9}, "labels are not a list of numbers"),
        ({b"data": TEST.pixels, b"labels": [2**70] * 9}, "labels are not a list of numbers"),
        ({b"data": TEST.pixels}, "labels are not a list of numbers"),
        ({b"labels": [0]}, r"images are not an array of \(N, 3072\) bytes"),
        ({b"data": TEST.pixels[:, :9].copy(), b"labels": [0] * 9}, r"images are not an array of \(N, 3072\) bytes"),
        ({b"data": [1, 2], b"labels": [0]}, "images are not an array"),
        ([], "the pickle holds no dictionary"),
    ],
)
def test_wrong_content_of_a_batch_is_refused(tmp_path: Path, content: object, message: str) -> None:
    python(tmp_path / "c")
    (tmp_path / "c" / "test_batch").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=rf"test_batch: .*{message}"):
        open_source(tmp_path / "c")


@pytest.mark.parametrize("content", [{}, {b"label_names": b"cat"}, {b"label_names": [1, 2]}])
def test_wrong_pickled_class_names_are_refused(tmp_path: Path, content: object) -> None:
    python(tmp_path / "c")
    (tmp_path / "c" / "batches.meta").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=r"batches\.meta: .*no list of class names"):
        open_source(tmp_path / "c")


@pytest.mark.parametrize("text", ["", "cat\n", "cat\ncat\ndog\n"])
def test_wrong_class_names_are_refused(tmp_path: Path, text: str) -> None:
    binary(tmp_path / "c")
    (tmp_path / "c" / "batches.meta.txt").write_text(text)
    with pytest.raises(DataError, match="at least two different class names"):
        open_source(tmp_path / "c")


def test_hostile_pickle_in_a_data_set_is_refused_and_not_run(tmp_path: Path) -> None:
    python(tmp_path / "c")
    marker = tmp_path / "marker"
    (tmp_path / "c" / "data_batch_1").write_bytes(f"cos\nsystem\n(S'touch {marker}'\ntR.".encode())
    with pytest.raises(DataError, match=r"data_batch_1: refused, the pickle asks for os\.system"):
        open_source(tmp_path / "c")
    assert not marker.exists()


def test_two_different_data_sets_in_one_folder_are_ambiguous(tmp_path: Path) -> None:
    binary(tmp_path / "a")
    python100(tmp_path / "b")
    with pytest.raises(DataError, match=r"holds both CIFAR-10 and CIFAR-100; give one of them: .*a or .*b"):
        open_source(tmp_path)


# ---- archives


def write_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return path


def member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def test_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", [member("cats/1.png", b"x"), member("dogs/1.png", b"x")])
    with pytest.raises(DataError, match="holds no CIFAR files; unpack an archive of other images"):
        open_source(archive)


def test_links_devices_and_deep_members_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(3073))
    links = [
        member("c/data_batch_1.bin", type=tarfile.SYMTYPE, linkname=str(tmp_path / "secret")),
        member("c/data_batch_2.bin", type=tarfile.LNKTYPE, linkname=str(tmp_path / "secret")),
        member("c/data_batch_3.bin", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
        member("a/b/c/data_batch_4.bin", bytes(3073)),
        member("../data_batch_5.bin", bytes(3073)),
        member("c/test_batch.bin", bytes(3073)),
    ]
    archive = write_tar(tmp_path / "a.tar.gz", links)
    with pytest.raises(DataError, match=r"is missing"):
        open_source(archive)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz", "secret"]  # nothing was unpacked


def test_archive_with_too_many_members_is_refused(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", [member(f"c/{i}") for i in range(1001)])
    with pytest.raises(DataError, match="more than 1000 members, so it is not CIFAR"):
        open_source(archive)


def test_archive_bomb_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    with gzip.open(archive, "wb", compresslevel=1) as file:
        for _ in range(513):
            file.write(bytes(2**20))
    with pytest.raises(DataError, match="more than 512 MB unpacked"):
        open_source(archive)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_cut_archive_is_called_unfinished(tmp_path: Path, share: float) -> None:
    binary(tmp_path / "c")
    write_archive(tmp_path / "c", tmp_path / "a.tar.gz")
    data = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"a\.tar\.gz: not a readable \.tar\.gz, perhaps an unfinished download"):
        open_source(tmp_path / "a.tar.gz")


def test_member_longer_than_its_archive_is_refused(tmp_path: Path) -> None:
    info = member("c/test_batch.bin")[0]
    info.size = 3073 * 1000
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(10_000)))
    with pytest.raises(DataError):
        open_source(tmp_path / "a.tar.gz")


@pytest.mark.parametrize(
    "damage", [b"not gzip", gzip.compress(b"not tar", mtime=0), gzip.compress(b"x" * 2048, mtime=0)]
)
def test_damaged_archive_is_refused(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "a.tgz").write_bytes(damage)
    with pytest.raises(DataError, match="not a readable"):
        open_source(tmp_path / "a.tgz")


# ---- known names


@each_layout
@pytest.mark.parametrize("packed", [False, True])
def test_known_name_is_found_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, packed: bool
) -> None:
    kind = KINDS[layout]
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("FEATHERLIGHT_DATA", str(data))
    if packed:
        LAYOUTS[layout](tmp_path / "c")
        name = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-binary.tar.gz"}[kind]
        write_archive(tmp_path / "c", data / name)
    else:
        LAYOUTS[layout](data / "c")
    other = {"cifar10": python100, "cifar100": binary}[kind]
    other(data / "a")  # the other data set beside it is no matter
    source = open_source(kind)
    check(source)
    assert source.name == kind


def test_known_name_is_found_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path))
    (tmp_path / "data").mkdir()
    binary(tmp_path / "data" / "c")
    check(open_source("cifar10"))


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def website(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real web server for the files in ``tmp_path``."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_known_name_is_downloaded_checked_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, website: str, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    python(tmp_path / "c")
    served = tmp_path / "served.tar.gz"
    write_archive(tmp_path / "c", served)
    monkeypatch.setenv("FEATHERLIGHT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{website}/served.tar.gz")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(served.read_bytes()).hexdigest())
    check(open_source("cifar10"))
    assert capsys.readouterr().out == ""  # standard output belongs to results
    served.unlink()
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["cifar-10-python.tar.gz"]
    check(open_source("cifar10"))


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_no_network_says_what_to_get_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pytest.importorskip("torchvision.datasets")
    monkeypatch.setenv("FEATHERLIGHT_DATA", str(tmp_path))
    for proxy in ("https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("no_proxy", raising=False)
    file = f"cifar-{kind[5:]}-python.tar.gz"
    with pytest.raises(DataError, match=rf"https://\S+/{file} by other means and put it there as {tmp_path}/{file}"):
        open_source(kind)
    assert not list(tmp_path.iterdir())


def test_wrong_download_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, website: str) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    (tmp_path / "served").write_text("a login page")
    monkeypatch.setenv("FEATHERLIGHT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{website}/served")
    with pytest.raises(DataError, match="the download failed"):
        open_source("cifar10")
    assert not list((tmp_path / "data").iterdir())


def test_data_folder_that_cannot_be_made_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision.datasets")
    (tmp_path / "file").touch()
    monkeypatch.setenv("FEATHERLIGHT_DATA", str(tmp_path / "file" / "data"))
    with pytest.raises(FeatherlightError, match="cannot write"):
        open_source("cifar10")


# ---- the writer


def test_writer_makes_the_official_sizes_and_keys(tmp_path: Path) -> None:
    binary(tmp_path / "b")
    python(tmp_path / "p")
    batches = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    assert sorted(f.name for f in (tmp_path / "b").iterdir()) == sorted(
        ["batches.meta.txt", *(f"{name}.bin" for name in batches)]
    )
    assert (tmp_path / "b" / "data_batch_1.bin").stat().st_size == 12 * 3073
    assert sorted(f.name for f in (tmp_path / "p").iterdir()) == sorted(["batches.meta", *batches])
    batch = pickle.loads((tmp_path / "p" / "data_batch_5").read_bytes(), encoding="bytes")
    assert set(batch) == {b"batch_label", b"labels", b"data", b"filenames"}
    assert batch[b"batch_label"] == b"training batch 5 of 5"
    assert batch[b"data"].shape == (12, 3072)
    assert (tmp_path / "p" / "data_batch_5").read_bytes()[:2] == b"\x80\x02"
    meta = pickle.loads((tmp_path / "p" / "batches.meta").read_bytes(), encoding="bytes")
    assert meta == {b"num_cases_per_batch": 12, b"label_names": [b"bird", b"cat", b"dog"], b"num_vis": 3072}


def test_writer_as_a_script_makes_what_the_folder_holds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 4)):
        for name in CLASSES:
            folder = tmp_path / "jpg" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{i:04d}.jpg")
    script = Path(__file__).parents[2] / "benchmarks" / "cifar_layouts.py"
    command = [sys.executable, str(script), str(tmp_path / "jpg"), str(tmp_path / "out"), "--archive"]
    subprocess.run(command, check=True, timeout=120)
    check_same(open_source(tmp_path / "jpg"), open_source(tmp_path / "out" / "cifar-10-batches-bin"))
    check_same(open_source(tmp_path / "jpg"), open_source(tmp_path / "out" / "cifar-10-python.tar.gz"))
    labels = open_source(tmp_path / "out").splits["train"].labels
    assert (np.diff(labels) != 0).sum() > 20  # classes are mixed


def check_same(folder: Source, cifar: Source) -> None:
    """Two sources hold the same images with the same labels in the same splits, in whatever order."""
    assert folder.classes == cifar.classes
    assert set(folder.splits) == set(cifar.splits)
    for name, split in folder.splits.items():
        pairs = [
            sorted((hashlib.sha256(s.read(i)).digest(), int(s.labels[i])) for i in range(len(s)))
            for s in (split, cifar.splits[name])
        ]
        assert pairs[0] == pairs[1]


def test_real_subset_is_the_same_through_folder_and_both_layouts(tmp_path: Path, cifar_zip: Path) -> None:
    with zipfile.ZipFile(cifar_zip) as archive:
        names = [name for name in archive.namelist() if name.endswith(("0.jpg", "5.jpg")) and "/00" in name]
        archive.extractall(tmp_path / "jpg", names)
    classes, train, test = read_source(tmp_path / "jpg")
    assert (len(train.labels), len(test.labels)) == (200, 200)
    write_binary(tmp_path / "bin", classes, train, test)
    write_python(tmp_path / "py", classes, train, test)
    folder = open_source(tmp_path / "jpg")
    check_same(folder, open_source(tmp_path / "bin"))
    check_same(folder, open_source(tmp_path / "py"))


@pytest.mark.slow
def test_the_whole_of_cifar10_is_the_same_through_folder_and_both_layouts(tmp_path: Path, cifar_zip: Path) -> None:
    with zipfile.ZipFile(cifar_zip) as archive:
        archive.extractall(tmp_path / "jpg")
    classes, train, test = read_source(cifar_zip)
    write_binary(tmp_path / "bin", classes, train, test)
    write_python(tmp_path / "py", classes, train, test)
    assert (tmp_path / "bin" / "data_batch_1.bin").stat().st_size == 30_730_000
    folder = open_source(tmp_path / "jpg")
    assert sum(len(folder.splits[name]) for name in ("train", "val")) == 50_000
    check_same(folder, open_source(tmp_path / "bin"))
    check_same(folder, open_source(tmp_path / "py"))
