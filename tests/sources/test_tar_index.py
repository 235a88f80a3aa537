from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_expander

from featherlight.errors import DataError, FeatherlightError
from featherlight.sources.choice import Choice
from featherlight.sources.tar_index import ShardIndex, index_shard, recall_index, remember_index
from shard_files import picture, write_tar

PNG = picture(0, 0)


def walk(path: Path, **choice: str) -> ShardIndex:
    return index_shard(path, path.name, Choice(**choice))


def contents(path: Path, index: ShardIndex) -> list[bytes]:
    data = path.read_bytes()
    return [data[start : start + size] for start, size in zip(index.offsets, index.sizes, strict=True)]


NAMES = st.text("abAB01./-_é ", min_size=1, max_size=30) | st.text("a", min_size=90, max_size=300)
EXTENSIONS = st.sampled_from(["", ".png", ".PNG", ".left.jpg", ".cls", ".txt", ".json", "__x__.png"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(NAMES, EXTENSIONS, st.binary(max_size=700)), max_size=12),
    kind=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_samples_are_those_that_webdataset_reads(tmp_path: Path, rows: list[tuple[str, str, bytes]], kind: int) -> None:
    path = write_tar(tmp_path / "a.tar", [(name + end, content) for name, end, content in rows], format=kind)
    try:
        with path.open("rb") as file:  # webdataset.WebDataset would leave it open
            expected = list(group_by_keys(tar_file_expander([{"url": str(path), "stream": file}])))
    except ValueError:  # twice the same file in a sample
        with pytest.raises(DataError, match="two files with the same extension"):
            walk(path)
        return
    images = []
    for sample in expected:
        found = [name for name in sample if name.rpartition(".")[2] in ("png", "jpg")]
        found = [name for name in found if "." not in name] or found
        if len(found) > 1:
            with pytest.raises(DataError, match="several images"):
                walk(path)
            return
        images += [(f"{sample['__key__']}.{found[0]}".lower(), sample[found[0]])] if found else []
    index = walk(path)
    assert list(zip((name.lower() for name in index.names), contents(path, index), strict=True)) == images
    assert len(index.names) + len(index.without_image) == len(expected)


@pytest.mark.parametrize(
    ("members", "label"),
    [
        ({"a.cls": b"3"}, "3"),
        ({"a.cls": b" tabby cat \n"}, "tabby cat"),
        ({"a.txt": "Kätzchen".encode()}, "Kätzchen"),
        ({"a.json": b'{"label": 7}'}, "7"),
        ({"a.json": b'{"label": 7.0}'}, "7"),
        ({"a.json": b'{"class_name": "owl"}'}, "owl"),
        ({"a.cls": b"1", "a.json": b'{"label": 2}', "a.txt": b"a caption"}, "1"),
        ({"a.json": b'{"label": 2}', "a.txt": b"a caption"}, "2"),
        ({"a.json": b'{"width": 2}', "a.txt": b"owl"}, "owl"),
        ({"a.json": b"not json"}, None),
        ({"a.json": b"[" * 100_000}, None),
        ({"a.json": b'{"label": true}'}, None),
        ({"a.json": b'{"label": [1, 2]}'}, None),
        ({"a.cls": b""}, None),
        ({"a.cls": b"x" * 5000}, None),
        ({}, None),
    ],
)
def test_label_is_found_where_it_may_be(tmp_path: Path, members: dict[str, bytes], label: str | None) -> None:
    path = write_tar(tmp_path / "a.tar", {"a.jpg": PNG, **members})
    assert walk(path).labels == [label]


def test_label_and_image_can_be_chosen(tmp_path: Path) -> None:
    members = {
        "a.left.jpg": b"left",
        "a.right.jpg": b"right",
        "a.cls": b"1",
        "a.json": b'{"species": "owl"}',
        "a.kind.txt": b"old",
    }
    path = write_tar(tmp_path / "a.tar", members)
    with pytest.raises(DataError, match=r"several images, left\.jpg, right\.jpg; .*#image=left\.jpg"):
        walk(path)
    index = walk(path, image="right.jpg", label="species")
    assert (contents(path, index), index.labels) == ([b"right"], ["owl"])
    assert walk(path, image="right.jpg", label="kind.txt").labels == ["old"]
    assert walk(path, image="right.jpg", label="nothing").labels == [None]
    assert walk(path, image="up.jpg").without_image == ["a"]


def test_links_and_devices_are_passed_over_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        kinds = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
        for name, kind in zip("abcdef", kinds, strict=True):
            member = tarfile.TarInfo(f"{name}.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member, io.BytesIO())
    assert walk(tmp_path / "a.tar").names == ["a.jpg"]
    assert "passed over 4 members that are links or devices, the first: b.jpg" in capsys.readouterr().err


def test_names_that_lead_out_of_the_folder_are_only_names(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "in" / "a.tar", {"../../evil.png": PNG, "/etc/evil.png": PNG})
    assert walk(path).names == ["../../evil.png", "/etc/evil.png"]
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["a.tar"]


def test_names_may_hold_anything(tmp_path: Path) -> None:
    names = ["a\nb/c\n.png", " .png", "\udcff.png", "ü" * 120 + ".png"]
    assert walk(write_tar(tmp_path / "a.tar", dict.fromkeys(names, PNG))).names == names


@pytest.mark.parametrize("cut", [1, 511, 512, 700, 1024 + 100])
def test_shard_that_was_cut_off_is_an_error_or_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cut: int
) -> None:
    path = write_tar(tmp_path / "a.tar", {"a.png": b"1" * 600, "b.png": b"2" * 600})
    whole = 2 * (512 + 1024)  # two headers, each with two blocks of content
    path.write_bytes(path.read_bytes()[: whole - cut])
    with pytest.raises(DataError, match=r"a\.tar: is no whole tar file .*; copy or download it again"):
        walk(path)
    path.write_bytes(write_tar(path, {"a.png": b"1"}).read_bytes()[:1024])
    assert walk(path).names == ["a.png"]
    assert "has no end mark" in capsys.readouterr().err


def test_damaged_header_in_the_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", dict.fromkeys(("a.png", "b.png", "c.png"), b"x"))
    data = bytearray(path.read_bytes())
    data[1024 + 148] ^= 1  # the checksum of the second
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged at byte 1,024"):
        walk(path)


def test_shards_glued_together_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_tar(tmp_path / "a.tar", {"a.png": b"x" * 100_000})
    path.write_bytes(path.read_bytes() * 2)
    assert walk(path).names == ["a.png"]
    assert "bytes behind its end mark are not read" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"no tar", b"\0" * 100, b"x" * 2048, gzip.compress(b"x" * 9999, mtime=0)])
def test_what_is_no_tar_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tar: is (no whole tar file|compressed)"):
        walk(tmp_path / "a.tar")


def test_header_that_claims_a_huge_extension_is_not_read_into_memory(tmp_path: Path) -> None:
    member = tarfile.TarInfo("././@PaxHeader")
    member.type, member.size = tarfile.XHDTYPE, 2**20
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.USTAR_FORMAT) + b"1" * 2**20)
    with pytest.raises(DataError, match="a header is too long"):
        walk(tmp_path / "a.tar")


def test_headers_that_lead_in_circles_come_to_an_end(tmp_path: Path) -> None:
    first = tarfile.TarInfo("a.png").tobuf(tarfile.USTAR_FORMAT)
    back = tarfile.TarInfo("b.png")
    back.size = -1024
    (tmp_path / "a.tar").write_bytes(first + back.tobuf(tarfile.GNU_FORMAT) + first + bytes(1024))
    with pytest.raises(DataError, match="lead in circles"):
        walk(tmp_path / "a.tar")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4095), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6))
def test_damaged_bytes_give_an_index_within_the_file_or_an_error(
    tmp_path: Path, changes: list[tuple[int, bytes]]
) -> None:
    path = write_tar(tmp_path / "a.tar", {"a.png": b"1" * 600, "b" * 150 + ".png": b"2", "b.cls": b"3"})
    data = bytearray(path.read_bytes())
    for place, content in changes:
        data[place : place + len(content)] = content
    path.write_bytes(data)
    try:
        index = walk(path)
    except FeatherlightError:
        return
    assert all(0 <= start <= start + size <= len(data) for start, size in zip(index.offsets, index.sizes, strict=True))


def test_index_is_remembered_and_damage_of_it_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path / "cache"))
    path = write_tar(tmp_path / "a.tar", {"a.png": PNG, "a.cls": b"1", "\udcff.png": PNG})
    index = walk(path)
    assert recall_index("place", Choice()) is None
    remember_index("place", Choice(), index)
    assert recall_index("place", Choice()) == index
    assert recall_index("place", Choice(label="json")) is None
    (memory,) = (tmp_path / "cache").rglob("*.json")
    for damage in ({"offsets": [1]}, {"names": "ab"}, {"labels": [1, 2]}, {"stamp": 3}, {"sizes": ["1", "2"]}):
        memory.write_text(json.dumps({**vars(index), **damage}))
        assert recall_index("place", Choice()) is None
    for text in ("", "[]", '{"stamp": "x"}', "\0"):
        memory.write_text(text)
        assert recall_index("place", Choice()) is None
    remember_index("place", Choice(), replace(index, size=1))
    assert recall_index("place", Choice()) == replace(index, size=1)
