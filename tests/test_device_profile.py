from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import featherlight
from featherlight.device_profile import DeviceProfile, MeasuredNetwork, read_device_profile, write_device_profile
from featherlight.errors import DataError

ROW = MeasuredNetwork("mobilenet_v1_x0_25", 10, 32, "onnxruntime", "int8", 1, 2, 1.5, 1.75, 500_000, 90_000_000)
SLOWER = replace(ROW, precision="float32", p50_ms=2.5)
PROFILE = DeviceProfile("Board, 4 cores, Linux", {"created": "today"}, (ROW, SLOWER))


def test_profile_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_device_profile(tmp_path / "board.json", PROFILE)
    assert featherlight.read_device_profile(tmp_path / "board.json") == PROFILE


def test_fastest_setting_is_found_by_network_size_and_batch() -> None:
    assert PROFILE.fastest("mobilenet_v1_x0_25", 32) == ROW
    assert PROFILE.fastest("mobilenet_v1_x0_25", 64) is None
    assert PROFILE.fastest("mobilenet_v1_x0_25", 32, batch=8) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "no device profile"),
        ({"version": 2}, "of version 2; this Featherlight reads version 1"),
        ({"machine": 3}, "damaged"),
        ({"measurements": [{"network": "x"}]}, "measurement 0 is damaged"),
        ({"measurements": [{**asdict(ROW), "p50_ms": float("nan")}]}, "p50_ms is no positive number"),
        ({"measurements": [{**asdict(ROW), "batch": True}]}, "batch is no positive whole number"),
        ({"measurements": [{**asdict(ROW), "network": ""}]}, "network is no name"),
        ({"measurements": [7]}, "measurement 0 is damaged"),
    ],
)
def test_damaged_profiles_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    write_device_profile(path, PROFILE)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=message):
        read_device_profile(path)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, '"text"'])
def test_what_is_no_profile_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    path.write_text(content)
    with pytest.raises(DataError, match="device profile"):
        read_device_profile(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_device_profile(tmp_path / "nothing.json")
