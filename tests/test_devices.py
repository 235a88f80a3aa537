from __future__ import annotations

import pytest
import torch

from featherlight.devices import DEVICE_TYPES, available_devices, select_device
from featherlight.errors import UsageError

ABSENT = [kind for kind in DEVICE_TYPES if kind not in available_devices()]


def test_cpu_is_always_available_and_computes() -> None:
    assert available_devices()[0] == "cpu"
    assert torch.ones(2, device=select_device("cpu")).sum() == 2


def test_auto_is_the_best_device_there_is() -> None:
    assert select_device("auto").type == select_device().type == available_devices()[-1]


@pytest.mark.parametrize("name", ["gpu", "", ":0", "CPU", "meta"])
def test_unknown_device_is_an_error_that_lists_the_names(name: str) -> None:
    with pytest.raises(UsageError, match=r"unknown device .* there are: auto, cpu, cuda, mps, npu, xpu"):
        select_device(name)


@pytest.mark.parametrize("name", ABSENT)
def test_missing_device_is_an_error_that_lists_what_is_here(name: str) -> None:
    with pytest.raises(UsageError, match=f"device '{name}:0' is not available here; available: cpu"):
        select_device(f"{name}:0")


@pytest.mark.parametrize("name", ["cpu:", "cpu:x", "cpu:-2"])
def test_unfit_number_is_an_error_that_shows_the_form(name: str) -> None:
    with pytest.raises(UsageError, match="cpu or cpu:0 is expected"):
        select_device(name)


def test_second_cpu_is_an_error() -> None:
    with pytest.raises(UsageError, match="device 'cpu:1' is not available here"):
        select_device("cpu:1")
