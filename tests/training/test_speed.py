from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from featherlight.training.recipe import Recipe
from featherlight.training.speed import SpeedPlan, TrainingStep, choose_plan, plan_threads
from featherlight.training.speed.choose import RunLength, Trial, explain_choice
from featherlight.training.speed.memory import MAX_KEYS, Memory
from featherlight.training.speed.plan import candidates, cannot_compile
from featherlight.training.speed.settle import is_settled, plan_of, settle_speed

CPU = torch.device("cpu")
SHAPE = (8, 3, 16, 16)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip


def batch(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn(count, *SHAPE[1:], generator=random), torch.randint(10, (count,), generator=random)


def gradients(network: nn.Module, plan: SpeedPlan, count: int = 8) -> tuple[float, list[torch.Tensor]]:
    images, labels = batch(count)
    step = TrainingStep(network, plan)
    loss = F.cross_entropy(step.forward(images), labels)
    step.backward(loss)
    return loss.item(), [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def plain_gradients(count: int = 8) -> tuple[float, list[torch.Tensor]]:
    network = small_network()
    images, labels = batch(count)
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    return loss.item(), [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("layout", ["channels-last", "channels-first"])
def test_layouts_give_the_gradients_of_a_plain_loop(layout: Any) -> None:
    loss, found = gradients(small_network(), SpeedPlan(layout))
    expected_loss, expected = plain_gradients()
    assert loss == pytest.approx(expected_loss, abs=1e-6)
    assert len(found) == len(expected) == 8
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("kernels", [False, True])
def test_bfloat16_keeps_weights_statistics_and_gradients_in_float32(kernels: bool) -> None:
    network = small_network()
    loss, found = gradients(network, SpeedPlan(precision="bfloat16", kernels=kernels))
    expected_loss, expected = plain_gradients()
    assert loss == pytest.approx(expected_loss, rel=2**-7)  # bfloat16 has 8 bits
    assert loss != pytest.approx(expected_loss, rel=1e-7)  # it was bfloat16 indeed
    assert {tensor.dtype for tensor in [*found, *network.parameters()]} == {torch.float32}
    assert {buffer.dtype for buffer in network.buffers()} == {torch.float32, torch.int64}
    one, other = (torch.cat([g.flatten() for g in many]) for many in (found, expected))
    assert F.cosine_similarity(one, other, dim=0) > 0.999


@pytest.mark.skipif(cannot_compile(CPU) is not None, reason=str(cannot_compile(CPU)))
def test_compiled_step_gives_the_gradients_of_a_plain_loop_and_computes_a_smaller_last_batch() -> None:
    network = small_network()
    step = TrainingStep(network, SpeedPlan(compile=True))
    for count in (8, 5):
        images, labels = batch(count)
        network.load_state_dict(small_network().state_dict())
        network.zero_grad()
        loss = F.cross_entropy(step.forward(images), labels)
        step.backward(loss)
        expected_loss, expected = plain_gradients(count)
        assert loss.item() == pytest.approx(expected_loss, abs=1e-6)
        for parameter, other in zip(network.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, other, atol=1e-6, rtol=1e-4)


def test_threads_are_as_before_after_training() -> None:
    before = torch.get_num_threads()

    def fail() -> None:
        with plan_threads(SpeedPlan(threads=before + 1)):
            assert torch.get_num_threads() == before + 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.get_num_threads() == before


@given(
    layout=st.sampled_from([None, "channels-last", "channels-first"]),
    precision=st.sampled_from([None, "float32", "bfloat16"]),
    compiled=st.sampled_from([None, True, False]),
    threads=st.sampled_from([None, 1, 2, 3]),
    kernels=st.sampled_from([None, True, False]),
    known=st.booleans(),
    pixels=st.integers(1, 10**7),
)
def test_candidates_keep_what_is_set_and_are_each_listed_once(
    layout: str | None,
    precision: str | None,
    compiled: bool | None,
    threads: int | None,
    kernels: bool | None,
    known: bool,
    pixels: int,
) -> None:
    fields = {
        "layout": layout, "precision": precision, "compile": compiled, "threads": threads, "kernels": kernels,
    }  # fmt: skip
    pinned = {name: value for name, value in fields.items() if value is not None}
    plans = candidates(pinned, CPU, pixels, kernels=known)
    assert plans
    assert len(set(plans)) == len(plans)
    assert all(plan.is_possible for plan in plans)
    kept = {name: value for name, value in pinned.items() if name != "kernels"}  # which not every plan can have
    assert all(plan.to_dict()[name] == value for plan in plans for name, value in kept.items())
    if len(pinned) == 5:
        assert len(plans) == 1


def test_choosing_leaves_the_network_as_it_was_and_takes_the_fastest() -> None:
    network = small_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    plan, trials = choose_plan(network, SHAPE, 10, {"compile": False}, RunLength(steps=1_000_000))
    chosen = next(trial for trial in trials if trial.plan == plan)
    assert chosen.step_s <= min(trial.step_s for trial in trials) / 0.97
    assert len(trials) == len(candidates({"compile": False}, CPU, 8 * 16 * 16, kernels=True))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_short_run_is_not_worth_trials() -> None:
    _, trials = choose_plan(small_network(), SHAPE, 10, {}, RunLength(steps=10))
    assert len(trials) == 1


def test_a_short_run_is_computed_in_the_same_way_whatever_longer_runs_found(tmp_path: Path) -> None:
    eager = [plan for plan in all_plans() if not plan.compile]
    memory = remembering(tmp_path, {plan: (0.1 / (1 + number), 0.0) for number, plan in enumerate(eager)})
    pinned = {"compile": False}
    assert choose_plan(small_network(), SHAPE, 10, pinned, RunLength(steps=50), memory)[0] == eager[0]
    assert choose_plan(small_network(), SHAPE, 10, pinned, RunLength(steps=5000), memory)[0] == eager[-1]


def remembering(tmp_path: Path, step_s: dict[SpeedPlan, tuple[float, float]]) -> Memory:
    memory = Memory({"network": "small"}, tmp_path / "speed.json")
    memory.add({str(plan): pair for plan, pair in step_s.items()})
    return memory


def all_plans() -> list[SpeedPlan]:
    return candidates({}, CPU, 8 * 16 * 16, kernels=True)


@pytest.mark.skipif(cannot_compile(CPU) is not None, reason=str(cannot_compile(CPU)))
@pytest.mark.parametrize(("steps", "compiled"), [(1_000, False), (100_000, True)])
def test_compiling_is_weighed_against_the_length_of_the_run(tmp_path: Path, steps: int, compiled: bool) -> None:
    # Eager takes 10 ms a step; compiled 8 ms after a minute: even at 30,000 steps.
    costs = {plan: (0.008, 60.0) if plan.compile else (0.010, 0.0) for plan in all_plans() if not plan.kernels}
    memory = remembering(tmp_path, costs)
    without = {"kernels": False}
    plan, _ = choose_plan(small_network(), SHAPE, 10, without, RunLength(steps=steps), memory)
    assert plan.compile == compiled
    plan, _ = choose_plan(small_network(), SHAPE, 10, without, RunLength(budget_s=steps * 0.010), memory)
    assert plan.compile == compiled


def test_noise_does_not_change_the_usual_plan(tmp_path: Path) -> None:
    eager = [plan for plan in all_plans() if not plan.compile]
    costs = {plan: (1.0 if number == 0 else 0.98, 0.0) for number, plan in enumerate(eager)}
    plan, _ = choose_plan(
        small_network(), SHAPE, 10, {"compile": False}, RunLength(steps=10_000), remembering(tmp_path, costs)
    )
    assert plan == eager[0]


def test_what_was_measured_once_is_not_measured_again(tmp_path: Path) -> None:
    eager = [plan for plan in all_plans() if not plan.compile]
    costs = {plan: (0.5 + number, 0.0) for number, plan in enumerate(reversed(eager))}
    plan, trials = choose_plan(
        small_network(), SHAPE, 10, {"compile": False}, RunLength(steps=10), remembering(tmp_path, costs)
    )
    assert plan == eager[-1]
    assert sorted(trial.step_s for trial in trials) == [0.5 + number for number in range(len(eager))]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a": 3}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_memory_is_as_if_it_were_not_there(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "speed.json"
    path.write_bytes(content)
    memory = Memory({"network": "small"}, path)
    assert memory.read() == {}
    memory.add({"plan": (1.0, 0.0)})
    assert memory.read() == {"plan": (1.0, 0.0)}


@pytest.mark.parametrize("pair", [[0, 0], [-1, 0], [1], "no", [1, "x"], None])
def test_impossible_seconds_are_not_believed(tmp_path: Path, pair: Any) -> None:
    memory = remembering(tmp_path, {SpeedPlan(): (1.0, 0.0)})
    path = tmp_path / "speed.json"
    (key,) = json.loads(path.read_text())
    path.write_text(json.dumps({key: {"plan": pair}}))
    assert memory.read() == {}


def test_memory_stays_small_and_subjects_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    path.write_text(json.dumps({str(number): {} for number in range(MAX_KEYS + 5)}))
    Memory({"network": "a"}, path).add({"plan": (1.0, 0.0)})
    assert Memory({"network": "b"}, path).read() == {}
    assert Memory({"network": "a"}, path).read() == {"plan": (1.0, 0.0)}
    assert len(json.loads(path.read_text())) == MAX_KEYS


def test_a_cache_that_cannot_be_written_does_not_stop_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Memory({}, tmp_path / "file" / "speed.json").add({"plan": (1.0, 0.0)})


def test_plain_is_eager_float32_in_the_usual_layout_without_measuring() -> None:
    recipe = settle_speed(Recipe("digits", speed="plain"), small_network(), 10, batches=10)
    assert is_settled(recipe)
    assert (recipe.layout, recipe.precision, recipe.compile) == ("channels-first", "float32", "off")
    assert recipe.threads == plan_of(recipe).threads == torch.get_num_threads()


def test_a_settled_recipe_stays_as_it_is() -> None:
    recipe = Recipe("digits", layout="channels-first", precision="bfloat16", compile="off", kernels="off", threads=1)
    assert settle_speed(recipe, small_network(), 10, batches=10) == recipe
    assert plan_of(recipe) == SpeedPlan("channels-first", "bfloat16", compile=False, threads=1)


def test_the_choice_is_explained_in_images_a_second() -> None:
    trials = [Trial(SpeedPlan(threads=2), 0.5), Trial(SpeedPlan(compile=True, threads=1), 0.25, start_s=40.0)]
    assert explain_choice(SpeedPlan(threads=2), trials, 64) == (
        "speed: eager float32 channels-last, 2 threads. Images/s, forwards and backwards alone: "
        "compiled float32 channels-last, 1 thread: 256 after 40 s; eager float32 channels-last, 2 threads: 128"
    )
