from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from featherlight import create_model
from featherlight.errors import FeatherlightError
from featherlight.kernels import accelerate
from featherlight.kernels.library import compile_kernels, has_bfloat16, load_kernels, prepare_kernels

HAS_BFLOAT16 = has_bfloat16() and load_kernels(bfloat16=True) is not None  # not compiled in a test's own cache
needs_compiler = pytest.mark.skipif(load_kernels() is None, reason="no C compiler here")
# With a seed for the images. A number that lies within rounding of zero may pass a ReLU or not, in PyTorch's operators
# as in ours, and its gradient with it; with these seeds, none does.
NETWORKS = {
    "mobilenet_v1_x0_25": 1,
    "mobilenet_v2_x1_0": 1,
    "mobilenet_v3_small": 4,
    "shufflenet_v1_g3_x0_5": 1,
    "shufflenet_v1_g8_x0_5": 1,
    "shufflenet_v1_g3_x0_5.megvii": 1,
    "shufflenet_v2_x0_5": 1,
}


def batch(count: int = 8, size: int = 32, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, size, size, generator=generator).contiguous(memory_format=torch.channels_last)
    return images, torch.randint(10, (count,), generator=generator)


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, num_classes=10, input_size=32, dropout=0.0).to(memory_format=torch.channels_last)


def results(model: nn.Module, compute, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    logits = compute(images)
    F.cross_entropy(logits, labels).backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    running = torch.cat([value.flatten() for key, value in model.state_dict().items() if "running" in key])
    return {"logits": logits.detach().double(), "gradient": gradient.double(), "running": running.double()}


@needs_compiler
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_computed_by_kernels_is_as_near_the_truth_as_pytorchs(name):
    images, labels = batch(seed=NETWORKS[name])
    exact, eager, mine = network(name).double().train(), network(name).train(), network(name).train()
    fast = accelerate(mine)
    assert fast is not None
    truth = results(exact, exact, images.double(), labels)
    theirs, ours = results(eager, eager, images, labels), results(mine, fast, images, labels)
    for key, value in truth.items():
        error, usual = (float((found[key] - value).norm() / value.norm()) for found in (ours, theirs))
        assert error < max(3 * usual, 1e-6), key
    counts = [value for key, value in mine.state_dict().items() if key.endswith("num_batches_tracked")]
    assert counts
    assert all(count == 1 for count in counts)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="no instruction for it here")
@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "shufflenet_v1_g3_x0_5", "mobilenet_v3_small"])
def test_bfloat16_is_as_near_the_truth_as_pytorchs(name):
    images, labels = batch()
    exact, eager, mine = network(name).double().train(), network(name).train(), network(name).train()
    fast = accelerate(mine, reduced=True)
    assert fast is not None

    def autocast(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return eager(images).float()

    truth = results(exact, exact, images.double(), labels)
    theirs, ours = results(eager, autocast, images, labels), results(mine, fast, images, labels)
    for key, value in truth.items():
        error, usual = (float((found[key] - value).norm() / value.norm()) for found in (ours, theirs))
        assert 1e-6 < error < 1.5 * usual, key


@needs_compiler
@pytest.mark.parametrize("reduced", [False, True])
def test_same_batch_same_threads_same_bits(reduced):
    gradients = []
    for _ in range(2):
        model = network("shufflenet_v2_x0_5").train()
        fast = accelerate(model, reduced=reduced and HAS_BFLOAT16)
        images, labels = batch()
        F.cross_entropy(fast(images), labels).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.equal(*gradients)


@needs_compiler
def test_model_stays_as_it_was():
    model = network("shufflenet_v2_x0_5").eval()
    before = copy.deepcopy(model.state_dict())
    names = [name for name, _ in model.named_modules()]
    assert accelerate(model) is not None
    assert not model.training
    assert [name for name, _ in model.named_modules()] == names
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@needs_compiler
def test_frozen_norms_other_types_and_reduced_precision_are_left_to_pytorch():
    model = network("mobilenet_v1_x0_25").train()
    fast = accelerate(model)
    images, _ = batch()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    before = copy.deepcopy(model.state_dict())
    assert torch.equal(fast(images), model(images))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.autocast("cpu", torch.bfloat16):
        assert fast(images).dtype == torch.bfloat16


@needs_compiler
def test_a_network_without_known_operators_or_with_control_flow_is_left_alone():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    assert accelerate(Branching()) is None
    assert accelerate(nn.Sequential(nn.Flatten(), nn.Linear(4, 2))) is None


def test_without_a_compiler_training_goes_on(monkeypatch, tmp_path, capsys):
    load_kernels.cache_clear()
    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path))
    try:
        assert accelerate(network("mobilenet_v1_x0_25")) is None
    finally:
        load_kernels.cache_clear()
    said = capsys.readouterr().err
    assert "training goes on with PyTorch's operators alone" in said
    assert said.count("\n") == 1


def test_a_compiler_that_fails_is_quoted(monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'no such flag' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(FeatherlightError, match="no such flag"):
        compile_kernels(tmp_path / "kernels")
    assert list((tmp_path / "kernels").iterdir()) == []


def test_what_is_missing_is_compiled_once_before_training_and_said(monkeypatch, tmp_path, capsys):
    compiler, log = tmp_path / "cc", tmp_path / "log"
    compiler.write_text(f'#!/bin/sh\necho "$*" >> {log}\nwhile [ "$1" != -o ]; do shift; done\necho made > "$2"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path))
    prepare = prepare_kernels.__wrapped__  # anew in each process
    prepare()
    assert capsys.readouterr().err.count("being compiled, once") == 1
    made = sorted(file.name for file in (tmp_path / "kernels").glob("*.so"))
    assert len(made) == len(log.read_text().splitlines()) == 1 + HAS_BFLOAT16
    prepare()
    assert capsys.readouterr().err == ""
    assert len(log.read_text().splitlines()) == len(made)


def test_what_cannot_be_compiled_before_training_is_left_to_it(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path))
    prepare_kernels.__wrapped__()
    monkeypatch.setenv("FEATHERLIGHT_KERNELS", "off")
    prepare_kernels.__wrapped__()
    assert not (tmp_path / "kernels").exists() or not list((tmp_path / "kernels").iterdir())


@needs_compiler
def test_loading_the_kernels_leaves_the_processors_arithmetic_as_it_was():
    script = (
        "import numpy as np\n"
        "from featherlight.kernels.library import load_kernels\n"
        "assert load_kernels() is not None\n"
        "print(np.float32(1e-40) * np.float32(0.5) > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


@needs_compiler
def test_one_value_a_channel_has_no_variance():
    model = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8)).train()
    fast = accelerate(model)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        fast(torch.zeros(1, 3, 1, 1))


@needs_compiler
def test_an_activation_in_place_after_a_chain_gives_pytorchs_gradients():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish(inplace=True)).train()
    same, images = copy.deepcopy(model), torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last)
    computed = accelerate(model)
    assert computed is not None
    for network, output in ((model, computed(images)), (same, same(images))):
        output.square().sum().backward()
        assert network[0].weight.grad is not None
    torch.testing.assert_close(model[0].weight.grad, same[0].weight.grad, rtol=1e-4, atol=1e-4)


@needs_compiler
def test_large_windows_and_other_types_are_left_to_pytorch():
    def build(size: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 3, size, padding=size // 2, groups=3, bias=False), nn.BatchNorm2d(3), nn.ReLU()
        ).train()

    images = torch.randn(2, 3, 12, 12)
    for size in (9, 11):
        large = build(size)
        fast = accelerate(large)
        assert fast is not None  # the norm alone
        torch.testing.assert_close(fast(images), large(images), atol=1e-5, rtol=1e-4)
    double = build(3).double()
    fast = accelerate(double)
    assert fast is not None
    assert fast(images.double()).dtype == torch.float64
