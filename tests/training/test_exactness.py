from __future__ import annotations

import pytest
import torch

from featherlight.training.exactness import describe_machine, why_inexact
from featherlight.training.recipe import Recipe

HERE = {"device": "cpu", "threads": "1", "operators": "kernels", "torch": "2.9", "vectors": "AVX512"}


@pytest.mark.parametrize("written_on", [{}, HERE])
def test_epochs_on_the_processor_are_exact(written_on):
    assert why_inexact(Recipe("x"), HERE, written_on) is None


def test_a_budget_of_time_is_not():
    assert "depends on the machine" in str(why_inexact(Recipe("x", epochs=0, time_s=60.0), HERE, {}))


def test_an_accelerator_is_not():
    assert "cuda" in str(why_inexact(Recipe("x"), {**HERE, "device": "cuda"}, {}))


@pytest.mark.parametrize(("name", "value"), [("threads", "2"), ("torch", "2.10"), ("vectors", "AVX2")])
def test_a_machine_that_adds_in_another_order_is_named(name, value):
    found = why_inexact(Recipe("x"), {**HERE, name: value}, HERE)
    assert str(found).startswith(f"the checkpoint was written with {name} {HERE[name]}, now {value}: ")


def test_this_machine_is_described():
    found = describe_machine(torch.device("cpu"), Recipe("digits"))
    assert found.keys() == HERE.keys() | {"processes"}
    assert found["threads"] == str(torch.get_num_threads())
