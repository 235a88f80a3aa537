from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import nn

from featherlight.errors import UsageError
from featherlight.models.registry import create_model

ONE_OF_EACH_FAMILY = [
    "shufflenet_v1_g3_x0_25",
    "shufflenet_v2_x0_5",
    "mobilenet_v1_x0_25",
    "mobilenet_v2_x1_0",
    "mobilenet_v3_small",
]
OWN_FAMILIES = ONE_OF_EACH_FAMILY[:3]


@pytest.mark.parametrize(("input_size", "stem"), [(16, "cifar"), (64, "cifar"), (65, "imagenet"), (224, "imagenet")])
def test_stem_follows_the_input_size(input_size: int, stem: str) -> None:
    assert create_model("shufflenet_v2_x0_5", input_size=input_size).featherlight_arguments["stem"] == stem


@pytest.mark.parametrize(("stem", "side"), [("imagenet", 16), ("cifar", 64)])
@pytest.mark.parametrize("name", OWN_FAMILIES[:2])
def test_cifar_stem_has_neither_stride_nor_pooling(name: str, stem: str, side: int) -> None:
    network = create_model(name, stem=stem)
    assert network.maxpool(network.conv1(torch.zeros(1, 3, 64, 64))).shape[2:] == (side, side)


def test_mobilenet_v1_stem_has_stride_one_for_small_images() -> None:
    x = torch.zeros(1, 3, 64, 64)
    assert create_model("mobilenet_v1_x0_25", stem="imagenet").conv1(x).shape[2:] == (32, 32)
    assert create_model("mobilenet_v1_x0_25", stem="cifar").conv1(x).shape[2:] == (64, 64)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_arguments_on_the_network_build_the_same_one_again(name: str) -> None:
    network = create_model(name, num_classes=7, in_channels=1, input_size=32)
    arguments = network.featherlight_arguments
    own_dropout = 0.2 if name in ONE_OF_EACH_FAMILY[3:] else 0.0
    assert arguments == {
        "name": name,
        "num_classes": 7,
        "in_channels": 1,
        "input_size": 32,
        "stem": "cifar",
        "dropout": own_dropout,
    }
    again = create_model(**arguments)
    assert repr(again) == repr(network)
    assert pickle.loads(pickle.dumps(network)).featherlight_arguments == arguments


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("shufflenet_v1_g3_x0_25", {"conv_bias": True, "output": "log_softmax"}),
        ("shufflenet_v2_x1_0.keras", {"norm_eps": 0.01}),
        ("mobilenet_v1_x0_25.pytorchcv", {"padding": "same"}),
    ],
)
def test_options_change_the_network_and_are_remembered(name: str, options: dict[str, Any]) -> None:
    network, plain = create_model(name, num_classes=3, options=options), create_model(name, num_classes=3)
    assert network.featherlight_arguments == plain.featherlight_arguments | {"options": options}
    assert all(getattr(network.options, field) == value for field, value in options.items())
    assert repr(create_model(**network.featherlight_arguments)) == repr(network)
    assert create_model(name, options={}).featherlight_arguments == create_model(name).featherlight_arguments


@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("name", ["mobilenet_v1_x1_0.ascend", "shufflenet_v1_g2_x1_0.kuangliu"])
def test_variants_published_for_small_images_keep_their_stem_at_any_size(name: str, size: int) -> None:
    assert create_model(name, input_size=size).featherlight_arguments["stem"] == "cifar"
    assert create_model(name, input_size=size, stem="imagenet").featherlight_arguments["stem"] == "imagenet"


def test_variants_have_the_published_dropout() -> None:
    dropouts = {"shufflenet_v2_x1_0.keras": 0.5, "shufflenet_v2_x2_0.megvii": 0.2, "shufflenet_v2_x1_0.megvii": 0.0}
    for name, probability in dropouts.items():
        with torch.device("meta"):
            network = create_model(name)
        assert network.dropout.p == network.featherlight_arguments["dropout"] == probability


@pytest.mark.parametrize("name", ["shufflenet_v2_x1_0.keras", "shufflenet_v1_g3_x0_5.mindspore"])
def test_networks_with_same_padding_can_be_traced_for_even_and_odd_sizes(name: str) -> None:
    network = create_model(name, num_classes=10).eval()
    traced = torch.fx.symbolic_trace(network)
    for side in (64, 47):
        x = torch.randn(2, 3, side, side + 1)
        with torch.inference_mode():
            assert torch.equal(traced(x), network(x))


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_networks_can_be_built_without_memory(name: str, stem: str) -> None:
    with torch.device("meta"):
        network = create_model(name, in_channels=4, stem=stem)
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}


@pytest.mark.parametrize("name", OWN_FAMILIES)
def test_dropout_sits_before_the_classifier(name: str) -> None:
    network = create_model(name, num_classes=3, input_size=32, dropout=0.5).eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(network(x), network(x))
        network.dropout.train()
        assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize("name", OWN_FAMILIES)
def test_fresh_weights_are_good_to_train_from(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=10, input_size=32)
    widest = max((m for m in network.modules() if isinstance(m, nn.Conv2d)), key=lambda m: m.weight.numel())
    expected = (2 / (widest.out_channels * widest.kernel_size[0] ** 2)) ** 0.5
    assert float(widest.weight.detach().std()) == pytest.approx(expected, rel=0.02)
    assert float(network.fc.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert not network.fc.bias.detach().any()


@pytest.mark.parametrize("name", OWN_FAMILIES)
def test_channels_last_is_kept_and_changes_nothing(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=10, input_size=32).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = network(x)
        network = network.to(memory_format=torch.channels_last)
        layouts: list[bool] = []
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_pre_hook(
                    lambda _, inputs: layouts.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
                )
        actual = network(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)
    if name != "shufflenet_v2_x0_5":  # its split makes views of half the channels
        assert all(layouts)


@pytest.mark.parametrize("name", OWN_FAMILIES)
def test_networks_can_be_traced(name: str) -> None:
    network = create_model(name, num_classes=10, input_size=32).eval()
    traced = torch.fx.symbolic_trace(network)
    for side in (32, 17):
        x = torch.randn(2, 3, side, side)
        with torch.inference_mode():
            assert torch.equal(traced(x), network(x))


def test_shuffle_units_can_be_exported_for_any_batch() -> None:
    network = create_model("shufflenet_v1_g3_x0_25", num_classes=10, input_size=32).eval()
    units = network.stage2[:2]  # one of each stride
    batch = torch.export.Dim("batch")
    program = torch.export.export(units, (torch.randn(2, 6, 8, 8),), dynamic_shapes=({0: batch},))
    x = torch.randn(5, 6, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(program.run_decompositions().module()(x), units(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_classes": 0}, "num_classes is 0; give a whole number of at least 1"),
        ({"num_classes": "10"}, "num_classes is '10'"),
        ({"num_classes": True}, "num_classes is True"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"input_size": 15}, "input_size is 15; give a whole number of at least 16"),
        ({"dropout": 1.0}, "dropout is 1.0; give a probability"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"stem": "tiny"}, "stem 'tiny' does not exist; choose one of imagenet, cifar"),
        (
            {"pretrained": "imagenet"},
            "no ImageNet weights called 'imagenet' .*; there are: torchvision",
        ),
        ({"pretrained": True, "in_channels": 4}, "fit networks for 3 channels or 1, not 4"),
        ({"name": "shufflenet_v2_x0_4"}, "did you mean shufflenet_v2_x0_5"),
        ({"options": {"width": 2}}, "there is no option 'width'"),
        ({"options": {"shuffle": "x"}}, "option shuffle is 'x'; give paper or inverse"),
        ({"options": ["shuffle"]}, "options are .*; give names and values"),
        ({"name": "mobilenet_v3_small", "options": {"shuffle": "paper"}}, "mobilenet_v3_small has no options"),
        ({"name": "shufflenet_v1_g2_x1_0", "options": {"stage4": 803}}, "with 2 groups does not exist at width 1"),
        ({"name": "shufflenet_v1_g2_x1_0", "options": {"stage4": 400}}, "with 2 groups does not exist at width 1"),
    ],
)
def test_wrong_arguments_are_explained(wrong: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"name": "shufflenet_v2_x0_5", **wrong}
    with pytest.raises(UsageError, match=message):
        create_model(**arguments)
