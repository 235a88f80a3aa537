"""Foreign weights that do not fit: every one is named, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from featherlight.errors import ModelFileError, UsageError
from featherlight.models.foreign import load_weights, model_from_weights
from featherlight.models.registry import create_model

NAME = "shufflenet_v2_x0_5"
Change = Callable[[dict[str, Tensor]], None]


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return torchvision.models.shufflenet_v2_x0_5(num_classes=7).state_dict()


def write(path: Path, weights: dict[str, Tensor], change: Change = lambda _: None) -> Path:
    weights = dict(weights)
    change(weights)
    torch.save(weights, path / "w.pth")
    return path / "w.pth"


def complaint(path: Path, model: nn.Module | None = None, layout: str | None = None) -> str:
    """The error's text; the network must be as it was."""
    model = model or create_model(NAME, num_classes=7)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ModelFileError) as error:
        load_weights(model, path, layout)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    return text.removeprefix(f"{path}: ").removeprefix("its weights do not fit the network; ")


def test_every_tensor_is_used(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    model = create_model(NAME, num_classes=7)
    assert load_weights(model, str(write(tmp_path, weights))) is model
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


def test_counters_of_batches_may_be_absent(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    def drop_counters(state: dict[str, Tensor]) -> None:
        for name in [name for name in state if name.endswith("num_batches_tracked")]:
            del state[name]

    model = load_weights(create_model(NAME, num_classes=7), write(tmp_path, weights, drop_counters))
    assert model.conv1[1].num_batches_tracked == 0
    assert torch.equal(model.fc.weight, weights["fc.weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_are_converted(tmp_path: Path, weights: dict[str, Tensor], dtype: torch.dtype) -> None:
    def cast(state: dict[str, Tensor]) -> None:
        state["fc.weight"] = state["fc.weight"].to(dtype)

    model = load_weights(create_model(NAME, num_classes=7), write(tmp_path, weights, cast))
    assert model.fc.weight.dtype == torch.float32
    assert torch.equal(model.fc.weight, weights["fc.weight"].to(dtype).float())


def test_all_that_is_wrong_is_listed(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    def spoil(state: dict[str, Tensor]) -> None:
        del state["conv5.1.running_var"]
        state["extra.weight"] = torch.zeros(3)
        state["conv5.0.weight"] = torch.zeros(1024, 192)
        state["conv1.1.weight"] = torch.ones(24, dtype=torch.int64)

    assert complaint(write(tmp_path, weights, spoil)) == (
        "missing: conv5.1.running_var; left over: extra.weight; of another shape: conv5.0.weight (1024, 192) for "
        "(1024, 192, 1, 1); of another type: conv1.1.weight (torch.int64)"
    )


def test_long_lists_are_cut_and_names_made_printable(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    def add(state: dict[str, Tensor]) -> None:
        state.update({f"\x1b[31m{k}" + "x" * 500: torch.zeros(1) for k in range(9)})

    message = complaint(write(tmp_path, weights, add))
    assert message.startswith("left over: \\x1b[31m0xxx")
    assert message.endswith(" and 6 more")
    assert len(message) < 400


def test_values_that_are_no_numbers_are_refused(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    def spoil(state: dict[str, Tensor]) -> None:
        state["fc.bias"] = torch.full((7,), torch.nan)

    assert complaint(write(tmp_path, weights, spoil)) == "not finite: fc.bias"


def test_another_number_of_classes_is_said(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    path = write(tmp_path, weights)
    message = complaint(path, create_model(NAME, num_classes=10))
    assert message == "of another shape: fc.weight (7, 1024) for (10, 1024), fc.bias (7,) for (10,)"


def test_weights_of_another_width_do_not_fit(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    message = complaint(write(tmp_path, weights), create_model("shufflenet_v2_x1_0", num_classes=7))
    assert message.startswith("of another shape: stage2.0.branch1.2.weight (24, 24, 1, 1) for (58, 24, 1, 1), ")


def test_names_that_are_not_the_given_layouts_are_listed(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    message = complaint(write(tmp_path, weights), create_model(f"{NAME}.megvii", num_classes=7), layout="megvii")
    assert message.startswith("missing: conv1.0.weight, conv1.1.weight, conv1.1.bias and ")
    assert "; left over: conv1.0.weight" in message


@pytest.mark.parametrize("tag", ["pytorchcv", "megvii"])
def test_weights_for_another_function_are_refused_even_if_they_fit(
    tmp_path: Path, weights: dict[str, Tensor], tag: str
) -> None:
    message = complaint(write(tmp_path, weights), create_model(f"{NAME}.{tag}", num_classes=7))
    assert message == (
        f"weights in torchvision's layout belong to {NAME}, which computes something else than {NAME}.{tag}"
    )


def test_message_names_the_variant_that_takes_the_weights(tmp_path: Path) -> None:
    original = create_model("shufflenet_v2_x0_5.pytorchcv", num_classes=3)
    names = {"conv1.0": "conv.conv", "conv1.1": "conv.bn"}
    state = {f"features.init_block.{names.get(name, name)}": tensor for name, tensor in original.state_dict().items()}
    state["features.stage1.unit1.expand_conv5.weight"] = torch.zeros(1)
    path = write(tmp_path, state)
    assert complaint(path) == (
        "weights in pytorchcv's layout belong to shufflenet_v2_x0_5.pytorchcv, which computes something else than "
        "shufflenet_v2_x0_5 (pooling in the stem without padding, rounding up)"
    )


def test_own_options_are_taken_at_their_word(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    model = create_model(NAME, num_classes=7, options={"pool_padding": "ceil"})
    load_weights(model, write(tmp_path, weights))
    assert torch.equal(model.fc.weight, weights["fc.weight"])


@pytest.mark.parametrize("name", ["shufflenet_v1_g3_x0_25", "mobilenet_v1_x0_25", NAME, "mobilenet_v3_small"])
def test_our_own_state_dicts_load(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    first, second = (create_model(name, num_classes=3, input_size=32) for _ in range(2))
    load_weights(second, write(tmp_path, first.state_dict()))
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())


def test_own_weights_of_a_variant_load_by_name_of_the_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first, second = (create_model("shufflenet_v2_x1_0.keras", num_classes=3) for _ in range(2))
    path = write(tmp_path, first.state_dict())
    assert complaint(path, second).startswith("weights in torchvision's layout belong to shufflenet_v2_x1_0, which ")
    load_weights(second, path, "featherlight")
    assert torch.equal(first.conv1[0].bias, second.conv1[0].bias)
    assert torch.equal(first.fc.weight, second.fc.weight)


def test_network_made_elsewhere_is_not_filled(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    with pytest.raises(UsageError, match=r"made by featherlight\.create_model; this one was not"):
        load_weights(torchvision.models.shufflenet_v2_x0_5(num_classes=7), write(tmp_path, weights))


def test_unknown_layout_lists_those_there_are(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    with pytest.raises(UsageError, match="no layout 'keras2' for shufflenet_v2; choose one of torchvision, "):
        load_weights(create_model(NAME, num_classes=7), write(tmp_path, weights), "keras2")


def test_classes_and_channels_are_read_off_the_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    grey = create_model("mobilenet_v3_small", num_classes=5, in_channels=1)
    model, layout = model_from_weights(write(tmp_path, grey.state_dict()), "mobilenet_v3_small", input_size=96)
    assert layout == "torchvision"
    assert not model.training
    given = {"name": "mobilenet_v3_small", "num_classes": 5, "in_channels": 1, "input_size": 96, "stem": "imagenet"}
    assert model.featherlight_arguments == {**given, "dropout": 0.2}


@pytest.mark.parametrize(
    ("name", "size", "stem"), [("mobilenet_v1_x1_0", 224, "imagenet"), ("mobilenet_v1_x1_0.ascend", 32, "cifar")]
)
def test_size_is_that_of_the_published_network(tmp_path: Path, name: str, size: int, stem: str) -> None:
    torch.manual_seed(0)
    path = write(tmp_path, create_model("mobilenet_v1_x1_0", num_classes=4).state_dict())
    arguments = model_from_weights(path, name, "featherlight")[0].featherlight_arguments
    assert (arguments["input_size"], arguments["stem"]) == (size, stem)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("fc.weight", (0, 1024), r"fc.weight has shape \(0, 1024\); at most 100,000"),
        ("fc.weight", (100_001, 1024), r"fc.weight has shape \(100001, 1024\)"),
        ("conv1.0.weight", (24, 1000, 3, 3), r"conv1.0.weight has shape \(24, 1000, 3, 3\); at most 4 are"),
        ("fc.weight", (), r"of another shape: fc.weight \(\) for \(1000, 1024\)"),
    ],
)
def test_impossible_sizes_are_refused(
    tmp_path: Path, weights: dict[str, Tensor], name: str, shape: tuple[int, ...], message: str
) -> None:
    def spoil(state: dict[str, Tensor]) -> None:
        state[name] = torch.zeros(()).expand(shape)

    with pytest.raises(ModelFileError, match=message):
        model_from_weights(write(tmp_path, weights, spoil), NAME)


def test_weights_without_classifier_miss_it(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    def behead(state: dict[str, Tensor]) -> None:
        del state["fc.weight"], state["fc.bias"]

    with pytest.raises(ModelFileError, match=r"missing: fc\.weight, fc\.bias$"):
        model_from_weights(write(tmp_path, weights, behead), NAME)
