from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from featherlight.models.registry import create_model

NAMES = {
    "mobilenet_v2_x1_0": "mobilenet_v2",
    "mobilenet_v3_small": "mobilenet_v3_small",
    "mobilenet_v3_large": "mobilenet_v3_large",
}


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
@pytest.mark.parametrize("name", NAMES)
def test_torchvision_state_dicts_load_into_both_stems(name: str, stem: str) -> None:
    theirs = getattr(torchvision.models, NAMES[name])(weights=None, num_classes=4)
    ours = create_model(name, num_classes=4, stem=stem)
    ours.load_state_dict(theirs.state_dict())
    assert all(torch.equal(ours.state_dict()[key], value) for key, value in theirs.state_dict().items())


@pytest.mark.parametrize(("stem", "side"), [("imagenet", 2), ("cifar", 8)])
@pytest.mark.parametrize("name", NAMES)
def test_cifar_stem_shrinks_by_eight_instead_of_thirty_two(name: str, stem: str, side: int) -> None:
    with torch.device("meta"):
        network = create_model(name, in_channels=1, stem=stem)
        assert network.features(torch.empty(1, 1, 64, 64)).shape[2:] == (side, side)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_add_their_input_exactly_where_stride_and_channels_allow(name: str) -> None:
    network = create_model(name, stem="cifar")
    blocks = [block for block in network.features if hasattr(block, "use_res_connect")]
    for block in blocks:
        convolutions = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
        keeps_channels = convolutions[0].in_channels == convolutions[-1].out_channels
        keeps_size = all(convolution.stride == (1, 1) for convolution in convolutions)
        assert block.use_res_connect == (keeps_channels and keeps_size)


@pytest.mark.parametrize("name", NAMES)
def test_networks_keep_their_own_dropout_unless_told(name: str) -> None:
    def probability(**options: float) -> list[float]:
        return [module.p for module in create_model(name, **options).modules() if isinstance(module, nn.Dropout)]

    assert probability() == [0.2]
    assert probability(dropout=0.0) == [0.0]
    assert probability(dropout=0.5) == [0.5]
