from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.choosing import Limits
from featherlight.errors import DataError, UsageError
from featherlight.workflows.choose_order import Order, check_order, read_limits


@pytest.mark.parametrize(
    ("written", "limits"),
    [
        ({"max_latency": "5ms"}, Limits(latency_ms=5.0)),
        ({"max_latency": "800us"}, Limits(latency_ms=0.8)),
        ({"max_latency": "0.5s"}, Limits(latency_ms=500.0)),
        ({"max_latency": 3}, Limits(latency_ms=3.0)),
        ({"max_size": "1MB"}, Limits(size_bytes=1_000_000)),
        ({"max_size": "1.5MiB"}, Limits(size_bytes=1_572_864)),
        ({"max_size": "500 kB"}, Limits(size_bytes=500_000)),
        ({"max_macs": "50M"}, Limits(macs=50_000_000)),
        ({"max_macs": "1.2G"}, Limits(macs=1_200_000_000)),
        ({"min_accuracy": "0.9"}, Limits(accuracy=0.9)),
        ({"min_accuracy": "90%"}, Limits(accuracy=0.9)),
    ],
)
def test_limits_are_read_as_people_write_them(written: dict[str, Any], limits: Limits) -> None:
    found = read_limits(**written)
    assert found.accuracy == pytest.approx(limits.accuracy)
    assert found == Limits(limits.latency_ms, limits.size_bytes, limits.macs, found.accuracy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_latency", "5"), ("max_latency", "fast"), ("max_latency", "0ms"), ("max_latency", "-5ms"),
        ("max_latency", "5MB"), ("max_size", "1"), ("max_size", "1 parsec"), ("max_macs", "50MB"),
        ("min_accuracy", "90"), ("min_accuracy", "1.01"), ("min_accuracy", "nan"), ("max_latency", ""),
    ],
)  # fmt: skip
def test_what_is_no_limit_is_told_with_an_example(name: str, value: str) -> None:
    meant = {"max_latency": "latency limit", "max_size": "size limit", "max_macs": "limit of MACs"}
    with pytest.raises(UsageError, match=f"the {meant.get(name, 'least accuracy')} is "):
        read_limits(**{name: value})


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6))
def test_a_limit_is_broken_only_by_more(limit: float, value: float) -> None:
    limits = Limits(latency_ms=limit)
    assert bool(limits.broken_by(value, None, None)) == (value > limit)
    assert (limits.excess(value, None, None) > 1) == (value > limit)


def test_what_is_not_known_breaks_nothing() -> None:
    assert not Limits(1.0, 1, 1).broken_by(None, None, None)


def test_an_order_survives_its_way_through_json(tmp_path: Path) -> None:
    order = check_order(
        Order(
            str(tmp_path), read_limits("5ms", "1MB", "50M", "90%"), 90.0, ("mobilenet_v1*",), (32, 64, 32),
            half_weights=True, seed=7, settings={"batch_size": "32", "mean": "0.5,0.5,0.5"},
        )
    )  # fmt: skip
    assert order.models == ("mobilenet_v1_x0_25", "mobilenet_v1_x0_5", "mobilenet_v1_x0_75", "mobilenet_v1_x1_0")
    assert order.input_sizes == (32, 64)
    assert order.settings == {"batch_size": 32, "mean": (0.5, 0.5, 0.5)}
    assert Order.from_dict(json.loads(json.dumps(order.to_dict()))) == order


def test_by_default_all_plain_networks_are_looked_at() -> None:
    models = check_order(Order("digits", Limits(), 3600.0)).models
    assert len(models) > 25
    assert not any("." in name for name in models)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"models": ["mobilnet_v1"]}, "mobilenet_v1"),
        ({"target": "nothing"}, "nothing"),
        ({"target": "web"}, "made of an exported file"),
        ({"int8": True, "half_weights": True}, "leave out"),
        ({"trials": -1}, "trials"),
        ({"threads": 10_000}, "threads"),
        ({"input_sizes": [8]}, "16 to 4096"),
        ({"settings": {"epochs": 3}}, "--time"),
        ({"settings": {"target": 0.9}}, "--min-accuracy"),
        ({"settings": {"batchsize": 3}}, "batch_size"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_order(Order("digits", Limits(), 3600.0, **options))


def test_missing_device_profile_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        check_order(Order("digits", Limits(), 3600.0, device_profile=str(tmp_path / "pi.json")))
