"""The LiteRT engine: runs ``.tflite`` files.

In a process of its own: where PyTorch is loaded, too, LiteRT 2.3 writes over memory that is not its own in int8
networks (seen with PyTorch 2.14), which ends the whole program or, worse, does not.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from featherlight.engines.beside import BesideEngine

_MODULE = "ai_edge_litert"


class LiteRtEngine(BesideEngine):
    """Runs a ``.tflite`` on the CPU, by XNNPACK, which is LiteRT's default there."""

    name = "litert"
    files = (".tflite",)

    def find_python(self) -> list[str]:
        """See :class:`featherlight.engines.beside.BesideEngine`."""
        if find_spec(_MODULE) is None:
            raise ModuleNotFoundError(f"No module named {_MODULE!r}", name=_MODULE)
        return [sys.executable]
