"""A program of torch.export to a .pte of ExecuTorch, delegated to XNNPACK: ``python executorch_convert.py JOB ANSWER``.

Runs in the toolchain's own environment and imports nothing of Featherlight. The job: ``program`` (.pt2) and ``out``;
with ``calibration`` (.npy, float32 (N, C, S, S)) it computes in int8, but for the layers in ``keep``. With ``logits``
(.npz) no program is written, but logits of the first images in float, and with each layer alone in int8.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import to_edge_transform_and_lower
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

LAYERS = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
OTHERS = (  # what is quantised beside layers
    torch.ops.aten.add.Tensor,
    torch.ops.aten.mul.Tensor,
    torch.ops.aten.cat.default,
    torch.ops.aten.adaptive_avg_pool2d.default,
)
IMAGES_COMPARED = 32


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Does the job and says which layers there are."""
    program = torch.export.load(job["program"])
    layers = [node.name for node in program.module().graph.nodes if node.target in LAYERS]
    if "logits" in job:
        np.savez(job["logits"], allow_pickle=False, **_compare(program, layers, _images(job)[:IMAGES_COMPARED]))
        return {"layers": layers}
    network = program.module()
    if "calibration" in job:
        network = _quantized(program, _images(job), kept=job["keep"])
    lowered = to_edge_transform_and_lower(
        torch.export.export(network, program.example_inputs[0]), partitioner=[XnnpackPartitioner()]
    )
    Path(job["out"]).write_bytes(lowered.to_executorch().buffer)
    return {"layers": layers}


def _images(job: dict[str, Any]) -> list[torch.Tensor]:
    return [torch.from_numpy(image[None]) for image in np.load(job["calibration"])]


def _quantized(
    program: torch.export.ExportedProgram,
    images: list[torch.Tensor],
    *,
    kept: Collection[str] = (),
    only: str | None = None,
) -> Any:
    """The network with quantisation around its layers, ranges from the images."""

    def chosen(node: torch.fx.Node) -> bool:
        if node.target in LAYERS:
            return node.name not in kept if only is None else node.name == only
        return only is None or node.target not in OTHERS

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    quantizer.set_filter_function(chosen)
    prepared = prepare_pt2e(_unshare(program.module()), quantizer)
    for image in images:
        prepared(image)
    return convert_pt2e(prepared)


def _unshare(network: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Each layer with weights of its own: the scale of a bias that two layers share would be right for one of them."""
    for node in [node for node in network.graph.nodes if node.op == "get_attr" and len(node.users) > 1]:
        place, _, name = node.target.rpartition(".")
        owner = network.get_submodule(place)
        for user in list(node.users)[1:]:
            own = f"{name}_of_{user.name}"
            setattr(owner, own, torch.nn.Parameter(getattr(owner, name).clone(), requires_grad=False))
            with network.graph.inserting_before(node):
                copy = network.graph.get_attr(f"{place}.{own}" if place else own)
            copy.meta = dict(node.meta)
            user.replace_input_with(node, copy)
    network.recompile()
    return network


def _compare(
    program: torch.export.ExportedProgram, layers: list[str], images: list[torch.Tensor]
) -> dict[str, np.ndarray[Any, Any]]:
    found = {"float": _logits(program.module(), images)}
    for name in layers:
        found[name] = _logits(_quantized(program, images, only=name), images)
    return found


def _logits(network: Any, images: list[torch.Tensor]) -> np.ndarray[Any, Any]:
    return torch.cat([network(image)["logits"] for image in images]).numpy()


if __name__ == "__main__":
    with torch.no_grad():
        answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
