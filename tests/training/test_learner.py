from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_trainer import (
    AUGMENTATION,
    PREPROCESSING,
    Watcher,
    assert_same_bits,
    colour_images,
    make_trainer,
    weights_of,
)
from torch.nn import functional as F

from featherlight.errors import TrainingStoppedError
from featherlight.loading.batches import Batch
from featherlight.models.registry import create_model
from featherlight.training.learner import Learner
from featherlight.training.optimiser import set_rate
from featherlight.training.recipe import Recipe

UNMIXED = replace(AUGMENTATION, mixup=0.0)
LINEAR = {"learning_rate": 0.5, "momentum": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0, "ema_decay": 0.0}


def linear_learner(**settings: Any) -> Learner:
    """No normalisation, so that batches do not depend on how they are cut."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16 * 16 * 3, 2))
    return Learner(model, Recipe("colours", **{**LINEAR, **settings}), PREPROCESSING, UNMIXED)


def cut(sizes: list[int]) -> list[Batch]:
    images, labels = colour_images(sum(sizes), seed=0)
    parts = zip(images.split(sizes), labels.split(sizes), strict=True)
    return [Batch(number, *part) for number, part in enumerate(parts)]


@pytest.mark.parametrize("sizes", [[6, 6, 6], [7, 6, 5], [4], [8, 1]])
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.01}, {"clip_value": 0.001}])
def test_gathered_batches_make_the_update_of_one_batch_of_them_all(sizes, clip):
    whole, gathered = linear_learner(**clip), linear_learner(accumulate=3, **clip)
    (batch,) = cut([sum(sizes)])
    whole.gather(batch, 0)
    for part in cut(sizes):
        gathered.gather(part, 0)
    for learner in (whole, gathered):
        set_rate(learner.optimizer, 0.5)
        learner.update()
    for a, b in zip(whole.model.parameters(), gathered.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_clipping_by_value_limits_each_number():
    learner = linear_learner(clip_value=0.001)
    before = weights_of(learner.model)
    learner.gather(cut([16])[0], 0)
    set_rate(learner.optimizer, 1.0)
    learner.update()
    moved = max((value - before[name]).abs().max().item() for name, value in learner.model.state_dict().items())
    assert moved == pytest.approx(0.001, rel=1e-3)


def test_updates_the_average_and_the_schedule_go_by_groups(tmp_path):
    watcher = Watcher()
    trainer = make_trainer(tmp_path, watcher, accumulate=2)  # 5 batches: groups of 2, 2, 1
    trainer.fit()
    assert [row["step"] for row in watcher.rows] == [3, 6, 9]
    assert trainer.learner.average.n_averaged == 9
    assert watcher.rows[-1]["learning_rate"] < 0.05 * 0.1


@pytest.mark.parametrize("step", [1, 3, 5, 7])
def test_interrupted_inside_a_group_ends_in_the_same_bits(tmp_path, whole_run, step):
    with pytest.raises(TrainingStoppedError):
        make_trainer(tmp_path, Watcher(interrupt_at=step), accumulate=3).fit()
    trainer = make_trainer(tmp_path, accumulate=3)
    assert trainer.progress.batches == step
    assert_same_bits(whole_run(accumulate=3), weights_of(trainer.fit()))


FREEZING = {"ema_decay": 0.9, "learning_rate": 0.05, "weight_decay": 0.1}


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v1_x0_25", "mobilenet_v3_small"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_only_the_classifier_moves_while_the_rest_is_frozen(tmp_path, name, optimizer):
    trainer = make_trainer(
        tmp_path, network=name, epochs=2, freeze_epochs=2, optimizer=optimizer, **{**FREEZING, "learning_rate": 1e-3}
    )
    before = weights_of(trainer.learner.model)
    kept = weights_of(trainer.fit())
    last = [key for key in before if key.startswith(("fc.", "classifier.3."))]
    for state in (weights_of(trainer.learner.model), kept):
        assert sorted(key for key in before if not torch.equal(before[key], state[key])) == sorted(last)


def test_stages_are_freed_from_the_back_one_at_a_time(tmp_path):
    moved: list[set[str]] = []
    watcher = Watcher()
    trainer = make_trainer(
        tmp_path, watcher, network="shufflenet_v2_x0_5", epochs=5, freeze_epochs=1, unfreeze="stages", **FREEZING
    )
    state = weights_of(trainer.learner.model)

    def look(_row: dict[str, Any]) -> None:
        nonlocal state
        now = weights_of(trainer.learner.model)
        moved.append({key.partition(".")[0] for key in now if not torch.equal(now[key], state[key])})
        state = now

    watcher.epoch = look  # type: ignore[method-assign]
    trainer.fit()
    assert moved == [
        {"fc"},
        {"fc", "conv5", "stage4"},
        {"fc", "conv5", "stage4", "stage3"},
        {"fc", "conv5", "stage4", "stage3", "stage2"},
        {"fc", "conv5", "stage4", "stage3", "stage2", "conv1"},
    ]


def test_a_run_interrupted_while_stages_are_freed_ends_in_the_same_bits(tmp_path):
    settings = {"epochs": 4, "freeze_epochs": 1, "unfreeze": "stages", "network": "shufflenet_v2_x0_5"}
    whole = weights_of(make_trainer(tmp_path / "whole", **settings).fit())
    with pytest.raises(TrainingStoppedError):
        make_trainer(tmp_path / "cut", Watcher(interrupt_at=8), **settings).fit()
    assert_same_bits(whole, weights_of(make_trainer(tmp_path / "cut", **settings).fit()))


def test_rates_by_depth_are_powers_of_the_decay():
    model = create_model("shufflenet_v2_x0_5", 2, input_size=32)
    learner = Learner(model, Recipe("x", layer_decay=0.5), PREPROCESSING, AUGMENTATION)
    set_rate(learner.optimizer, 1.0)
    rates = {id(p): group["lr"] for group in learner.optimizer.param_groups for p in group["params"]}
    expected = {"fc": 0, "conv5": 1, "stage4.3": 2, "stage4.0": 5, "stage3.7": 6, "stage2.0": 17, "conv1": 18}
    for prefix, depth in expected.items():
        found = {rates[id(p)] for name, p in model.named_parameters() if name.startswith(f"{prefix}.")}
        assert found == {0.5**depth}
    assert learner.rate == 1.0


def test_rates_of_timms_networks_are_timms():
    pytest.importorskip("timm")
    from timm.optim import param_groups_layer_decay

    model = create_model("timm/resnet18", 2, input_size=32)
    learner = Learner(model, Recipe("x", layer_decay=0.7), PREPROCESSING, AUGMENTATION)
    theirs = {
        id(p): group["lr_scale"] for group in param_groups_layer_decay(model, layer_decay=0.7) for p in group["params"]
    }
    ours = {id(p): group["rate"] for group in learner.optimizer.param_groups for p in group["params"]}
    assert ours == pytest.approx(theirs)


def test_no_option_leaves_a_plain_step(tmp_path):
    """The loss and update of one batch, against PyTorch's own."""
    learner = linear_learner()
    reference = copy.deepcopy(learner.model)
    (batch,) = cut([8])
    set_rate(learner.optimizer, 0.5)
    learner.gather(batch, 0)
    learner.update()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.5)
    images = learner._normalize(batch.images)
    F.cross_entropy(reference(images), batch.labels).backward()
    optimizer.step()
    for a, b in zip(learner.model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b)
