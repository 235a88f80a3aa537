"""The contract of a target, and the table of those there are."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from featherlight.engines.exported import ExportedCard, Input
from featherlight.errors import UsageError, did_you_mean, explain_missing

TARGETS = {
    "onnx": "featherlight.targets.onnx:OnnxTarget",
    "openvino": "featherlight.targets.openvino:OpenVinoTarget",
    "web": "featherlight.targets.web:WebTarget",
    "ncnn": "featherlight.targets.ncnn:NcnnTarget",
    "litert": "featherlight.targets.litert:LiteRtTarget",
    "executorch": "featherlight.targets.executorch:ExecuTorchTarget",
    "coreml": "featherlight.targets.coreml:CoreMlTarget",
}
_OTHER_NAMES = {"tflite": "litert", "pte": "executorch", "mlpackage": "coreml", "mlmodel": "coreml", "ort": "onnx"}


@dataclass(frozen=True)
class Draft:
    """What is to be written.

    Attributes:
        network: in evaluation mode on the CPU: float32 (N, C, S, S), normalised -> logits (N, num_classes).
        exported: card, input and notes for the metadata.
        half_weights: weights are stored in float16; the file still computes in float32.
    """

    network: nn.Module
    exported: ExportedCard
    half_weights: bool = False


class Target(Protocol):
    """Writes networks for one runtime.

    Attributes:
        name: as ``--to`` takes it.
        engine: name of the engine that runs what it writes.
        file_names: of what :meth:`write` makes in its folder, the file that names the model first.
        packages: what it needs, besides what the training extra brings.
        int8_packages: what it also needs for int8.
        inputs: what its files can take, the usual one first.
        runs_here: its files can be run on this machine; else what they were made of is compared, and the target's
            ``explain`` says so.
        auto_form: the form of the graph that ``auto`` takes where writing all would take minutes; None: all are timed.
        precisions: of ``float``, ``half`` (weights) and ``int8``, those that it can write.
        is_public: its folder is made to be published, so nothing goes there that shows images or names places.
    """

    name: str
    engine: str
    file_names: tuple[str, ...]
    packages: tuple[str, ...]
    int8_packages: tuple[str, ...]
    inputs: tuple[Input, ...]
    precisions: tuple[str, ...]
    auto_form: str | None
    runs_here: bool
    is_public: bool

    def write(self, draft: Draft, folder: Path) -> None:
        """Writes the network into an empty folder.

        Raises:
            UsageError: the network has something that the format cannot express.
        """
        ...

    def describe(self, folder: Path, exported: ExportedCard) -> None:
        """Puts other metadata into what is in the folder."""
        ...


def find_target(name: str, *, int8: bool = False, **settings: object) -> Target:
    """The target of this name.

    Args:
        name: as ``--to`` takes it.
        int8: it will be asked for int8 files.
        settings: that only this target knows.

    Raises:
        UsageError: there is none.
        MissingExtraError: what it needs is not installed.
    """
    try:
        target: Any = target_class(name)(**settings)
        for package in (*target.packages, *(target.int8_packages if int8 else ())):
            _find_package(package)
    except ModuleNotFoundError as error:
        raise explain_missing(error, f"exporting to {name}") from error
    found: Target = target
    return found


def target_class(name: str) -> Any:
    """What makes the target of this name; its attributes can be read before anything is fetched or found.

    Raises:
        UsageError: there is none.
    """
    if name not in TARGETS:
        meant = _OTHER_NAMES.get(name.lower().lstrip("."), name)
        hint = did_you_mean(meant, TARGETS) or f" choose one of {', '.join(TARGETS)}"
        raise UsageError(f"there is no target {name!r};{hint}")
    module_name, _, class_name = TARGETS[name].partition(":")
    return getattr(import_module(module_name), class_name)


def _find_package(name: str) -> None:
    """Nothing is imported: some packages take seconds."""
    if find_spec(name) is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
