from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import featherlight

SIDE = 32


@pytest.fixture(scope="session")
def export_plainly(tmp_path_factory: pytest.TempPathFactory) -> Callable[[nn.Module, str], Path]:
    """The network alone as ONNX: ``input`` -> ``logits``."""
    folder = tmp_path_factory.mktemp("onnx")

    def export(network: nn.Module, name: str) -> Path:
        import onnx_ir as ir

        from featherlight.images import Preprocessing
        from featherlight.targets.onnx import export_network

        path = folder / f"{name}.onnx"
        ir.save(export_network(network, Preprocessing(SIDE)), path)
        return path

    return export


@pytest.fixture(scope="session")
def network() -> nn.Module:
    """A ShuffleNetV2 with two units a stage (27 layers), whose norms have seen something."""
    torch.manual_seed(0)
    network = featherlight.create_model("shufflenet_v2_x0_5", 10, input_size=SIDE)
    for name in ("stage2", "stage3", "stage4"):
        setattr(network, name, network.get_submodule(name)[:2])
    return _settled(network)


@pytest.fixture(scope="session")
def float_path(network: nn.Module, export_plainly: Callable[[nn.Module, str], Path]) -> Path:
    return export_plainly(network, "shufflenet")


@pytest.fixture(scope="session")
def batches() -> list[NDArray[np.float32]]:
    random = np.random.default_rng(0)
    return [random.normal(size=(16, 3, SIDE, SIDE)).astype(np.float32) for _ in range(2)]


def _settled(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    network.train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.randn(32, 3, SIDE, SIDE))
    return network.eval()
