from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from featherlight import create_model
from featherlight.errors import UsageError
from featherlight.training.equalisation import equalize
from featherlight.training.fake_quant import ActivationRange, rounded_weight
from featherlight.training.fake_quant_graph import fake_quantized, float_state, learnt_ranges, watching

NETWORKS = ["shufflenet_v2_x0_5", "shufflenet_v1_g3_x0_25", "mobilenet_v1_x0_25", "mobilenet_v3_small"]
SIDE = 32


def settled(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = create_model(name, 10, input_size=SIDE)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return network.eval()


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_rounded_network_stays_close_and_shares_all_parameters(name: str) -> None:
    network = settled(name)
    rounded = fake_quantized(network).eval()
    with torch.no_grad():
        with watching(rounded):
            rounded(images())
        expected, found = network(images()), rounded(images())
    assert 0 < float(((found - expected) ** 2).mean() / expected.var()) < 0.01
    shared = float_state(rounded)
    for key, value in network.state_dict().items():
        assert key.endswith("num_batches_tracked") or shared[key] is value or torch.equal(shared[key], value)
    assert {id(p) for p in network.parameters()} <= {id(p) for p in rounded.parameters()}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_weights_norms_and_ranges(name: str) -> None:
    rounded = fake_quantized(settled(name)).eval()
    with watching(rounded), torch.no_grad():
        rounded(images())
    rounded.train()
    before = {key: value.clone() for key, value in rounded.named_buffers()}
    rounded(images()).square().sum().backward()
    without = [key for key, p in rounded.named_parameters() if p.grad is None]
    assert without == []
    assert all(torch.equal(before[key], value) for key, value in rounded.named_buffers())  # norms are frozen


def test_copies_know_their_ranges() -> None:
    rounded = fake_quantized(settled("mobilenet_v1_x0_25")).eval()
    with watching(rounded), torch.no_grad():
        rounded(images())
    rows = learnt_ranges(copy.deepcopy(rounded))
    assert rows == learnt_ranges(rounded)
    assert rows[0].input[0] < 0 < rows[0].input[1]
    assert rows[0].output is not None
    assert rows[0].output[0] == 0  # behind a ReLU
    assert rows[-1].output is None  # logits stay float


def test_values_lie_on_a_grid_of_256_steps_with_an_exact_zero() -> None:
    module = ActivationRange()
    module.watching = True
    x = torch.linspace(-1.3, 3.1, 5001)
    module(x)
    module.settle()
    rounded = module(torch.cat((x, torch.zeros(1)))).detach()
    assert len(rounded.unique()) == 256
    assert rounded[-1] == 0
    assert float((rounded[:-1] - x).abs().max()) <= 0.51 * 4.4 / 255 + 4.4 / 255 / 2


def test_step_grows_when_much_is_cut_off() -> None:
    module = ActivationRange()
    module.watching = True
    module(torch.linspace(0, 1, 11))
    module.settle()
    x = torch.full((100,), 3.0)
    (module(x) - x).square().sum().backward()
    assert module.log_scale.grad is not None
    assert module.log_scale.grad < 0  # descent makes the range wider


def test_weights_have_a_scale_for_each_channel() -> None:
    weight = torch.tensor([[127.0, 0.4], [1.27, 0.004], [0.0, 0.0]])
    assert torch.allclose(rounded_weight(weight), torch.tensor([[127.0, 0.0], [1.27, 0.0], [0.0, 0.0]]))


def test_network_whose_way_depends_on_values_is_refused() -> None:
    class Wayward(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(UsageError, match="cannot be fine-tuned for int8"):
        fake_quantized(Wayward())


@pytest.mark.parametrize(("name", "pairs"), [("shufflenet_v2_x0_5", 35), ("mobilenet_v3_small", 1)])
def test_equalised_network_computes_the_same_with_even_channels(name: str, pairs: int) -> None:
    network = settled(name).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.01, 3)
    with torch.no_grad():
        expected = network(images().double())
        assert equalize(network) >= pairs - 1
        found = network(images().double())
    assert float((found - expected).abs().max()) <= 1e-10 * float(expected.abs().max())
