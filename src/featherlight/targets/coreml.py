"""The Core ML target: an ``.mlpackage`` for Apple's devices. It is checked here, but only a Mac can run it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from featherlight.engines.exported import LOGITS, PROBABILITIES, ExportedCard
from featherlight.errors import FeatherlightError
from featherlight.model_file import ModelCard
from featherlight.targets.base import Draft
from featherlight.targets.tooled import TooledTarget

PACKAGE = "model.mlpackage"
_DATA = f"{PACKAGE}/Data/com.apple.CoreML"


class CoreMlTarget(TooledTarget):
    """Writes ``model.mlpackage``, float32; see :class:`featherlight.targets.base.Target`."""

    name = "coreml"
    engine = "coreml"
    script = "coreml_convert.py"
    file_names = (f"{_DATA}/model.mlmodel", f"{_DATA}/weights/weight.bin", f"{PACKAGE}/Manifest.json")
    precisions = ("float",)
    runs_here = False

    def write(self, draft: Draft, folder: Path) -> None:
        """See :class:`featherlight.targets.base.Target`.

        Raises:
            FeatherlightError: the package does not say what it was told to.
        """
        with TemporaryDirectory(dir=folder, prefix=".program-") as inside:
            self._put(folder, draft.exported, self.write_source(draft, Path(inside)))

    def describe(self, folder: Path, exported: ExportedCard) -> None:
        """See :class:`featherlight.targets.base.Target`."""
        self._put(folder, exported, {})

    def _put(self, folder: Path, exported: ExportedCard, source: Mapping[str, str]) -> None:
        texts = exported.to_metadata()
        self.facts = self.convert({**source, "out": str(folder / PACKAGE), "metadata": texts})
        _check(self.facts, exported.card, texts)

    def explain(self) -> tuple[str, ...]:
        """What is known of the package that was written, and what is not."""
        return (
            "Core ML runs on Macs alone: this package was NOT run here; what was compared is the program it is made of",
            f"its specification was read back: version {self.facts['version']}, {self.facts['operations']} operations, "
            "inputs, outputs, shapes and metadata as they should be",
        )


def _check(facts: Mapping[str, Any], card: ModelCard, texts: Mapping[str, str]) -> None:
    """Compares what was read back with what was to be written."""
    side, classes = card.preprocessing.input_size, len(card.classes)
    inputs = {"input": [1, card.preprocessing.in_channels, side, side]}
    outputs = {LOGITS: [1, classes], PROBABILITIES: [1, classes]}
    if facts["inputs"] != inputs or facts["outputs"] != outputs:
        raise FeatherlightError(
            f"the Core ML package takes {facts['inputs']} and gives {facts['outputs']}, not {inputs} and {outputs}"
        )
    if not texts.items() <= facts["metadata"].items():  # coremltools adds its version and the date
        raise FeatherlightError("the metadata that was put into the Core ML package does not come back out of it")
