"""What engines share whose files take one normalised image: those of small devices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from featherlight.engines.exported import TENSOR
from featherlight.engines.sidecar import read_sidecar
from featherlight.errors import FeatherlightError, ModelFileError, UsageError
from featherlight.images import normalize


class OneImageEngine(ABC):
    """Runs a file on the CPU, one image after the other; see :class:`featherlight.engines.base.Engine`.

    Raises:
        ModelFileError: the file or what lies beside it is damaged or foreign.
        UsageError: a device other than the CPU.
    """

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]]  # suffixes of what belongs together
    resizes = False

    def __init__(self, path: Path, device: str = "auto", threads: int | None = None) -> None:
        if device not in ("auto", "cpu"):
            raise UsageError(f"the {self.name} engine computes on the CPU, not on {device!r}")
        self.exported = read_sidecar(path, [path.with_suffix(suffix).name for suffix in self.files])
        if self.exported.input != TENSOR:
            raise ModelFileError(f"{path}: says that it takes images; files for {self.name} take tensors")
        self.card = self.exported.card
        self._path = path
        try:
            self.open(path, threads)
        except (FeatherlightError, ImportError):
            raise
        except Exception as error:  # runtimes' own exceptions share no class
            raise ModelFileError(f"{path}: {self.name} cannot open it: {shown(error)}") from error

    @abstractmethod
    def open(self, path: Path, threads: int | None) -> None:
        """Loads the file into the runtime."""

    @abstractmethod
    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (K,) of one normalised image (C, S, S)."""

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`featherlight.engines.base.Engine`."""
        try:
            found = np.stack([self.run(image) for image in normalize(images, self.card.preprocessing)])
        except Exception as error:
            raise FeatherlightError(f"{self._path}: {self.name} could not run it: {shown(error)}") from error
        if found.shape != (len(images), len(self.card.classes)):
            raise ModelFileError(f"{self._path}: gives {found.shape[1:]} outputs for {len(self.card.classes)} classes")
        return found


def shown(error: BaseException) -> str:
    """An error of a runtime in one printable line."""
    return ascii(" ".join(str(error).split())[:300])[1:-1]
