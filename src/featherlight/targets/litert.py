"""The LiteRT target: a ``.tflite``, made by ``litert-torch``."""

from __future__ import annotations

from pathlib import Path

from featherlight.targets.base import Draft
from featherlight.targets.tooled import TooledTarget


class LiteRtTarget(TooledTarget):
    """Writes ``model.tflite`` and ``model.json``; see :class:`featherlight.targets.base.Target`."""

    name = "litert"
    engine = "litert"
    script = "litert_convert.py"
    file_names = ("model.tflite", "model.json")
    packages = ("ai_edge_litert",)

    def write_source(self, draft: Draft, folder: Path) -> dict[str, str]:
        """The float file: its quantiser works on that."""
        self.write(draft, folder)
        return {"float": str(folder / self.file_names[0])}
