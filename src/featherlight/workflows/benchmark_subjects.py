"""What a benchmark measures: every model as a file that each engine can open."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from featherlight.engines import open_engine
from featherlight.engines.base import ENGINES, ENGINES_OF_SUFFIX
from featherlight.engines.exported import ExportedCard
from featherlight.errors import UsageError
from featherlight.images import Preprocessing, normalize
from featherlight.model_file import EXPORTED_SUFFIXES, MODEL_FILE_NAME, ModelCard, find_model_file, read_card
from featherlight.models.registry import create_model
from featherlight.models.timm_networks import PREFIX, published_input_size
from featherlight.models.weights import load_model, save_model
from featherlight.targets.base import Draft, Target, find_target
from featherlight.targets.int8 import quantize_tooled
from featherlight.targets.quantize_onnx import quantize_onnx
from featherlight.targets.quantize_openvino import quantize_openvino, size_of
from featherlight.targets.tooled import TooledTarget
from featherlight.training.equalisation import equalize
from featherlight.workflows.benchmark_subject import Subject, sample_images
from featherlight.workflows.calibration import calibration_batches
from featherlight.workflows.fastest_form import choose_form

DEFAULT_INPUT_SIZE = 224
UNTRAINED_CALIBRATION = 8  # random images: nothing depends on them but the time, which does not
PRECISIONS = {
    "torch": ("float32",),
    "onnxruntime": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
    "ncnn": ("float32",),
    "litert": ("float32", "int8"),
    "executorch": ("float32", "int8"),
}
_BY_NAME_ONLY = ("ncnn", "litert", "executorch")  # for devices; their converters take up to half a minute
_TARGETS = {"onnxruntime": "onnx"}  # of engines that are called otherwise


@dataclass(frozen=True)
class Wish:
    """What the person asks to compare.

    Attributes:
        engines: runtimes; none: all that are installed and quickly exported for; for an exported file its own.
        precisions: in which they compute.
        input_size: of networks given by name.
        num_classes: likewise.
        data: images to measure accuracy on; calibration takes their training split.
        form: of networks with channel shuffles: a name, or ``auto`` to time them.
    """

    engines: Sequence[str] = ()
    precisions: Sequence[str] = ("float32",)
    input_size: int | None = None
    num_classes: int | None = None
    data: str | Path | None = None
    form: str = "auto"


def prepare_subjects(models: Sequence[str | Path], wish: Wish, folder: Path) -> list[Subject]:
    """Each model in each engine and precision that can run it, as files; what has to be made is made in ``folder``.

    Raises:
        UsageError: unknown names, or nothing to measure.
        ModelFileError: no usable model file.
        MissingExtraError: a runtime that was asked for is not installed.
    """
    _check(models, wish)
    subjects: list[Subject] = []
    for number, model in enumerate(models):
        place = folder / str(number)
        place.mkdir()
        file = _file_of(model, wish, place)
        is_exported = file.suffix in EXPORTED_SUFFIXES
        subjects += _exported(str(model), file, wish) if is_exported else _made(str(model), file, wish, place)
    if not subjects:
        raise UsageError(
            f"nothing to measure: no engine here computes in {', '.join(wish.precisions)}, or can run these files"
        )
    return subjects


def _check(models: Sequence[str | Path], wish: Wish) -> None:
    if not models:
        raise UsageError("name at least one model; `featherlight models` lists the networks")
    known = {precision for precisions in PRECISIONS.values() for precision in precisions}
    for kind, names, there_are in (("engine", wish.engines, ENGINES), ("precision", wish.precisions, known)):
        unknown = [name for name in names if name not in there_are]
        if unknown:
            raise UsageError(f"unknown {kind} {unknown[0]!r}; there are: {', '.join(sorted(there_are))}")


def _file_of(model: str | Path, wish: Wish, folder: Path) -> Path:
    """The file that ``model`` names; of a network's name, one with fresh weights in ``folder``."""
    if os.path.exists(model):
        if wish.input_size is not None or wish.num_classes is not None:
            raise UsageError(f"{model} has its own size and classes; leave out --input-size and --num-classes")
        return find_model_file(model)
    name = str(model)
    if not name.startswith(PREFIX) and (os.sep in name or Path(name).suffix in (".safetensors", *EXPORTED_SUFFIXES)):
        raise UsageError(f"{name}: no such run directory, model file or exported file")
    side = wish.input_size or (published_input_size(name) if name.startswith(PREFIX) else DEFAULT_INPUT_SIZE)
    count = wish.num_classes or 1000
    network = create_model(name, count, input_size=side)
    if wish.data is not None:
        raise UsageError(f"{name} is not trained, so it has no accuracy; leave out --data, or name a trained model")
    return save_model(network, folder / MODEL_FILE_NAME, [str(number) for number in range(count)], Preprocessing(side))


def _exported(model: str, file: Path, wish: Wish) -> Iterator[Subject]:
    """An exported file in the engines that can run it, in the precision that it has."""
    able = ENGINES_OF_SUFFIX[file.suffix]
    engines = [name for name in able if name in wish.engines] if wish.engines else able[:1]
    for engine in engines:
        opened: Any = open_engine(file, engine)
        notes = opened.exported.notes
        precision = "int8" if notes.get("precision") == "int8" else "float32"
        if engine == "openvino" and notes.get("compute") == "bf16":
            precision = "bfloat16"
        yield _subject(model, file, engine, precision, opened.card)


def _made(model: str, file: Path, wish: Wish, folder: Path) -> Iterator[Subject]:
    """A model file in every engine, exported for it where that is needed."""
    card = read_card(file)
    engines = wish.engines or [name for name in PRECISIONS if name not in _BY_NAME_ONLY and find_spec(name) is not None]
    for engine in engines:
        for precision in wish.precisions:
            if precision in PRECISIONS[engine]:
                made = file if engine == "torch" else _export(file, engine, precision == "int8", wish, folder)
                yield _subject(model, made, engine, precision, card)


def _export(file: Path, engine: str, int8: bool, wish: Wish, folder: Path) -> Path:
    """The model for another runtime, made once."""
    target = find_target(_TARGETS.get(engine, engine))
    place = folder / f"{target.name}-{'int8' if int8 else 'float'}"
    made = place / target.file_names[0]
    if made.exists():
        return made
    place.mkdir()
    model = load_model(file)
    card: ModelCard = model.card  # type: ignore[assignment]
    exported = ExportedCard(card, "tensor", notes={"precision": "int8" if int8 else "float"})
    if int8:
        equalize(model)
    draft = Draft(choose_form(model, target, exported, wish.form).network, exported)
    if int8:
        _write_int8(target, place, draft, wish.data)
    else:
        target.write(draft, place)
    return made


def _write_int8(target: Target, folder: Path, draft: Draft, data: str | Path | None) -> None:
    file, exported, card = folder / target.file_names[0], draft.exported, draft.exported.card
    if data is None and "data" not in card.provenance:
        images = normalize(sample_images(UNTRAINED_CALIBRATION, card.preprocessing.input_size), card.preprocessing)
        batches = [images]
    else:
        batches = calibration_batches(card, data)
    if isinstance(target, TooledTarget):
        with tempfile.TemporaryDirectory(dir=folder, prefix=".source-") as inside:
            quantize_tooled(target, target.write_source(draft, Path(inside)), file, batches)
        target.describe(folder, exported)
        return
    target.write(draft, folder)
    if target.name == "onnx":
        quantize_onnx(file, file, batches, learnt=card.provenance.get("quantization"))
    else:
        quantize_openvino(file, file, batches)
    target.describe(folder, replace(exported, notes={"precision": "int8"}))


def _subject(model: str, file: Path, engine: str, precision: str, card: ModelCard) -> Subject:
    size = card.preprocessing.input_size
    return Subject(model, file, engine, precision, card.model, len(card.classes), size, size_of(file))
