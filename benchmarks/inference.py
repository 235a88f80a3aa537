"""Our files beside plain exports of the same networks, in every engine and precision, in one run.

For each network and batch size, at 224 px: PyTorch eager; a plain ``torch.onnx.export`` (of torchvision's ShuffleNetV2,
of the article's ShuffleNetV1 g3, of MobileNetV1) in ONNX Runtime and OpenVINO, in float32, bfloat16 and int8; ours; and
a network whose shuffles are simply deleted, which is wrong and shows what there is to win. All are measured in turn, in
alternating order. Weights are random: they change no time. Whether int8 passes the gate is a matter of trained models,
see docs/results.md.

    python benchmarks/inference.py --threads 2 --seconds 3 --json inference.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnxruntime
import openvino
import torch
import torchvision
from torch import Tensor, nn

from featherlight import create_model, profile
from featherlight.cost.latency import Latency, machine_name, measure_latencies, measure_latency, torch_threads
from featherlight.passes.simplify import simplify_forms
from featherlight.targets.quantize_onnx import quantize_onnx
from featherlight.targets.quantize_openvino import quantize_openvino

SIDE = 224
GEMM_SIDE = 2048
WON = 0.75  # share of what deleting the shuffles would save
OPENVINO_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


@dataclass(frozen=True)
class Network:
    """A network, how its plain form is made, and what the best setting has to reach against plain ONNX Runtime."""

    name: str
    plain: Callable[[], nn.Module]
    ours: Callable[[], nn.Module]
    aims: dict[int, float]  # by batch
    has_shuffles: bool = True


NETWORKS = (
    Network(
        "shufflenet_v2_x1_0",
        lambda: torchvision.models.shufflenet_v2_x1_0(weights=None),
        lambda: create_model("shufflenet_v2_x1_0"),
        {1: 1.7, 16: 2.5},
    ),
    Network(
        "shufflenet_v1_g3_x1_0",
        lambda: create_model("shufflenet_v1_g3_x1_0"),
        lambda: create_model("shufflenet_v1_g3_x1_0"),
        {1: 1.7, 16: 2.5},
    ),
    Network(
        "mobilenet_v1_x1_0",
        lambda: create_model("mobilenet_v1_x1_0"),
        lambda: create_model("mobilenet_v1_x1_0"),
        {1: 2.5, 16: 4.0},
        has_shuffles=False,
    ),
)
EAGER_AIM = 6.0
OURS = "ours: "  # and the name of the form that the passes made
Key = tuple[str, str, str]  # plain, one of ours, or deleted; engine; precision


@dataclass(frozen=True)
class Row:
    """One setting of one network."""

    network: str
    batch: int
    form: str
    engine: str
    precision: str
    ms_an_image: float
    p95_ms: float
    size_bytes: int
    share_of_limit: float


@contextmanager
def shuffles_deleted() -> Iterator[None]:
    """Inside, networks that are made forget to shuffle: wrong, and the bound."""

    def keep(x: Tensor, groups: int) -> Tensor:  # noqa: ARG001
        return x

    places = (
        "featherlight.models.shufflenet_v1.channel_shuffle",
        "featherlight.models.shufflenet_v2.channel_shuffle",
        "torchvision.models.shufflenetv2.channel_shuffle",
    )
    with patch(places[0], keep), patch(places[1], keep), patch(places[2], keep):
        yield


def write_onnx(network: nn.Module, path: Path) -> Path:
    torch.onnx.export(
        network.eval(), (torch.zeros(2, 3, SIDE, SIDE),), path, dynamo=True, opset_version=18, external_data=False,
        verbose=False, input_names=["input"], output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    return path


def write_files(network: Network, folder: Path) -> dict[Key, Path]:
    """Every form of the network, as the file that an engine reads."""
    torch.manual_seed(0)
    forms = {"plain": write_onnx(network.plain(), folder / "plain.onnx")}
    for name, simplified in simplify_forms(network.ours().eval(), torch.zeros(1, 3, SIDE, SIDE)).items():
        forms[f"{OURS}{name}"] = write_onnx(simplified.module, folder / f"ours-{name}.onnx")
    if network.has_shuffles:
        with shuffles_deleted():
            forms["deleted"] = write_onnx(network.plain(), folder / "deleted.onnx")
    images = [np.random.default_rng(0).normal(size=(8, 3, SIDE, SIDE)).astype(np.float32)]
    files: dict[Key, Path] = {}
    for form, path in forms.items():
        files[form, "onnxruntime", "float32"] = files[form, "openvino", "float32"] = path
        files[form, "openvino", "bfloat16"] = path
        files[form, "onnxruntime", "int8"] = quantize_onnx(path, folder / f"{form}.int8.onnx", images).path
        files[form, "openvino", "int8"] = quantize_openvino(path, folder / f"{form}.int8.xml", images).path
    return files


def open_call(key: Key, path: Path, images: np.ndarray, threads: int) -> Callable[[], object]:
    _, engine, precision = key
    if engine == "onnxruntime":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda: session.run(["logits"], {"input": images})
    settings = {"INFERENCE_PRECISION_HINT": OPENVINO_PRECISIONS[precision], "INFERENCE_NUM_THREADS": str(threads)}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda: request.infer([images], share_inputs=True)


def eager_call(network: nn.Module, images: np.ndarray, threads: int) -> Callable[[], object]:
    module, tensor = network.eval(), torch.from_numpy(images)

    @torch.inference_mode()
    def call() -> object:
        with torch_threads(threads):
            return module(tensor)

    return call


def gemm_flops(threads: int, seconds: float) -> float:
    """What a float32 matrix product reaches here, operations a second."""
    a = torch.randn(GEMM_SIDE, GEMM_SIDE)
    with torch_threads(threads):
        latency = measure_latency(lambda: a @ a, seconds)
    return 2 * GEMM_SIDE**3 / (latency.p50_ms / 1000)


def measure(network: Network, batch: int, threads: int, seconds: float, limit: float) -> list[Row]:
    """All settings of a network at one batch size, in one run."""
    images = np.random.default_rng(0).normal(size=(batch, 3, SIDE, SIDE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(network, Path(folder))
        calls = {key: open_call(key, path, images, threads) for key, path in files.items()}
        calls["plain", "torch", "float32"] = eager_call(network.plain(), images, threads)
        latencies = measure_latencies(calls, seconds)
        sizes = {key: size_on_disk(path) for key, path in files.items()}
    macs = profile(network.name, SIDE).macs
    return [
        row(network.name, batch, key, found, sizes.get(key, 0), 2 * macs / limit) for key, found in latencies.items()
    ]


def size_on_disk(path: Path) -> int:
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)


def row(network: str, batch: int, key: Key, latency: Latency, size: int, least_s: float) -> Row:
    ms = latency.p50_ms / batch
    return Row(network, batch, *key, ms, latency.p95_ms / batch, size, 1000 * least_s / ms)


def judge(network: Network, batch: int, rows: list[Row]) -> list[str]:
    """Each aim of this network at this batch size, and whether it is met; of our forms the fastest counts."""
    ms = {(one.form, one.engine, one.precision): one.ms_an_image for one in rows}
    ours = {
        (engine, precision): min(
            (key for key in ms if key[0].startswith(OURS) and key[1:] == (engine, precision)), key=ms.__getitem__
        )
        for form, engine, precision in ms
        if form.startswith(OURS)
    }
    lines = [judge_setting(ms, key) for key in ours.values()]
    best = min(ours.values(), key=ms.__getitem__)
    aims = {("plain", "onnxruntime", "float32"): network.aims.get(batch), ("plain", "torch", "float32"): EAGER_AIM}
    for base, aim in aims.items():
        if aim is not None:
            factor = ms[base] / ms[best]
            lines.append(
                f"best ({' '.join(best)}) against {' '.join(base)}: {factor:.2f}x, {aim:g}x wanted: "
                f"{verdict(factor >= aim)}"
            )
    return lines


def judge_setting(ms: dict[Key, float], ours: Key) -> str:
    """One engine and precision: never slower, and the share of what deleting the shuffles would save."""
    _, engine, precision = ours
    plain = ms["plain", engine, precision]
    text = f"{' '.join(ours)}: {plain:.2f} -> {ms[ours]:.2f} ms, never slower: {verdict(ms[ours] <= 1.02 * plain)}"
    saving = plain - ms.get(("deleted", engine, precision), plain)
    if saving <= 0.02 * plain:
        return text
    share = (plain - ms[ours]) / saving
    return f"{text}; {share:.0%} of what there is to win, {WON:.0%} wanted: {verdict(share >= WON)}"


def verdict(met: bool) -> str:
    return "met" if met else "NOT MET"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", default=",".join(network.name for network in NETWORKS))
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each setting")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    limit = gemm_flops(options.threads, options.seconds)
    print(f"{machine_name()}; {options.threads} threads; float32 matrix product {limit / 1e9:.0f} GFLOP/s")
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, openvino {openvino.__version__}")
    everything = []
    for network in NETWORKS:
        if network.name not in options.networks.split(","):
            continue
        for batch in map(int, options.batches.split(",")):
            rows = measure(network, batch, options.threads, options.seconds, limit)
            print(f"\n{network.name}, batch {batch}: ms an image, p95, MB, float32 limit reached")
            for one in rows:
                print(
                    f"  {one.form:16} {one.engine:12} {one.precision:9} {one.ms_an_image:8.2f} {one.p95_ms:8.2f} "
                    f"{one.size_bytes / 1e6:7.2f} {one.share_of_limit:7.1%}"
                )
            print("\n".join(f"  {line}" for line in judge(network, batch, rows)))
            everything += [asdict(one) for one in rows]
    if options.json is not None:
        options.json.write_text(
            json.dumps({"machine": machine_name(), "gemm_flops": limit, "rows": everything}, indent=2)
        )


if __name__ == "__main__":
    main()
