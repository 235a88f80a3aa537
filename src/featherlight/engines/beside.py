"""What engines share whose runtime is in a process beside this one; images and logits go through pipes."""

from __future__ import annotations

import subprocess
import tempfile
import weakref
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from featherlight.engines.one_image import OneImageEngine
from featherlight.errors import ModelFileError

_SCRIPT = Path(__file__).parents[1] / "targets" / "tools" / "answer_images.py"
_ERRORS_KEPT = 2000


class BesideEngine(OneImageEngine):
    """Starts the process, and ends it with the engine.

    Attributes:
        pid: of the process: what computes, and takes the memory.
    """

    @abstractmethod
    def find_python(self) -> list[str]:
        """The command of the Python that has the runtime.

        Raises:
            ModuleNotFoundError: there is none; ``name`` says what is missing.
            MissingToolchainError: likewise.
        """

    def open(self, path: Path, threads: int | None) -> None:
        """See :class:`featherlight.engines.one_image.OneImageEngine`."""
        preprocessing, classes = self.card.preprocessing, len(self.card.classes)
        sizes = (classes, preprocessing.in_channels, preprocessing.input_size, threads or 0)
        command = [*self.find_python(), str(_SCRIPT), self.name, str(path.resolve()), *map(str, sizes)]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (a pipe that nobody reads would fill; closed at the end)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said)
        self.pid = self._process.pid
        weakref.finalize(self, _end, self._process, self._said)
        self._num_bytes = 4 * classes
        if len(self._read(1)) != 1:
            raise ModelFileError(f"{path}: {self.name} cannot open it: {self._last_words()}")

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`featherlight.engines.one_image.OneImageEngine`."""
        stream = _stream(self._process.stdin)
        try:
            stream.write(image.tobytes())
            stream.flush()
            found = self._read(self._num_bytes)
        except BrokenPipeError:
            found = b""
        if len(found) != self._num_bytes:
            raise RuntimeError(self._last_words())
        return np.frombuffer(found, np.float32)

    def _read(self, count: int) -> bytes:
        return _stream(self._process.stdout).read(count)

    def _last_words(self) -> str:
        self._process.kill()
        self._process.wait()
        self._said.seek(0)
        text = self._said.read()[-_ERRORS_KEPT:].decode("utf-8", "replace")
        return next((line for line in reversed(text.splitlines()) if line.strip()), "its process has ended")


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101  (both are pipes)
    return stream


def _end(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdout, said):
        _stream(stream).close()
    with suppress(BrokenPipeError):  # what was left to be written has no reader
        _stream(process.stdin).close()
