"""What targets share whose converter runs in an environment of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from featherlight.engines.exported import TENSOR, ExportedCard, Input
from featherlight.engines.sidecar import write_sidecar
from featherlight.targets.base import Draft
from featherlight.targets.program import TOOLS, save_program
from featherlight.toolchain import find_toolchain, run_tool


class TooledTarget:
    """Writes a model and ``model.json``; see :class:`featherlight.targets.base.Target`.

    Raises:
        MissingToolchainError: the environment has not been made.
    """

    name: ClassVar[str]
    engine: ClassVar[str]
    script: ClassVar[str]  # in the folder of tools
    file_names: tuple[str, ...]
    packages: tuple[str, ...] = ()
    int8_packages: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = (TENSOR,)
    precisions: tuple[str, ...] = ("float", "int8")
    auto_form: str | None = "shuffle"
    runs_here = True
    is_public = False

    def __init__(self) -> None:
        find_toolchain(self.name)

    def write(self, draft: Draft, folder: Path) -> None:
        """See :class:`featherlight.targets.base.Target`."""
        with TemporaryDirectory(dir=folder, prefix=".program-") as inside:
            source = TooledTarget.write_source(self, draft, Path(inside))
            self.convert({**source, "out": str(folder / self.file_names[0])})
        self.describe(folder, draft.exported)

    def write_source(self, draft: Draft, folder: Path) -> dict[str, str]:
        """Writes what an int8 file is made of; the job's field for it."""
        program = folder / "model.pt2"
        save_program(draft, program)
        return {"program": str(program)}

    def convert(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Calls the converter; the job's fields stand in its script."""
        return run_tool(self.name, TOOLS / self.script, job)

    def describe(self, folder: Path, exported: ExportedCard) -> None:
        """See :class:`featherlight.targets.base.Target`."""
        write_sidecar(folder / self.file_names[0], exported, self.file_names[:1])
