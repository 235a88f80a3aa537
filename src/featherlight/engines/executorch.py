"""The ExecuTorch engine: runs ``.pte`` files.

ExecuTorch's runtime needs PyTorch, and of one version. So it has a Python of its own: this one where ExecuTorch is
installed here, else that of its toolchain.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

from featherlight.engines.beside import BesideEngine
from featherlight.toolchain import find_toolchain


class ExecuTorchEngine(BesideEngine):
    """Runs a ``.pte`` on the CPU.

    Raises:
        MissingToolchainError: ExecuTorch is neither installed here nor in its toolchain.
    """

    name = "executorch"
    files = (".pte",)

    def find_python(self) -> list[str]:
        """See :class:`featherlight.engines.beside.BesideEngine`."""
        return [sys.executable] if _is_installed() else [str(find_toolchain("executorch")), "-I"]


def _is_installed() -> bool:
    try:
        return bool(version("executorch"))
    except PackageNotFoundError:
        return False
