"""A trained model -> a file that runs without PyTorch, kept only if it gives the same answers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from featherlight.engines import Engine, open_engine
from featherlight.engines.exported import IMAGE, TENSOR, ExportedCard, Input
from featherlight.errors import GateFailedError, UnreadableImageError, UsageError
from featherlight.files import publish_file, replace_folder, staging_folder
from featherlight.model_file import EXPORTED_NAMES, EXPORTED_SUFFIXES, MODEL_FILE_NAME, SHIPPED, find_model_file
from featherlight.models.weights import load_model
from featherlight.report.export_page import ExportFacts, Pictured, write_export_page
from featherlight.targets.base import TARGETS, Draft, Target, find_target
from featherlight.targets.program import NetworkEngine
from featherlight.training.equalisation import equalize
from featherlight.verification import Verification
from featherlight.workflows.device_kit import check_kit, write_kit
from featherlight.workflows.export_int8 import quantize_export
from featherlight.workflows.fastest_form import choose_form
from featherlight.workflows.verify import Reference, compare_engine, compute_reference

REPORT_NAME = "export.html"
EXPORTED_FILES = (*EXPORTED_NAMES, "model.bin", "model.json", "model.mlpackage")
PICTURED = 36  # images named differently that the page shows


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
        quantization: with int8, which layers stay in float and what that costs, in lines; also in ``explanation``.
    """

    path: Path
    files: tuple[Path, ...]
    report: Path
    size_bytes: int
    verification: Verification
    explanation: tuple[str, ...]
    kit: Path | None = None
    quantization: tuple[str, ...] = ()


@dataclass(frozen=True)
class Order:
    """What is asked for, checked.

    Attributes:
        model: the model file.
        target: what writes it.
        out: folder, or the one file of a target that has only one.
        input: what the file takes.
        half_weights: stored in float16.
        int8: computed in 8 bits.
        data: images to compare on; None: those it was trained on.
        kit: folder of the device kit.
        form: of a network with channel shuffles.
        settings: that only this target knows.
    """

    model: Path
    target: Target
    out: Path
    input: Input
    half_weights: bool
    int8: bool
    data: str | Path | None
    kit: Path | None
    form: str
    settings: Mapping[str, object]

    @property
    def is_file(self) -> bool:
        """``out`` is a file, not a folder."""
        return self.out.suffix in EXPORTED_SUFFIXES

    @property
    def report(self) -> Path:
        """The page: in the folder, or named like the file, since several files may lie beside each other."""
        if self.target.is_public:
            return self.out.with_name(f"{self.out.name}-{REPORT_NAME}")
        return self.out.with_suffix(".html") if self.is_file else self.out / REPORT_NAME


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

    Raises:
        UsageError: an unknown target or option, ``out`` is something else, or the network cannot be expressed.
        MissingExtraError: the target's packages are not installed.
        DownloadError: the browser's runtime cannot be fetched.
        GateFailedError: the file gives other answers; nothing was replaced.
    """
    settings = {name: value for name, value in (("runtime", runtime), ("title", title)) if value is not None}
    order = _check_order(model, to, out, data, input, kit, settings, half_weights=half_weights, int8=int8, form=form)
    reference_engine = open_engine(order.model, "torch", "cpu")
    reference = compute_reference(reference_engine, model, data)
    exported = ExportedCard(reference_engine.card, order.input, notes=_notes(order))
    chosen = choose_form(_network(order, exported), order.target, exported, form)
    with staging_folder(order.out) as folder:
        result, lines = _write(order, chosen.network, exported, reference, folder)
        explanation = (*chosen.explanation, *lines)
        order.target.describe(folder, replace(exported, verification=result.summary()))
        size = sum((folder / name).stat().st_size for name in order.target.file_names)
        _write_page(folder / REPORT_NAME, order, reference, result, explanation, size)
        if not result.passed:
            raise _refusal(order, result, folder / REPORT_NAME)
        made_kit = None
        if order.kit is not None:
            engine = _open(order.target, folder, chosen.network, exported)
            made_kit = write_kit(order.kit, folder, order.target, engine, reference)
        _publish(order, folder)
    finished = _finished(order, result, explanation, size, made_kit)
    return replace(finished, quantization=lines)


def _network(order: Order, exported: ExportedCard) -> nn.Module:
    """The network, for int8 with channels of like ranges, unless it was fine-tuned with ranges of its own."""
    network = load_model(order.model)
    if order.int8 and "quantization" not in exported.card.provenance:
        equalize(network)
    return network


def _write(
    order: Order, network: nn.Module, exported: ExportedCard, reference: Reference, folder: Path
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


def _check_order(
    model: str | Path,
    to: str,
    out: str | Path | None,
    data: str | Path | None,
    given: str | None,
    kit: str | Path | None,
    settings: Mapping[str, object],
    *,
    half_weights: bool,
    int8: bool,
    form: str,
) -> Order:
    if given not in (None, "image", "tensor"):
        raise UsageError(f"input is {given!r:.40}; choose image or tensor")
    if half_weights and int8:
        raise UsageError("int8 weights are smaller than half ones: leave out --half-weights or --int8")
    path = find_model_file(model)
    if path.suffix in EXPORTED_SUFFIXES:
        raise UsageError(f"{path} is an exported file; name the run directory or model file that it was made of")
    if to == "web":
        _check_web(given, kit)
    elif settings:
        raise UsageError(f"{' and '.join(f'--{name}' for name in settings)} belongs to --to web, not to --to {to}")
    target = find_target(to, int8=int8, **settings)
    input_name = _check_abilities(target, given, "half" if half_weights else "int8" if int8 else "float")
    home = Path() if path in SHIPPED.values() else path.parent
    place = Path(out) if out is not None else home / _default_name(path, to, int8)
    _check_place(place, target)
    if kit is not None:
        check_kit(Path(kit))
    place_of_kit = kit if kit is None else Path(kit)
    return Order(path, target, place, input_name, half_weights, int8, data, place_of_kit, form, settings)


def _check_abilities(target: Target, given: str | None, precision: str) -> Input:
    """Says what the target's format cannot do; what the file takes."""
    if precision not in target.precisions:
        option = "--half-weights" if precision == "half" else f"--{precision}"
        raise UsageError(f"--to {target.name} has no {option}; leave it out")
    for name in target.inputs:
        if given in (None, name):
            return name
    raise UsageError(
        f"{target.name} has no resize that gives the same pixels as training: its files take tensors, and the kit's "
        "script makes them of images. Leave out --input image"
    )


def _check_web(given: str | None, kit: str | Path | None) -> None:
    """Says what a page cannot do."""
    if given not in (None, IMAGE):
        raise UsageError("--to web needs a file that resizes images itself: leave out --input tensor")
    if kit is not None:
        raise UsageError("--to web makes a folder with all that a browser needs; leave out --kit")


def _default_name(path: Path, to: str, int8: bool) -> str:
    name = f"{to}-int8" if int8 else to
    return name if path.name == MODEL_FILE_NAME else f"{path.stem}-{name}"


def _check_place(out: Path, target: Target) -> None:
    """Only what an export wrote may be replaced by one."""
    if out.suffix in EXPORTED_SUFFIXES:
        if len(target.file_names) > 1 or Path(target.file_names[0]).suffix != out.suffix:
            names = target.file_names
            made = " and ".join(names) if len(names) < 3 else f"{len(names)} files"
            raise UsageError(f"--to {target.name} makes {made}; name a folder, not {out}")
        if out.is_dir():
            raise UsageError(f"{out} is a folder; choose another --out")
        return
    if not out.exists():
        return
    known = {REPORT_NAME, *EXPORTED_FILES, *target.file_names}
    if not out.is_dir() or not {path.name for path in out.iterdir()} <= known:
        raise UsageError(f"{out} is not empty and holds other things than an export; choose another --out")


def _notes(order: Order) -> dict[str, Any]:
    precision = "int8" if order.int8 else "float"
    return {
        "precision": precision,
        "weights": "float16" if order.half_weights else "float32",
        "torch": torch.__version__,
    }


def _publish(order: Order, folder: Path) -> None:
    if order.is_file or order.target.is_public:
        publish_file(folder / REPORT_NAME, order.report)
    if order.is_file:
        publish_file(folder / order.target.file_names[0], order.out)
    else:
        replace_folder(folder, order.out)


def _finished(order: Order, result: Verification, explanation: tuple[str, ...], size: int, kit: Path | None) -> Export:
    names = order.target.file_names
    files = (order.out,) if order.is_file else tuple(order.out / name for name in names)
    return Export(files[0], files, order.report, size, result, explanation, kit)


def _refusal(order: Order, result: Verification, page: Path) -> GateFailedError:
    """Keeps the page beside the place that the model did not get, and says what to try."""
    report = order.out.with_name(f"{order.out.stem}-failed.html")
    publish_file(page, report)
    return GateFailedError(
        f"not exported, since the file gives other answers than its model: {'; '.join(result.problems)}. "
        f"{_advice(order)} Details: {report}"
    )


def _advice(order: Order) -> str:
    if order.int8:
        return f"Fine-tune it for int8: featherlight train --quantize-aware {order.model}; or leave out --int8."
    if order.half_weights:
        return "Try it without --half-weights."
    if order.input == IMAGE and TENSOR in order.target.inputs:
        return "Try --input tensor, which leaves resizing to your program."
    return f"Try another target than {order.target.name}." if len(TARGETS) > 1 else ""


def _write_page(
    path: Path,
    order: Order,
    reference: Reference,
    result: Verification,
    explanation: Sequence[str],
    size: int,
) -> None:
    pictured = []
    where = {name: k for k, name in enumerate(reference.images.paths)}
    for one in result.disagreements[:PICTURED]:
        try:
            pictured.append(Pictured(one, reference.images.read(where[one.path])))
        except UnreadableImageError:  # it could be read a moment ago; the page can do without it
            continue
    command = ["featherlight", "export", str(order.model), "--to", order.target.name, "--out", str(order.out)]
    command += (
        ["--half-weights"] * order.half_weights
        + ["--int8"] * order.int8
        + (["--input", order.input] if order.input != order.target.inputs[0] else [])
    )
    command += ["--form", order.form] * (order.form != "auto")
    command += ["--data", str(order.data)] if order.data is not None else []
    command += ["--kit", str(order.kit)] if order.kit is not None else []
    command += [word for name, value in order.settings.items() for word in (f"--{name}", str(value))]
    facts = ExportFacts(
        order.model.name, order.target.name, order.input, size, order.model.stat().st_size, shlex.join(command)
    )
    write_export_page(path, result, facts, pictured, explanation)
