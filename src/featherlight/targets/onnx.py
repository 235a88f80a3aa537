"""The ONNX target: one file with preprocessing, network, softmax and metadata."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import nn

from featherlight.engines.exported import IMAGE, LOGITS, PROBABILITIES, TENSOR, ExportedCard, Input
from featherlight.errors import UsageError
from featherlight.images import Preprocessing
from featherlight.targets.base import Draft
from featherlight.targets.graph_writer import GraphWriter
from featherlight.targets.preprocessing_graph import write_preprocessing

OPSET = 18  # what PyTorch's exporter writes by itself; every runtime of the last years reads it
FILE_NAME = "model.onnx"
_MIN_HALVED = 64  # values; smaller tensors cost more as two nodes than they save


class OnnxTarget:
    """Writes ``model.onnx``; see :class:`featherlight.targets.base.Target`."""

    name = "onnx"
    engine = "onnxruntime"
    file_names: tuple[str, ...] = (FILE_NAME,)
    packages: tuple[str, ...] = ("onnxscript", "onnxruntime")
    int8_packages: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = (IMAGE, TENSOR)
    precisions: tuple[str, ...] = ("float", "half", "int8")
    auto_form: str | None = None
    runs_here = True
    is_public = False

    def write(self, draft: Draft, folder: Path) -> None:
        """See :class:`featherlight.targets.base.Target`."""
        card = draft.exported.card
        model = export_network(draft.network, card.preprocessing)
        if draft.half_weights:
            _halve_weights(model.graph)
        if draft.exported.input == IMAGE:
            _put_preprocessing_in_front(model.graph, card.preprocessing)
        _add_probabilities(model.graph, card.temperature)
        model.metadata_props.update(draft.exported.to_metadata())
        proto = ir.serde.serialize_model(model)
        onnx.checker.check_model(proto, full_check=True)
        (folder / FILE_NAME).write_bytes(proto.SerializeToString())

    def describe(self, folder: Path, exported: ExportedCard) -> None:
        """See :class:`featherlight.targets.base.Target`."""
        model = onnx.load(folder / FILE_NAME)
        onnx.helper.set_model_props(model, exported.to_metadata())
        (folder / FILE_NAME).write_bytes(model.SerializeToString())


def export_network(network: nn.Module, preprocessing: Preprocessing) -> ir.Model:
    """The network alone: ``input`` float32 (batch, C, S, S) -> ``logits``, the batch of any size.

    Raises:
        UsageError: PyTorch's exporter cannot express it in ONNX.
    """
    size = preprocessing.input_size
    example = torch.zeros(2, preprocessing.in_channels, size, size)
    batch = torch.export.Dim("batch", min=2)  # PyTorch 2.9 refuses 1 here; the file takes it all the same
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of its own workings, nothing that a person could change
            program = torch.onnx.export(
                network.eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=({0: batch},),
                input_names=["input"],
                output_names=[LOGITS],
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise UsageError(f"this network cannot be written as ONNX: {_first_line(error)}") from error
    if program is None:
        raise UsageError("this network cannot be written as ONNX: the exporter gave nothing back")
    model = program.model
    ClearMetadataAndDocStringPass()(model)  # it writes down every place in the source, with paths
    model.producer_name, model.producer_version = "featherlight", None
    model.graph.name = "featherlight"
    return model


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0][:200] if lines else 'no reason given'}"


def _put_preprocessing_in_front(graph: ir.Graph, preprocessing: Preprocessing) -> None:
    """Replaces the input ``input`` by ``image`` of any size."""
    (tensor,) = graph.inputs
    shape = ir.Shape(["batch", "height", "width", 3])
    image = ir.Value(name=IMAGE, type=ir.TensorType(ir.DataType.UINT8), shape=shape)
    write = GraphWriter("preprocessing")
    prepared = write_preprocessing(write, image, preprocessing)
    prepared.shape, prepared.type = tensor.shape, tensor.type
    for use in list(tensor.uses()):
        use.node.replace_input_with(use.idx, prepared)
    graph.inputs[0] = image
    _insert(graph, write, before=graph[0])


def _add_probabilities(graph: ir.Graph, temperature: float) -> None:
    """Adds the output ``probabilities``: the softmax of logits / temperature."""
    (logits,) = graph.outputs
    write = GraphWriter("probabilities")
    scaled = write("Mul", logits, np.float32(1 / temperature)) if temperature != 1 else logits
    probabilities = write("Softmax", scaled, axis=-1)
    probabilities.name, probabilities.shape, probabilities.type = PROBABILITIES, logits.shape, logits.type
    _insert(graph, write)
    graph.outputs.append(probabilities)


def _halve_weights(graph: ir.Graph) -> None:
    """Stores weights in float16; a cast, which runtimes do once while loading, brings them back to float32."""
    write = GraphWriter("half")
    for value in list(graph.initializers.values()):
        array = value.const_value.numpy() if value.const_value is not None else np.zeros(0)
        if array.dtype != np.float32 or array.size < _MIN_HALVED:
            continue
        if np.abs(array).max() > np.finfo(np.float16).max:
            raise UsageError(f"--half-weights: a weight of {value.name} is larger than float16 can hold")
        full = write("Cast", array.astype(np.float16), to=ir.DataType.FLOAT)
        full.shape, full.type = value.shape, value.type
        for use in list(value.uses()):
            use.node.replace_input_with(use.idx, full)
        graph.initializers.pop(str(value.name))
    _insert(graph, write, before=graph[0])


def _insert(graph: ir.Graph, write: GraphWriter, before: ir.Node | None = None) -> None:
    for constant in write.constants:
        graph.register_initializer(constant)
    nodes: Iterable[ir.Node] = write.nodes
    if before is None:
        graph.extend(nodes)
    else:
        graph.insert_before(before, nodes)
