from __future__ import annotations

import json
import os
import resource
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from featherlight.errors import ModelFileError, UsageError
from featherlight.images import Preprocessing
from featherlight.model_file import ModelCard
from featherlight.models.registry import create_model
from featherlight.models.weights import load_model, save_model

ONE_OF_EACH_FAMILY = (
    "shufflenet_v1_g3_x0_25",
    "shufflenet_v2_x0_5",
    "mobilenet_v1_x0_25",
    "mobilenet_v2_x1_0",
    "mobilenet_v3_small",
)
CLASSES = ("猫", "Käse\n🧀", 'a"b\\c')
COLOUR = Preprocessing(32, "stretch", 0.9)
GREY = Preprocessing(32, mean=(0.5,), std=(0.25,))
Rewrite = Callable[..., Path]


def small_model(name: str = "mobilenet_v1_x0_25", **arguments: Any) -> nn.Module:
    """A network whose running statistics are not those it starts with."""
    torch.manual_seed(0)
    model = create_model(name, **{"num_classes": 3, "input_size": 32, **arguments})
    with torch.no_grad():
        model.train()(torch.randn(8, model.featherlight_arguments["in_channels"], 32, 32) * 2 + 1)
    return model.eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(small_model(), tmp_path_factory.mktemp("model") / "m.safetensors", CLASSES, COLOUR)


@pytest.fixture
def rewrite(saved: Path, tmp_path: Path) -> Rewrite:
    """Writes the saved model again with other tensors or other metadata."""

    def write(tensors: dict[str, torch.Tensor] | None = None, **metadata: str) -> Path:
        with safe_open(saved, framework="pt") as file:
            fields = {**file.metadata(), **metadata}
        save_file(load_file(saved) if tensors is None else tensors, tmp_path / "m.safetensors", fields)
        return tmp_path / "m.safetensors"

    return write


def complaint(path: Path) -> str:
    """The error's text, which must name the file and be short and printable, whatever the file holds."""
    with pytest.raises(ModelFileError) as error:
        load_model(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert len(text) < len(str(path)) + 700
    assert text.isprintable()
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_loaded_model_is_the_saved_one_bit_for_bit(tmp_path: Path, name: str) -> None:
    model = small_model(name, dropout=0.3)
    provenance = {"data": "größe", "metrics": {"val_top1": 0.1 + 0.2}}
    path = save_model(
        model, str(tmp_path / "m.safetensors"), CLASSES, COLOUR, temperature=1.2345678901234567, provenance=provenance
    )
    loaded = load_model(path)
    assert not loaded.training
    assert loaded.classes == CLASSES
    assert loaded.preprocessing == COLOUR
    assert loaded.featherlight_arguments == model.featherlight_arguments
    arguments = {key: value for key, value in model.featherlight_arguments.items() if key != "name"}
    assert loaded.card == ModelCard(name, arguments, CLASSES, COLOUR, 1.2345678901234567, provenance)
    assert list(loaded.state_dict()) == list(model.state_dict())
    for key, tensor in model.state_dict().items():
        assert loaded.state_dict()[key].dtype == tensor.dtype
        assert torch.equal(loaded.state_dict()[key], tensor), key
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(loaded(images), model(images))


@pytest.mark.parametrize(
    "name", ["shufflenet_v1_g8_x0_5.mindcv", "shufflenet_v2_x1_0.keras", "mobilenet_v1_x1_0.ascend"]
)
@pytest.mark.parametrize("options", [None, {"norm_eps": 0.5}])
def test_variants_and_options_come_back(tmp_path: Path, name: str, options: dict[str, Any] | None) -> None:
    model = small_model(name, options=options)
    loaded = load_model(save_model(model, tmp_path / "m.safetensors", CLASSES, COLOUR))
    assert loaded.card.model == name
    assert loaded.featherlight_arguments == model.featherlight_arguments
    assert loaded.options == model.options
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(images), model(images))


def test_grey_model_comes_back(tmp_path: Path) -> None:
    model = small_model(in_channels=1)
    loaded = load_model(save_model(model, tmp_path / "m.safetensors", CLASSES, GREY))
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(loaded(images), model(images))


def test_channels_last_model_is_saved_by_value(tmp_path: Path) -> None:
    model = small_model()
    expected = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.to(memory_format=torch.channels_last)
    loaded = load_model(save_model(model, tmp_path / "m.safetensors", CLASSES, COLOUR))
    assert all(torch.equal(loaded.state_dict()[key], tensor) for key, tensor in expected.items())


def test_loaded_model_can_be_trained_further_and_saved_again(saved: Path, tmp_path: Path) -> None:
    model = load_model(saved).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    optimizer.step()
    again = load_model(save_model(model, tmp_path / "again.safetensors", CLASSES, COLOUR))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(again.parameters(), load_model(saved).parameters(), strict=True))


def test_two_loaded_models_share_nothing(saved: Path) -> None:
    first, second = load_model(saved), load_model(saved)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert all(parameter.abs().sum() > 0 for name, parameter in second.named_parameters() if parameter.ndim > 1)
    assert load_model(saved)(torch.ones(1, 3, 32, 32)).abs().sum() > 0


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("a", "b"), "2 class names for 3 outputs"),
        (("a", "b", "c", "d"), "4 class names for 3 outputs"),
        (("a", "b", "a"), "one different name each"),
        ((0, 1, 2), "class names must be texts"),
    ],
)
def test_classes_that_do_not_fit_are_refused_before_writing(
    tmp_path: Path, classes: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        save_model(small_model(), tmp_path / "m.safetensors", classes, COLOUR)
    assert os.listdir(tmp_path) == []


def test_threshold_that_no_file_may_hold_is_refused_before_writing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="reject: it rejects images by 'mood', not by energy or probability"):
        save_model(
            small_model(), tmp_path / "m.safetensors", CLASSES, COLOUR, reject={"score": "mood", "threshold": 1.0}
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperature_that_no_file_may_hold_is_refused_before_writing(tmp_path: Path, temperature: float) -> None:
    with pytest.raises(UsageError, match=r"temperature is .*; a positive number is needed"):
        save_model(small_model(), tmp_path / "m.safetensors", CLASSES, COLOUR, temperature=temperature)
    assert os.listdir(tmp_path) == []


def test_channels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the preprocessing gives 1 channels, the network takes 3"):
        save_model(small_model(), tmp_path / "m.safetensors", CLASSES, GREY)


def test_network_made_elsewhere_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"made by featherlight.create_model; this one was not"):
        save_model(nn.Linear(3, 3), tmp_path / "m.safetensors", CLASSES, COLOUR)


@pytest.mark.parametrize(
    "name", ["resnet50", "mobilenet_v1_x0_26", "", "shufflenet_v1_g8_x0_25", "mobilenet_v1_x0_25.tag"]
)
def test_unknown_network_is_an_error(rewrite: Rewrite, name: str) -> None:
    assert "there is no network named" in complaint(rewrite(model=name))


@pytest.mark.parametrize(
    "arguments",
    [
        {"width_mult": 0.25}, {"name": "mobilenet_v1_x0_25"}, {"pretrained": True}, {"pretrained": "x" * 10_000},
        {"dropout": "0.5"}, {"dropout": 1.5}, {"dropout": -1}, {"dropout": float("nan")}, {"dropout": True},
        {"dropout": "x" * 10_000}, {"stem": "resnet"}, {"stem": ["cifar"]}, {"stem": 3}, {"input_size": 0},
        {"input_size": "32"}, {"input_size": 32.0}, {"num_classes": 3.0}, {"in_channels": 3.0}, {"in_channels": True},
        {"\x1b[31m": 1}, {"unknown " * 1000: 1}, {"options": 3}, {"options": {"activation": 3}},
        {"options": {"x" * 10_000: 1}}, {"options": {"norm_eps": "x" * 10_000}},
        {"options": {"norm_eps": float("nan")}},
    ],
)  # fmt: skip
def test_nonsense_arguments_are_an_error(rewrite: Rewrite, arguments: dict[str, Any]) -> None:
    usual = {"num_classes": 3, "in_channels": 3, "input_size": 32, "stem": "cifar", "dropout": 0.0}
    complaint(rewrite(arguments=json.dumps({**usual, **arguments})))


def test_weights_of_another_network_are_an_error_that_names_what_differs(rewrite: Rewrite) -> None:
    message = complaint(rewrite(model="shufflenet_v2_x0_5"))
    assert message.startswith("its weights do not fit the network; missing: ")
    assert "; left over: " in message
    assert message.count(" more") == 3


def test_weights_of_another_width_are_an_error(rewrite: Rewrite) -> None:
    message = complaint(rewrite(model="mobilenet_v1_x0_5"))
    assert message.startswith("its weights do not fit the network; of another shape: ")


def test_missing_tensor_is_named(saved: Path, rewrite: Rewrite) -> None:
    tensors = load_file(saved)
    name = next(iter(tensors))
    del tensors[name]
    assert complaint(rewrite(tensors)) == f"its weights do not fit the network; missing: {name}"


def test_left_over_tensor_is_named_briefly(saved: Path, rewrite: Rewrite) -> None:
    tensors = {**load_file(saved), "\x1b[31m" + "x" * 100_000: torch.zeros(1)}
    assert "left over: \\x1b[31mxxx" in complaint(rewrite(tensors))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_an_error(saved: Path, rewrite: Rewrite, value: float) -> None:
    tensors = load_file(saved)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    tensors[name].view(-1)[0] = value
    assert complaint(rewrite(tensors)) == f"{name} holds NaN or infinite values"


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.float8_e4m3fn, torch.bool]
)
def test_weights_of_another_type_are_an_error(saved: Path, rewrite: Rewrite, dtype: torch.dtype) -> None:
    tensors = load_file(saved)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    tensors[name] = tensors[name].to(dtype)
    message = complaint(rewrite(tensors))
    assert f"{name} is {dtype}, torch.float32 is expected" in message or message.startswith("damaged model file")


def test_safetensors_file_of_somebody_else_is_foreign(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors", {"format": "pt"})
    assert "not a Featherlight model" in complaint(tmp_path / "other.safetensors")


def test_pickle_with_the_right_suffix_is_no_model(tmp_path: Path) -> None:
    torch.save(small_model().state_dict(), tmp_path / "m.safetensors")
    assert complaint(tmp_path / "m.safetensors") == "not a model file, or cut off (safetensors expected)"


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_file_cut_off_anywhere_is_an_error(tmp_path: Path, saved: Path, data: st.DataObject) -> None:
    size = saved.stat().st_size
    path = tmp_path / "cut.safetensors"
    path.write_bytes(saved.read_bytes()[: data.draw(st.integers(0, size - 1))])
    complaint(path)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_changed_header_gives_a_model_or_a_clear_error(tmp_path: Path, saved: Path, data: st.DataObject) -> None:
    content = bytearray(saved.read_bytes())
    header = struct.unpack("<Q", content[:8])[0]
    for position in data.draw(st.lists(st.integers(8, 8 + header), min_size=1, max_size=3)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path / "changed.safetensors"
    path.write_bytes(content)
    try:
        model = load_model(path)
    except ModelFileError:
        complaint(path)
    else:
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


@contextmanager
def memory_left(size: int) -> Iterator[None]:
    """Inside, ``size`` more bytes can be had and not one beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts memory as Linux does")
def test_hostile_sizes_cost_no_memory(saved: Path, tmp_path: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        usual = file.metadata()
    many = json.dumps([f"c{k}" for k in range(100_000)])
    wide = json.dumps({"num_classes": 100_000, "in_channels": 3, "input_size": 32, "stem": "cifar", "dropout": 0.0})
    sizes = {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}
    huge = json.dumps({"num_classes": 10**9, "in_channels": 3})
    headers: list[dict[str, Any]] = [
        {"__metadata__": {**usual, "arguments": huge}},
        {"__metadata__": {**usual, "arguments": json.dumps({"num_classes": 3, "in_channels": 10**9})}},
        {"__metadata__": {**usual, "model": "mobilenet_v1_x1_0", "arguments": wide, "classes": many}},
        {"__metadata__": usual, "classifier.weight": sizes},
        {f"t{k}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for k in range(100_000)},
    ]
    paths = []
    for number, header in enumerate(headers):
        raw = json.dumps(header).encode()
        paths.append(tmp_path / f"{number}.safetensors")
        paths[-1].write_bytes(struct.pack("<Q", len(raw)) + raw + np.zeros(1, np.float32).tobytes())
    load_model(saved)  # now all libraries are in
    with memory_left(200 * 2**20):
        messages = [complaint(path) for path in paths]
    assert messages[:2] == [
        "the network has 1000000000 outputs, but 3 classes are named",
        "the network takes 1000000000 channels, but the preprocessing gives 3",
    ]
    assert all(message.startswith("its weights do not fit the network; missing: ") for message in messages[2:4])
    assert messages[4:] == ["100,000 tensors; at most 10,000 are accepted"]
