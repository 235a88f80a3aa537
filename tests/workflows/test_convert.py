from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from featherlight.errors import FeatherlightError, ModelFileError, UsageError
from featherlight.models.registry import create_model
from featherlight.models.weights import load_model
from featherlight.workflows.convert import PREPROCESSINGS, convert

NAME = "shufflenet_v2_x0_5"


def original(num_classes: int = 1000) -> nn.Module:
    torch.manual_seed(0)
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=num_classes)
    network.train()(torch.randn(4, 3, 64, 64))  # running statistics that are not those it starts with
    return network.eval()


def saved(folder: Path, network: nn.Module) -> Path:
    torch.save(network.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def test_model_file_gives_the_originals_logits(tmp_path: Path) -> None:
    network = original()
    notes: list[str] = []
    result = convert(saved(tmp_path, network), NAME, tmp_path / "m.safetensors", note=notes.append)
    assert (result.model, result.layout, result.num_classes) == (NAME, "torchvision", 1000)
    assert (result.params, result.preprocessing) == (1_366_792, "imagenet")
    model = load_model(result.path)
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), network(x), rtol=1e-6, atol=1e-6)
    assert model.featherlight_arguments["input_size"] == 224
    assert model.preprocessing == PREPROCESSINGS["imagenet"]
    assert model.classes[0] == "tench"
    assert notes == ["1,000 classes: taken for ImageNet's; --class-names FILE gives them other names"]


def test_model_file_says_where_it_comes_from(tmp_path: Path) -> None:
    path = saved(tmp_path, original(3))
    provenance = load_model(convert(path, NAME, tmp_path / "m.safetensors").path).card.provenance
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert provenance["converted"] == {"file": "weights.pth", "sha256": digest, "layout": "torchvision"}
    assert provenance["source"] == "Ma et al. 2018, arXiv 1807.11164"


def test_classes_have_the_given_names_or_numbers(tmp_path: Path) -> None:
    path, out = saved(tmp_path, original(3)), tmp_path / "m.safetensors"
    assert load_model(convert(path, NAME, out).path).classes == ("0", "1", "2")
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    assert load_model(convert(path, NAME, out, class_names=tmp_path / "names.txt").path).classes == ("a", "b", "c")


def test_small_inputs_get_the_small_stem_and_lose_no_border(tmp_path: Path) -> None:
    model = load_model(convert(saved(tmp_path, original(3)), NAME, tmp_path / "m.safetensors", input_size=32).path)
    assert model.featherlight_arguments["stem"] == "cifar"
    assert (model.preprocessing.input_size, model.preprocessing.crop_fraction) == (32, 1.0)


def test_networks_published_for_cifar_get_its_size_and_normalisation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = create_model("mobilenet_v1_x1_0.kuangliu", num_classes=10)
    parts = {"depthwise.0": "conv1", "depthwise.1": "bn1", "pointwise.0": "conv2", "pointwise.1": "bn2"}
    names = {"conv1.0": "conv1", "conv1.1": "bn1", "fc": "linear"}
    names |= {f"blocks.{k}.{ours}": f"layers.{k}.{theirs}" for k in range(13) for ours, theirs in parts.items()}
    state = {}
    for name, tensor in network.state_dict().items():
        module, _, parameter = name.rpartition(".")
        state[f"{names[module]}.{parameter}"] = tensor
    torch.save({"net": state, "acc": 94.0, "epoch": 7}, tmp_path / "ckpt.pth")
    result = convert(tmp_path / "ckpt.pth", "mobilenet_v1_x1_0.kuangliu", tmp_path / "m.safetensors")
    model = load_model(result.path)
    assert (result.layout, result.preprocessing) == ("kuangliu", "cifar")
    assert model.preprocessing == PREPROCESSINGS["cifar"]
    assert model.featherlight_arguments["stem"] == "cifar"


def test_networks_for_bgr_pixels_take_rgb_afterwards(tmp_path: Path) -> None:
    network = original(3)
    path = saved(tmp_path, network)
    model = load_model(convert(path, NAME, tmp_path / "m.safetensors", preprocessing="bgr255").path)
    red_green_blue = torch.randint(0, 256, (2, 3, 64, 64)).float()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (model.preprocessing.mean, model.preprocessing.std))
    with torch.inference_mode():
        ours = model((red_green_blue / 255 - mean) / std)
        torch.testing.assert_close(ours, network(red_green_blue.flip(1)), rtol=1e-4, atol=1e-4)


def test_grey_networks_get_one_mean(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = saved(tmp_path, create_model(NAME, num_classes=3, in_channels=1))
    preprocessing = load_model(convert(path, NAME, tmp_path / "m.safetensors").path).preprocessing
    assert preprocessing.mean == pytest.approx((0.449,), abs=1e-3)
    assert preprocessing.in_channels == 1


def test_nothing_is_written_when_anything_is_wrong(tmp_path: Path) -> None:
    path, out = saved(tmp_path, original(3)), tmp_path / "out" / "m.safetensors"
    (tmp_path / "two.txt").write_text("a\nb\n")
    torch.manual_seed(0)
    four = tmp_path / "four"
    four.mkdir()
    attempts: list[tuple[Path, str, dict[str, str], type[FeatherlightError]]] = [
        (path, "shufflenet_v2_x0_6", {}, UsageError),
        (path, "shufflenet_v2_x1_0", {}, ModelFileError),
        (path, NAME, {"layout": "none"}, UsageError),
        (path, NAME, {"preprocessing": "none"}, UsageError),
        (path, NAME, {"class_names": str(tmp_path / "two.txt")}, UsageError),
        (tmp_path / "none.pth", NAME, {}, ModelFileError),
        (saved(four, create_model(NAME, num_classes=3, in_channels=4)), NAME, {}, UsageError),
    ]
    for weights, name, options, error in attempts:
        with pytest.raises(error):
            convert(weights, name, out, **options)
    assert not out.parent.exists()
