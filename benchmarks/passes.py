"""ShuffleNets without their shuffles, in every exact form, beside a plain ``torch.onnx.export``.

Subjects: "plain", the network exported as it is; "deleted", the network with its shuffles left out, which computes
something else and bounds what there is to win; "shuffle", all passes but the one for shuffles; and each form. "share"
is the part of what deleting would save that a form does save.

Engines: ONNX Runtime in float32, OpenVINO in float32 and with bfloat16 allowed. All subjects of an engine are
loaded, then run in turn, round after round; a figure is the median over the rounds of the fastest call of a round.
With --cpu-time, for machines that have other work, processor time is counted in place of time on the clock; use it
with --threads 1.

    python benchmarks/passes.py --rounds 9
    python benchmarks/passes.py --networks shufflenet_v2_x1_0 --forms slices pieces --batches 1 --rounds 3

Prints a table for docs/results.md.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from featherlight.models.registry import create_model
from featherlight.passes import FORMS, KEPT, simplify_forms

SIZE = 224
NETWORKS = ("torchvision/shufflenet_v2_x1_0", "shufflenet_v1_g3_x1_0")
Run = Callable[[], Any]
Clock = Callable[[], float]


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name.startswith("torchvision/"):
        import torchvision

        network: nn.Module = getattr(torchvision.models, name.removeprefix("torchvision/"))()
        return network.eval()
    return create_model(name).eval()


def without_shuffles(name: str) -> nn.Module:
    """Another network: nothing is shuffled."""
    network = build(name)
    for unit in network.modules():
        if hasattr(unit, "shuffle_groups"):
            unit.shuffle_groups = 1  # type: ignore[assignment]
    return network


def export(network: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = ({0: torch.export.Dim.DYNAMIC},)
        image = torch.zeros(2, 3, SIZE, SIZE)
        torch.onnx.export(network, (image,), str(path), dynamo=True, dynamic_shapes=batch, verbose=False)
    return path


def export_deleted(name: str, path: Path) -> Path:
    if not name.startswith("torchvision/"):
        return export(without_shuffles(name), path)
    from torchvision.models import shufflenetv2

    shuffle = shufflenetv2.channel_shuffle
    shufflenetv2.channel_shuffle = lambda x, groups: x  # noqa: ARG005
    try:
        return export(build(name), path)
    finally:
        shufflenetv2.channel_shuffle = shuffle


def export_all(name: str, forms: Sequence[str], folder: Path) -> dict[str, Path]:
    files = {"plain": export(build(name), folder / "plain.onnx")}
    files["deleted"] = export_deleted(name, folder / "deleted.onnx")
    for form, simplified in simplify_forms(build(name), torch.zeros(1, 3, SIZE, SIZE), forms).items():
        files[form] = export(simplified.module, folder / f"{form}.onnx")
    return files


def onnxruntime(path: Path, batch: int, threads: int) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).standard_normal((batch, 3, SIZE, SIZE), np.float32)
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: images})


def openvino(precision: str) -> Callable[[Path, int, int], Run]:
    def load(path: Path, batch: int, threads: int) -> Run:
        import openvino as ov

        core = ov.Core()
        model = core.read_model(path)
        model.reshape([batch, 3, SIZE, SIZE])
        hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        request = core.compile_model(model, "CPU", hints).create_infer_request()
        images = np.random.default_rng(0).standard_normal((batch, 3, SIZE, SIZE), np.float32)
        request.set_input_tensor(ov.Tensor(images))
        infer: Run = request.infer
        return infer

    return load


ENGINES: dict[str, Callable[[Path, int, int], Run]] = {
    "ONNX Runtime float32": onnxruntime,
    "OpenVINO float32": openvino("f32"),
    "OpenVINO bfloat16": openvino("bf16"),
}


def measure(runs: dict[str, Run], rounds: int, calls: int, clock: Clock) -> dict[str, float]:
    """Milliseconds of a call, in alternating rounds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):  # the first is to warm up
        for name, run in runs.items():
            fastest = min(_timed(run, clock) for _ in range(calls))
            if number:
                times[name].append(fastest * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def _timed(run: Run, clock: Clock) -> float:
    start = clock()
    run()
    return clock() - start


def rows(label: str, milliseconds: dict[str, float]) -> list[str]:
    plain, deleted = milliseconds["plain"], milliseconds["deleted"]
    return [
        f"| {label} | {name} | {value:.2f} | {(plain - value) / (plain - deleted):.0%} |"
        for name, value in milliseconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--forms", nargs="+", default=[KEPT, *FORMS])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    clock = time.process_time if options.cpu_time else time.perf_counter
    print("| network | engine | batch | form | ms per image | share |\n|---|---|---|---|---|---|", flush=True)
    for network in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            files = export_all(network, options.forms, Path(folder))
            for engine, load in ENGINES.items():
                for batch in options.batches:
                    runs = {name: load(path, batch, options.threads) for name, path in files.items()}
                    calls = max(1, 8 // batch)
                    each = measure(runs, options.rounds, calls, clock)
                    per_image = {name: value / batch for name, value in each.items()}
                    print("\n".join(rows(f"{network} | {engine} | {batch}", per_image)), flush=True)


if __name__ == "__main__":
    main()
