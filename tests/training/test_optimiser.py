from __future__ import annotations

import copy

import pytest
import torch
from torchvision.ops._utils import split_normalization_params

from featherlight.models.registry import create_model
from featherlight.training.optimiser import (
    build_average,
    build_optimizer,
    set_momentum,
    set_rate,
    update_average,
)
from featherlight.training.recipe import Recipe
from featherlight.training.schedule import Place


def small_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("mobilenet_v1_x0_25", 3, input_size=32)


def test_norms_and_biases_are_not_decayed():
    network = small_network()
    decayed, spared = build_optimizer(network, Recipe("x", weight_decay=0.1)).param_groups
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    modules = dict(network.named_modules())
    for parameter in spared["params"]:
        module, _, kind = names[id(parameter)].rpartition(".")
        assert kind == "bias" or isinstance(modules[module], torch.nn.BatchNorm2d)
    assert len(decayed["params"]) + len(spared["params"]) == len(names)


def test_pretrained_body_gets_its_part_of_the_rate_and_the_classifier_all_of_it():
    network = small_network()
    optimizer = build_optimizer(network, Recipe("x", pretrained="torchvision", body_rate=0.1, weight_decay=0.1))
    set_rate(optimizer, 0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.5 if name.startswith("fc.") else 0.05)
        assert decays[id(parameter)] == (0.1 if parameter.ndim > 1 else 0.0)
    assert optimizer.param_groups[0]["lr"] == 0.5  # what metrics.jsonl tells


@pytest.mark.parametrize(
    ("settings", "body"),
    [({}, 1.0), ({"pretrained": "torchvision", "body_rate": 0.1}, 0.1), ({"layer_decay": 0.5}, None)],
)
def test_biases_of_norms_learn_faster_than_their_layer_by_a_factor(settings, body):
    network = small_network()

    def rates(factor):
        optimizer = build_optimizer(network, Recipe("x", bias_rate=factor, weight_decay=0.1, **settings))
        set_rate(optimizer, 0.5)
        assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))
        assert optimizer.param_groups[0]["lr"] == 0.5
        decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        return {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}, decays

    (slow, decays), (fast, same_decays) = rates(1.0), rates(8.0)
    assert decays == same_decays
    biases = {id(m.bias) for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    for name, parameter in network.named_parameters():
        factor = 8 if id(parameter) in biases else 1
        assert fast[id(parameter)] == pytest.approx(factor * slow[id(parameter)])
        if body is not None:
            assert slow[id(parameter)] == pytest.approx(0.5 if name.startswith("fc.") else 0.5 * body)


@pytest.mark.parametrize("pretrained", ["none", "torchvision"])
def test_network_without_classifier_bias_can_be_optimised(pretrained):
    network = small_network()
    network.fc.bias = None
    optimizer = build_optimizer(network, Recipe("x", pretrained=pretrained))
    network(torch.zeros(2, 3, 32, 32)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("on", "spared_kinds"),
    [("weights", {"norm", "bias"}), ("weights-and-biases", {"norm"}), ("all", set())],
)
def test_weight_decay_falls_on_what_the_recipe_says(on, spared_kinds):
    network = small_network()
    decays = {
        id(p): group["weight_decay"]
        for group in build_optimizer(network, Recipe("x", weight_decay=0.1, weight_decay_on=on)).param_groups
        for p in group["params"]
    }
    norms = {id(p) for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters()}
    for name, parameter in network.named_parameters():
        kind = "norm" if id(parameter) in norms else name.rpartition(".")[2]
        assert decays[id(parameter)] == (0.0 if kind in spared_kinds else 0.1), name
    assert len(decays) == len(list(network.parameters()))


def test_torchvisions_groups_are_weights_and_biases():
    """As torchvision's own helper splits them for ``--norm-weight-decay``."""
    network = small_network()
    recipe = Recipe("x", weight_decay=0.1, weight_decay_on="weights-and-biases")
    decayed, spared = build_optimizer(network, recipe).param_groups
    norm_params, other_params = split_normalization_params(network)
    assert {id(p) for p in spared["params"]} == {id(p) for p in norm_params}
    assert {id(p) for p in decayed["params"]} == {id(p) for p in other_params}


def test_momentum_follows_the_cycle_also_as_adams_beta():
    for optimizer, nesterov in (("sgd", True), ("sgd", False), ("rmsprop", False), ("adamw", False)):
        recipe = Recipe("x", optimizer=optimizer, nesterov=nesterov, momentum=0.0, cycle_momentum=True, warmup=0.5)
        built = build_optimizer(small_network(), recipe)
        for part, expected in ((0.0, 0.95), (0.5, 0.85), (1.0, 0.95)):
            set_momentum(built, recipe, Place(part))
            group = built.param_groups[1]
            assert (group["betas"][0] if optimizer == "adamw" else group["momentum"]) == pytest.approx(expected)
        assert built.param_groups[0].get("nesterov", False) == nesterov


def test_average_copies_while_the_rate_rises_and_keeps_its_decay_afterwards():
    """torchvision's: an update every so many steps, the count set back during warm-up, buffers taken along."""
    recipe = Recipe("x", ema_decay=0.9, ema_every=3, ema_start="copy", schedule="cosine", warmup=0.5)
    network = small_network()
    average = build_average(network, recipe)
    assert average is not None
    expected = network.fc.weight.detach().clone()
    for step in range(24):
        with torch.no_grad():
            network.fc.weight.add_(1.0)
            network.conv1[1].running_mean.add_(1.0)
        part = step / 24
        update_average(average, network, recipe, step, Place(part))
        if step % 3 == 0:
            # the first update after the warm-up finds a count of nothing and copies as well
            first_after = part >= 0.5 and (step - 3) / 24 < 0.5
            kept = 0.0 if part < 0.5 or first_after else 0.9
            expected = kept * expected + (1 - kept) * network.fc.weight.detach()
        torch.testing.assert_close(average.module.fc.weight.detach(), expected)
    assert average.module.conv1[1].running_mean[0] == pytest.approx(
        float(expected.flatten()[0] - small_network().fc.weight.detach().flatten()[0]), rel=1e-5
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
def test_a_step_is_pytorchs_unfused_step(optimizer):
    recipe = Recipe("x", optimizer=optimizer, learning_rate=0.05, weight_decay=0.01)
    network = small_network()
    reference = copy.deepcopy(network)
    kinds = {
        "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True, fused=False),
        "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.05, betas=(0.9, 0.999), fused=False),
        "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.05, alpha=0.9, momentum=0.9, foreach=False),
    }
    ours, theirs = build_optimizer(network, recipe), kinds[optimizer](build_optimizer(reference, recipe).param_groups)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for model, stepper in ((network, ours), (reference, theirs)):
        for _ in range(2):
            stepper.zero_grad()
            model.train()(images).square().mean().backward()
            stepper.step()
    # Before the second step the gradients differ by rounding; Adam's division by their size makes that visible.
    for a, b in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_average_follows_its_definition_and_copies_counters():
    network = small_network()
    average = build_average(network, Recipe("x", ema_decay=0.9))
    assert average is not None
    expected = network.fc.weight.detach().clone()
    for count in range(30):
        with torch.no_grad():
            network.fc.weight.add_(1.0)
            network.conv1[1].num_batches_tracked.add_(1)
        average.update_parameters(network)
        decay = min(0.9, (1 + count) / (10 + count)) if count else 0.0  # the first update copies
        expected = decay * expected + (1 - decay) * network.fc.weight.detach()
    torch.testing.assert_close(average.module.fc.weight.detach(), expected)
    assert average.module.conv1[1].num_batches_tracked == network.conv1[1].num_batches_tracked == 30


def test_no_average_where_none_is_wanted():
    assert build_average(small_network(), Recipe("x", ema_decay=0.0)) is None
