from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_trainer import Watcher, assert_same_bits, make_trainer, weights_of

from featherlight.errors import TrainingStoppedError
from featherlight.training.growth import shrink, side_at


@given(st.integers(16, 512), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_sides_only_grow_and_are_whole_in_the_end(side, grow, a, b):
    early, late = sorted((a, b))
    assert 16 / 2 <= side_at(side, grow, early) <= side_at(side, grow, late) <= side
    assert side_at(side, grow, max(grow, late)) == side


def test_sides_of_usual_images():
    assert [side_at(32, 0.6, part) for part in (0.0, 0.19, 0.21, 0.39, 0.41, 0.59, 0.6, 1.0)] == [
        20, 20, 24, 24, 28, 28, 32, 32,
    ]  # fmt: skip
    assert [side_at(224, 0.5, part) for part in (0.0, 0.2, 0.4, 0.5)] == [140, 168, 196, 224]
    assert side_at(224, 0.0, 0.0) == 224


def test_images_are_shrunk_without_aliasing():
    stripes = torch.arange(64).remainder(2).float().expand(1, 3, 64, 64)  # the finest there are, on average grey
    assert float((shrink(stripes, 40) - 0.5).abs().max()) < 0.25
    assert shrink(stripes, 64) is stripes


def test_the_network_sees_small_images_first(tmp_path):
    trainer = make_trainer(tmp_path, epochs=4, grow=0.75)
    seen: list[int] = []
    trainer.learner.model.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].shape[3]) if module.training else None
    )
    trainer.fit()
    assert seen == 10 * [12] + 10 * [16]


MOBILENET = {"network": "mobilenet_v1_x0_25"}


@pytest.mark.parametrize(
    "settings", [{"grow": 0.7}, MOBILENET | {"kernels": "on"}, MOBILENET | {"precision": "bfloat16"}], ids=str
)
@pytest.mark.parametrize("step", [3, 11])
def test_every_way_to_compute_is_taken_up_with_the_same_bits(tmp_path, whole_run, settings, step):
    with pytest.raises(TrainingStoppedError):
        make_trainer(tmp_path, Watcher(interrupt_at=step), **settings).fit()
    assert_same_bits(whole_run(**settings), weights_of(make_trainer(tmp_path, **settings).fit()))
