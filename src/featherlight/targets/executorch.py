"""The ExecuTorch target: a ``.pte`` whose layers XNNPACK computes."""

from __future__ import annotations

from featherlight.targets.tooled import TooledTarget


class ExecuTorchTarget(TooledTarget):
    """Writes ``model.pte`` and ``model.json``; see :class:`featherlight.targets.base.Target`."""

    name = "executorch"
    engine = "executorch"
    script = "executorch_convert.py"
    file_names = ("model.pte", "model.json")
