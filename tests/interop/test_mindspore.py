from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_writer import checkpoint
from interop_networks import randomise
from originals.mindspore import ShuffleNetV1
from torch import Tensor, nn

from featherlight import create_model
from featherlight.errors import ModelFileError
from featherlight.interop.reading import read_weights
from featherlight.models.foreign import load_weights, model_from_weights

PARAMETERS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
NAME = "shufflenet_v1_g3_x0_5.mindspore"
VARIANTS = [
    "shufflenet_v1_g3_x0_5.mindspore", "shufflenet_v1_g3_x1_0.mindspore", "shufflenet_v1_g8_x0_5.mindspore",
    "shufflenet_v1_g8_x2_0.mindspore", "shufflenet_v1_g3_x0_5.mindcv", "shufflenet_v1_g8_x1_0.mindcv",
]  # fmt: skip


def shufflenet(name: str) -> nn.Module:
    plain, _, tag = name.partition(".")
    _, _, groups, width = plain.split("_", 3)
    return randomise(ShuffleNetV1(int(groups[1:]), width, 7, bias=tag == "mindspore")).float()


def in_mindspore(network: nn.Module, *, one: bool = False) -> dict[str, np.ndarray]:
    """Parameters as MindSpore names them; ``one``: grouped convolutions are one parameter, as in mindcv 0.3.0."""
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in network.state_dict().items():
        module, _, parameter = name.rpartition(".")
        if isinstance(network.get_submodule(module), nn.BatchNorm2d):
            parameter = PARAMETERS.get(parameter, "")
        whole = module.partition(".convs.")[0] if one else module
        if parameter and f"{whole}.{parameter}" in arrays:
            arrays[f"{whole}.{parameter}"] = np.concatenate([arrays[f"{whole}.{parameter}"], tensor.numpy()])
        elif parameter:
            arrays[f"{whole}.{parameter}"] = tensor.numpy()
    return arrays


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    path.write_bytes(checkpoint(arrays))
    return path


def assert_equal_logits(ours: nn.Module, theirs: nn.Module, sizes: tuple[int, ...] = (64, 75)) -> None:
    for size in sizes:
        images = torch.randn(2, 3, size, size + 1, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            expected: Tensor = theirs(images)
            torch.testing.assert_close(ours(images), expected, rtol=0, atol=5e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("one", [False, True], ids=["lists", "one"])
@pytest.mark.parametrize("name", VARIANTS)
def test_network_gives_the_originals_logits(name: str, one: bool, tmp_path: Path) -> None:
    original = shufflenet(name)
    file = write(tmp_path / "w.ckpt", in_mindspore(original, one=one))
    assert_equal_logits(load_weights(create_model(name, 7), file).eval(), original)


def test_classes_are_read_off_the_file(tmp_path: Path) -> None:
    original = shufflenet(NAME)
    file = write(tmp_path / "w.ckpt", in_mindspore(original))
    network, layout = model_from_weights(file, NAME)
    assert layout == "mindspore"
    assert_equal_logits(network, original, sizes=(64,))


def test_weights_of_the_other_variant_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "w.ckpt", in_mindspore(shufflenet(NAME)))
    for name in ("shufflenet_v1_g3_x0_5", "shufflenet_v1_g3_x0_5.mindcv"):
        with pytest.raises(ModelFileError, match=r"shufflenet_v1_g3_x0_5\.mindspore, which computes something else"):
            load_weights(create_model(name, 7), file)


def test_state_of_training_is_left_out(tmp_path: Path) -> None:
    original = shufflenet(NAME)
    arrays = in_mindspore(original)
    slots = {
        f"{slot}.{name}": array for slot in ("moments", "accum", "stat", "adam_m") for name, array in arrays.items()
    }
    numbers = {"global_step": np.int32(7), "learning_rate": np.float32(0.1), "epoch_num": np.int64(3)}
    file = write(tmp_path / "w.ckpt", {**numbers, **slots, **arrays})
    assert_equal_logits(load_weights(create_model(NAME, 7), file).eval(), original)


def test_missing_convolution_of_a_list_is_told(tmp_path: Path) -> None:
    arrays = in_mindspore(shufflenet(NAME))
    del arrays["features.1.branch_main_1.0.convs.1.weight"]
    file = write(tmp_path / "w.ckpt", arrays)
    with pytest.raises(ModelFileError, match=r"left over: features\.1\.branch_main_1\.0\.convs\.2\.weight"):
        load_weights(create_model(NAME, 7), file)


def test_convolutions_of_a_list_that_differ_in_shape_are_told(tmp_path: Path) -> None:
    arrays = in_mindspore(shufflenet(NAME))
    name = "features.1.branch_main_1.0.convs.1.weight"
    arrays[name] = arrays[name][:, :-1]
    file = write(tmp_path / "w.ckpt", arrays)
    with pytest.raises(ModelFileError, match=r"missing: stage2\.1\.squeeze\.0\.weight; left over: features\.1\.branch"):
        load_weights(create_model(NAME, 7), file)


def test_convolutions_of_a_list_that_are_numbers_are_told(tmp_path: Path) -> None:
    arrays = in_mindspore(shufflenet(NAME))
    for i in range(3):
        arrays[f"features.1.branch_main_1.0.convs.{i}.weight"] = np.float32(1)
    with pytest.raises(ModelFileError, match=r"missing: stage2\.1\.squeeze\.0\.weight; left over"):
        load_weights(create_model(NAME, 7), write(tmp_path / "w.ckpt", arrays))


def test_mindcvs_mobilenet_gives_the_originals_logits(tmp_path: Path) -> None:
    def convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]

    settings = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    layers, before = convolution(3, 8, 3, 2), 8
    for channels, stride in settings:
        block = [*convolution(before, before, 3, stride, before), *convolution(before, channels // 4, 1, 1)]
        layers, before = [*layers, nn.Sequential(*block)], channels // 4
    features, classifier = nn.Sequential(*layers), nn.Linear(before, 7)
    original = randomise(nn.ModuleDict({"features": features, "classifier": classifier})).float()
    file = write(tmp_path / "w.ckpt", in_mindspore(original))
    ours = load_weights(create_model("mobilenet_v1_x0_25.mindcv", 7), file).eval()
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert_equal_logits(ours, nn.Sequential(features, pool, classifier))


def test_file_holds_what_the_network_has(tmp_path: Path) -> None:
    arrays = in_mindspore(shufflenet(NAME))
    weights = read_weights(write(tmp_path / "w.ckpt", arrays))
    assert set(weights) == set(arrays)
