from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import openvino
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherlight.engines.openvino import shared_core
from featherlight.images import Preprocessing, load_image, normalize, resize_image, trim_image
from featherlight.targets.graph_writer import GraphWriter
from featherlight.targets.onnx import OPSET
from featherlight.targets.preprocessing_graph import write_preprocessing

FLOWERS = Path(os.environ.get("FEATHERLIGHT_TEST_DATA", "/nowhere")) / "flowers-500"
POLICIES = [
    Preprocessing(224),
    Preprocessing(96),
    Preprocessing(50, "crop", 0.9, (0.5,), (0.25,)),
    Preprocessing(224, "pad"),
    Preprocessing(37, "pad", mean=(0.2,), std=(0.3,)),
    Preprocessing(64, "stretch"),
    Preprocessing(1, "stretch"),
]
SIZES = [(1, 1), (1, 50), (7, 3), (50, 50), (224, 224), (256, 256), (32, 32), (600, 31), (31, 600), (1000, 751)]


def build(preprocessing: Preprocessing) -> bytes:
    """A model of nothing but the preprocessing."""
    image = ir.Value(
        name="image", type=ir.TensorType(ir.DataType.UINT8), shape=ir.Shape(["batch", "height", "width", 3])
    )
    write = GraphWriter("p")
    result = write_preprocessing(write, image, preprocessing)
    size = preprocessing.input_size
    result.type = ir.TensorType(ir.DataType.FLOAT)
    result.shape = ir.Shape(["batch", preprocessing.in_channels, size, size])
    graph = ir.Graph(
        [image], [result], nodes=write.nodes, initializers=write.constants, opset_imports={"": OPSET}, name="g"
    )
    proto = ir.serde.serialize_model(ir.Model(graph, ir_version=10))
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString()


def open_session(preprocessing: Preprocessing) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(build(preprocessing), options, providers=["CPUExecutionProvider"])


def values_of(normalised: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Back on the scale 0 to 255, where Pillow's results are whole numbers."""
    mean, std = (np.reshape(v, (1, -1, 1, 1)) for v in (preprocessing.mean, preprocessing.std))
    return (normalised.astype(np.float64) * std + mean) * 255


def differences(found: np.ndarray, image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    expected = normalize(resize_image(image, preprocessing)[None], preprocessing)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    return np.abs(values_of(found, preprocessing) - values_of(expected, preprocessing))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("preprocessing", POLICIES, ids=str)
def test_noise_of_any_size_comes_out_within_one_value_of_pillow(preprocessing: Preprocessing) -> None:
    session = open_session(preprocessing)
    for size in SIZES:
        (found,) = session.run(None, {"image": noise(*size)[None]})
        assert differences(found, noise(*size), preprocessing).max() < 1.001, size


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 9))
def test_the_crop_is_pillow_to_the_bit(height: int, width: int, seed: int) -> None:
    image = noise(height, width, seed)
    assert differences(USUAL.run(None, {"image": image[None]})[0], image, Preprocessing(96)).max() < 1e-3


USUAL = open_session(Preprocessing(96))


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    images = np.stack([noise(60, 80, seed) for seed in range(3)])
    (together,) = USUAL.run(None, {"image": images})
    for k in range(3):
        (alone,) = USUAL.run(None, {"image": images[k : k + 1]})
        np.testing.assert_array_equal(together[k], alone[0])


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    preprocessing = Preprocessing(48, "crop", 1.0)
    (found,) = open_session(preprocessing).run(None, {"image": noise(48, 48)[None]})
    assert differences(found, noise(48, 48), preprocessing).max() < 1e-3


@pytest.mark.parametrize("precision", ["f32", pytest.param("bf16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("preprocessing", [Preprocessing(56), Preprocessing(64, "pad")], ids=str)
def test_openvino_computes_the_same(tmp_path: Path, preprocessing: Preprocessing, precision: str) -> None:
    (tmp_path / "p.onnx").write_bytes(build(preprocessing))
    model = openvino.convert_model(tmp_path / "p.onnx")
    compiled = shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    for size in SIZES:
        found = compiled({"image": noise(*size)[None]})[0]
        assert differences(found, noise(*size), preprocessing).max() < 1.001, size


@pytest.mark.skipif(not FLOWERS.is_dir(), reason="FEATHERLIGHT_TEST_DATA has no flowers-500")
@pytest.mark.parametrize(
    ("preprocessing", "share"),
    [(Preprocessing(224), 0.0), (Preprocessing(96), 0.0), (Preprocessing(224, "pad"), 0.001)],
    ids=str,
)
def test_every_photo_is_within_one_value_and_nearly_everywhere_equal(
    preprocessing: Preprocessing, share: float
) -> None:
    session = open_session(preprocessing)
    photos = sorted(FLOWERS.rglob("*.jpg"))
    assert len(photos) == 500
    different = total = 0
    for photo in photos:
        image = load_image(photo)
        found = differences(session.run(None, {"image": image[None]})[0], image, preprocessing)
        assert found.max() < 1.001, photo
        different, total = different + int((found > 0.5).sum()), total + found.size
    assert different / total <= share


@pytest.mark.parametrize("preprocessing", [policy for policy in POLICIES if policy.resize == "crop"], ids=str)
def test_trimmed_image_comes_out_exactly_as_the_whole(preprocessing: Preprocessing) -> None:
    session = open_session(preprocessing)
    for size in [*SIZES, (500, 375), (375, 501), (480, 640), (5000, 3)]:
        image = noise(*size)
        whole, trimmed = (
            session.run(None, {"image": given[None]})[0] for given in (image, trim_image(image, preprocessing))
        )
        np.testing.assert_array_equal(whole, trimmed, err_msg=str(size))
