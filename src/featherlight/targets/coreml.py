"""The Core ML target: an ``.mlpackage`` for Apple's devices. It is checked here, but only a Mac can run it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featherlight.engines.exported import LOGITS, PROBABILITIES, ExportedCard
from featherlight.errors import FeatherlightError
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

    def describe(self, folder: Path, exported: ExportedCard) -> None:
        """See :class:`featherlight.targets.base.Target`."""
        texts = exported.to_metadata()
        found = self.convert({"out": str(folder / PACKAGE), "metadata": texts})
        if found["metadata"] != texts:
            raise FeatherlightError("the metadata that was put into the Core ML package does not come back out of it")

    def write(self, draft: Draft, folder: Path) -> None:
        """See :class:`featherlight.targets.base.Target`.

        Raises:
            FeatherlightError: the package does not say what it was told to.
        """
        super().write(draft, folder)
        self.facts = self.convert({"out": str(folder / PACKAGE), "metadata": {}})
        _check(self.facts, draft)

    def explain(self) -> tuple[str, ...]:
        """What is known of the package that was written, and what is not."""
        return (
            "Core ML runs on Macs alone: this package was NOT run here; what was compared is the program it is made of",
            f"its specification was read back: version {self.facts['version']}, {self.facts['operations']} operations, "
            "inputs, outputs, shapes and metadata as they should be",
        )


def _check(facts: Mapping[str, Any], draft: Draft) -> None:
    card = draft.exported.card
    side, classes = card.preprocessing.input_size, len(card.classes)
    inputs = {"input": [1, card.preprocessing.in_channels, side, side]}
    outputs = {LOGITS: [1, classes], PROBABILITIES: [1, classes]}
    if facts["inputs"] != inputs or any(
        facts["outputs"].get(name) not in (shape, []) for name, shape in outputs.items()
    ):
        raise FeatherlightError(
            f"the Core ML package takes {facts['inputs']} and gives {facts['outputs']}, not {inputs} and {outputs}"
        )
