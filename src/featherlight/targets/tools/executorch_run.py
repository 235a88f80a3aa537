"""Answers images by a .pte of ExecuTorch: ``python executorch_run.py MODEL NUM_CLASSES CHANNELS SIDE THREADS``.

Runs where the runtime is, which need not be where Featherlight is. From standard input come images, each float32
(CHANNELS, SIDE, SIDE); to standard output go their logits, float32 (NUM_CLASSES,), after one byte once it is ready. No
THREADS (0) leaves them to the runtime. Ends with its input.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

images = os.fdopen(0, "rb", closefd=False)
answers = os.fdopen(os.dup(1), "wb", buffering=0)
os.dup2(2, 1)  # what the runtime prints is no answer

import numpy as np  # noqa: E402
import torch  # noqa: E402
from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool  # noqa: E402
from executorch.runtime import Runtime  # noqa: E402


def main(model: str, num_classes: int, channels: int, side: int, threads: int) -> None:
    """Answers until there are no more images."""
    if threads:
        _unsafe_reset_threadpool(threads)  # unsafe while a network runs; none does yet
    method = Runtime.get().load_program(Path(model)).load_method("forward")
    image = np.empty((1, channels, side, side), np.float32)
    view = image.data.cast("B")
    answers.write(b"\n")
    while _fill(view):
        logits = method.execute([torch.from_numpy(image)])[0].numpy()
        if logits.size != num_classes:
            sys.exit(f"{logits.size} outputs for {num_classes} classes")
        answers.write(np.ascontiguousarray(logits, np.float32).tobytes())


def _fill(view: memoryview) -> bool:
    """Reads one image; False: there are no more."""
    return images.readinto(view) == len(view)  # waits for all of it, or for the end


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
