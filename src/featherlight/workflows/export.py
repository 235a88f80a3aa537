"""A trained model -> a file that runs without PyTorch, kept only if it gives the same answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from featherlight.engines import Engine, open_engine
from featherlight.engines.exported import ExportedCard, Input
from featherlight.files import publish_file, replace_folder, staging_folder
from featherlight.model_file import find_model_file
from featherlight.models.weights import load_model
from featherlight.targets.base import Draft, Target
from featherlight.targets.program import NetworkEngine
from featherlight.training.equalisation import equalize
from featherlight.verification import Verification
from featherlight.workflows.device_kit import write_kit
from featherlight.workflows.export_int8 import quantize_export
from featherlight.workflows.export_order import REPORT_NAME, ExportOrder, check_order
from featherlight.workflows.export_report import refuse, write_page
from featherlight.workflows.fastest_form import choose_form
from featherlight.workflows.verify import Reference, compare_engine, compute_reference


@dataclass(frozen=True)
class Export:
    """What was exported.

    Attributes:
        path: the file to run.
        files: all files of the model, ``path`` first.
        report: the page that tells how it compares.
        size_bytes: of all files of the model.
        verification: how it compares with its model.
        explanation: what each graph pass did, in lines.
        kit: the device kit's folder, if one was asked for.
        quantization: with int8, which layers stay in float and what that costs, in lines; of a file that cannot run
            here, what was checked in its place; also in ``explanation``.
    """

    path: Path
    files: tuple[Path, ...]
    report: Path
    size_bytes: int
    verification: Verification
    explanation: tuple[str, ...]
    kit: Path | None = None
    quantization: tuple[str, ...] = ()


def export(
    model: str | Path,
    to: str = "onnx",
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    input: Input | None = None,  # noqa: A002
    half_weights: bool = False,
    int8: bool = False,
    form: str = "auto",
    kit: str | Path | None = None,
    runtime: str | Path | None = None,
    title: str | None = None,
    lang: str = "en",
) -> Export:
    """Writes a model for another runtime and proves that it gives the same answers there.

    The file gets its name only after it ran in its own runtime on the validation images and the gate held (see
    :func:`featherlight.verification.compare_outputs`). An earlier export in its place stays whole until then.

    Args:
        model: run directory or model file.
        to: ``onnx``, ``openvino``, ``web``, ``ncnn``, ``litert``, ``executorch`` or ``coreml``.
        out: folder to make, or for ONNX a file that ends with ``.onnx``. By default ``onnx/`` or
            another folder named by the target in the run directory, or beside the model file.
        data: images to compare on; by default the validation images of the data the model was trained on.
        input: ``image``: uint8 (N, height, width, 3) of any size; ``tensor``: float32 (N, C, S, S), normalised. By
            default images where the target can resize them as Pillow does, tensors elsewhere.
        half_weights: store weights in float16: half the size, under the same gate.
        int8: compute in 8 bits; the most harmful layers stay in float until the gate holds. Ranges of values come from
            training images.
        form: of a network with channel shuffles: ``auto`` times the exact forms in the target's engine and takes the
            fastest; ``shuffle`` leaves them; see ``featherlight.passes.FORMS``.
        kit: folder to make with all that a device needs: model, labels, a sample and a script.
        runtime: for ``web``: folder where npm installed ``onnxruntime-web``; by default it is fetched once.
        title: for ``web``: what the page calls itself.
        lang: language of the page that tells how it compares: ``en`` or ``zh``.

    Raises:
        UsageError: an unknown target or option, ``out`` is something else, or the network cannot be expressed.
        MissingExtraError: the target's packages are not installed.
        DownloadError: the browser's runtime cannot be fetched.
        GateFailedError: the file gives other answers; nothing was replaced.
    """
    order = ExportOrder(
        find_model_file(model), to, out, data, input, half_weights, int8, form, Path(kit) if kit is not None else None,
        lang, {name: value for name, value in (("runtime", runtime), ("title", title)) if value is not None},
    )  # fmt: skip
    check_order(order)
    return _export(order, model)


def _export(order: ExportOrder, model: str | Path) -> Export:
    reference_engine = open_engine(order.model, "torch", "cpu")
    reference = compute_reference(reference_engine, model, order.data)
    exported = ExportedCard(reference_engine.card, order.input, notes=_notes(order))
    chosen = choose_form(_network(order, exported), order.target, exported, order.form)
    with staging_folder(order.out) as folder:
        result, lines = _write(order, chosen.network, exported, reference, folder)
        explanation = (*chosen.explanation, *lines)
        order.target.describe(folder, replace(exported, verification=result.summary()))
        size = sum((folder / name).stat().st_size for name in order.target.file_names)
        write_page(folder / REPORT_NAME, order, reference, result, explanation, size)
        if not result.passed:
            raise refuse(order, result, folder / REPORT_NAME)
        made_kit = None
        if order.kit is not None:
            engine = _open(order.target, folder, chosen.network, exported)
            made_kit = write_kit(order.kit, folder, order.target, engine, reference)
        _publish(order, folder)
    names = order.target.file_names
    files = (order.out,) if order.is_file else tuple(order.out / name for name in names)
    path = files[0] if order.target.runs_here else order.out / Path(names[0]).parts[0]
    return Export(path, files, order.report, size, result, explanation, made_kit, quantization=lines)


def _network(order: ExportOrder, exported: ExportedCard) -> nn.Module:
    """The network, for int8 with channels of like ranges, unless it was fine-tuned with ranges of its own."""
    network = load_model(order.model)
    if order.int8 and "quantization" not in exported.card.provenance:
        equalize(network)
    return network


def _write(
    order: ExportOrder, network: nn.Module, exported: ExportedCard, reference: Reference, folder: Path
) -> tuple[Verification, tuple[str, ...]]:
    """Writes the files into ``folder``, runs them, and says how they compare and what was done."""
    draft = Draft(network, exported, order.half_weights)
    if order.int8:
        with TemporaryDirectory(dir=folder, prefix=".float-") as inside:
            return quantize_export(draft, Path(inside), folder, order.target, reference, order.data)
    order.target.write(draft, folder)
    engine = _open(order.target, folder, network, exported)
    result = compare_engine(engine, reference, exported.card.classes)
    return result, () if order.target.runs_here else order.target.explain()  # type: ignore[attr-defined]


def _open(target: Target, folder: Path, network: nn.Module, exported: ExportedCard) -> Engine:
    """What was written, in its runtime; where that cannot be, the network that it was written of."""
    if target.runs_here:
        return open_engine(folder / target.file_names[0], target.engine)
    return NetworkEngine(network, exported)


def _notes(order: ExportOrder) -> dict[str, Any]:
    precision = "int8" if order.int8 else "float"
    return {
        "precision": precision,
        "weights": "float16" if order.half_weights else "float32",
        "torch": torch.__version__,
    }


def _publish(order: ExportOrder, folder: Path) -> None:
    if order.is_file or order.target.is_public:
        publish_file(folder / REPORT_NAME, order.report)
    if order.is_file:
        publish_file(folder / order.target.file_names[0], order.out)
    else:
        replace_folder(folder, order.out)
