from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from featherlight.engines import open_engine
from featherlight.errors import ModelFileError, UsageError
from featherlight.images import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, normalize
from featherlight.models.engine import Normalizer, TorchEngine, infer, normalized
from featherlight.models.registry import create_model
from featherlight.models.weights import load_model

EVERY_BYTE = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1)
EVERY_BYTE = np.concatenate([EVERY_BYTE, EVERY_BYTE.sum(-1, keepdims=True) // 2], axis=-1).astype(np.uint8)[None]
RANDOM = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize(("mean", "std"), [(IMAGENET_MEAN, IMAGENET_STD), ((0.5,), (0.25,)), ((0.0,) * 3, (1.0,) * 3)])
@pytest.mark.parametrize("images", [EVERY_BYTE, RANDOM], ids=["every byte", "random"])
def test_torch_normalises_as_numpy_does(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    preprocessing = Preprocessing(images.shape[1], mean=mean, std=std)
    result = normalized(torch.from_numpy(images), preprocessing)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(result.numpy(), normalize(images, preprocessing), rtol=1e-6, atol=1e-6)


def test_grey_is_the_same_whole_number_in_torch_and_numpy() -> None:
    preprocessing = Preprocessing(256, mean=(0.0,), std=(1.0,))
    ours = normalized(torch.from_numpy(EVERY_BYTE), preprocessing).numpy() * 255
    numpys = normalize(EVERY_BYTE, preprocessing) * 255
    np.testing.assert_array_equal(np.rint(ours), np.rint(numpys))
    np.testing.assert_allclose(ours, np.rint(ours), atol=1e-4)


def test_logits_are_those_of_the_loaded_model(tiny_run: Path) -> None:
    engine = open_engine(tiny_run, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    model = load_model(tiny_run)
    with torch.inference_mode():
        expected = model(torch.from_numpy(normalize(images, model.preprocessing))).numpy()
    logits = engine.logits(images)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert engine.card == model.card
    assert engine.name == "torch"


def test_image_has_the_same_logits_alone_and_in_a_batch(tiny_run: Path) -> None:
    engine = open_engine(tiny_run, "torch", "cpu")
    images = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    alone = np.concatenate([engine.logits(images[k : k + 1]) for k in range(7)])
    np.testing.assert_allclose(engine.logits(images), alone, rtol=1e-4, atol=1e-5)


def test_inference_leaves_running_statistics_and_gradients_alone() -> None:
    model = create_model("mobilenet_v1_x0_25", 3, input_size=32).train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    logits = infer(model, torch.randn(2, 3, 32, 32))
    assert not logits.requires_grad
    assert not model.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_unknown_engine_is_an_error_that_lists_them(tiny_run: Path) -> None:
    with pytest.raises(UsageError, match="unknown engine 'tensorrt'; there are: auto, torch"):
        open_engine(tiny_run, "tensorrt")


def test_unknown_device_is_an_error(tiny_run: Path) -> None:
    with pytest.raises(UsageError, match="unknown device 'gpu'"):
        open_engine(tiny_run, device="gpu")


def test_missing_model_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no such model file or run directory"):
        TorchEngine(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match=r"no such model file or run directory"):
        open_engine(tmp_path / "none.safetensors")


@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_memory_holds_one_normalised_batch_after_the_other(channels):
    preprocessing = Preprocessing(20, mean=(0.4, 0.5, 0.6)[:channels], std=(0.2, 0.3, 0.4)[:channels])
    normalize = Normalizer(preprocessing)
    generator = torch.Generator().manual_seed(0)
    places = set()
    for count in (5, 4, 5, 1):
        images = torch.randint(0, 256, (count, 20, 20, 3), dtype=torch.uint8, generator=generator)
        batch = normalize(images)
        assert torch.equal(batch, normalized(images, preprocessing))
        assert batch.is_contiguous(memory_format=torch.channels_last)
        places.add(batch.data_ptr())
    assert len(places) == 1
    assert normalize(torch.zeros(9, 20, 20, 3, dtype=torch.uint8)).shape == (9, channels, 20, 20)
    assert normalize(torch.zeros(0, 20, 20, 3, dtype=torch.uint8)).shape == (0, channels, 20, 20)
