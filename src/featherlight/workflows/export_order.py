"""What is asked of an export, and whether it can be done: checked before anything is made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from featherlight.engines.exported import IMAGE, TENSOR, Input
from featherlight.errors import UsageError
from featherlight.model_file import EXPORTED_NAMES, EXPORTED_SUFFIXES, MODEL_FILE_NAME, SHIPPED
from featherlight.report import check_language
from featherlight.targets.base import Target, find_target
from featherlight.workflows.device_kit import check_kit

REPORT_NAME = "export.html"
EXPORTED_FILES = (*EXPORTED_NAMES, "model.bin", "model.json", "model.mlpackage")


@dataclass(frozen=True)
class ExportOrder:
    """What is asked for.

    Attributes:
        model: the model file.
        to: name of the target.
        asked_out: folder or file; None: the usual place.
        data: images to compare on; None: those it was trained on.
        asked_input: what the file takes; None: what is usual for the target.
        half_weights: stored in float16.
        int8: computed in 8 bits.
        form: of a network with channel shuffles.
        kit: folder of the device kit.
        lang: of the page.
        settings: that only this target knows.
    """

    model: Path
    to: str
    asked_out: str | Path | None
    data: str | Path | None
    asked_input: Input | None
    half_weights: bool
    int8: bool
    form: str
    kit: Path | None
    lang: str
    settings: Mapping[str, object]

    @cached_property
    def target(self) -> Target:
        """What writes it."""
        return find_target(self.to, int8=self.int8, **self.settings)

    @property
    def input(self) -> Input:
        """What the file takes."""
        return self.asked_input or self.target.inputs[0]

    @property
    def precision(self) -> str:
        """As targets call it."""
        return "half" if self.half_weights else "int8" if self.int8 else "float"

    @property
    def out(self) -> Path:
        """Folder, or the one file of a target that has only one."""
        if self.asked_out is not None:
            return Path(self.asked_out)
        home = Path() if self.model in SHIPPED.values() else self.model.parent
        name = f"{self.to}-int8" if self.int8 else self.to
        return home / (name if self.model.name == MODEL_FILE_NAME else f"{self.model.stem}-{name}")

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

    @property
    def command(self) -> str:
        """That exports it again."""
        words = ["featherlight", "export", str(self.model), "--to", self.to, "--out", str(self.out)]
        words += ["--half-weights"] * self.half_weights + ["--int8"] * self.int8
        changed: dict[str, object] = {
            "input": self.asked_input,
            "form": self.form if self.form != "auto" else None,
            "data": self.data,
            "kit": self.kit,
            "lang": self.lang if self.lang != "en" else None,
            **self.settings,
        }
        words += [str(word) for name, value in changed.items() if value is not None for word in (f"--{name}", value)]
        return shlex.join(words)


def check_order(order: ExportOrder) -> None:
    """Refuses what cannot be done.

    Raises:
        UsageError: values that do not exist or do not fit each other, or a place that holds something else.
        MissingExtraError: the target's packages are not installed.
    """
    check_language(order.lang)
    if order.asked_input not in (None, IMAGE, TENSOR):
        raise UsageError(f"input is {order.asked_input!r:.40}; choose image or tensor")
    if order.half_weights and order.int8:
        raise UsageError("int8 weights are smaller than half ones: leave out --half-weights or --int8")
    if order.model.suffix in EXPORTED_SUFFIXES:
        raise UsageError(f"{order.model} is an exported file; name the run directory or model file that it was made of")
    if order.to == "web":
        _check_web(order)
    elif order.settings:
        names = " and ".join(f"--{name}" for name in order.settings)
        raise UsageError(f"{names} belongs to --to web, not to --to {order.to}")
    _check_abilities(order)
    _check_place(order.out, order.target)
    if order.kit is not None:
        check_kit(order.kit)


def _check_abilities(order: ExportOrder) -> None:
    """Says what the target's format cannot do."""
    if order.precision not in order.target.precisions:
        option = "--half-weights" if order.half_weights else "--int8"
        raise UsageError(f"--to {order.to} has no {option}; leave it out")
    if order.input not in order.target.inputs:
        raise UsageError(
            f"{order.to} has no resize that gives the same pixels as training: its files take tensors, and the kit's "
            f"script makes them of images. Leave out --input {order.input}"
        )


def _check_web(order: ExportOrder) -> None:
    """Says what a page cannot do."""
    if order.asked_input not in (None, IMAGE):
        raise UsageError("--to web needs a file that resizes images itself: leave out --input tensor")
    if order.kit is not None:
        raise UsageError("--to web makes a folder with all that a browser needs; leave out --kit")


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
