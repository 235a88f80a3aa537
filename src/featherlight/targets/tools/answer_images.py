"""Answers images in a process of its own: ``python answer_images.py RUNTIME MODEL NUM_CLASSES CHANNELS SIDE THREADS``.

Runs where the runtime is, and imports nothing of Featherlight. RUNTIME is ``executorch`` or ``litert``. From standard
input come images, each float32 (CHANNELS, SIDE, SIDE); to standard output go their logits, float32 (NUM_CLASSES,),
after one byte once it is ready. No THREADS (0) leaves them to the runtime. Ends with its input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

images = os.fdopen(0, "rb", closefd=False)
answers = os.fdopen(os.dup(1), "wb", buffering=0)
os.dup2(2, 1)  # what the runtime prints is no answer

Image = np.ndarray[Any, Any]  # float32 (1, CHANNELS, SIDE, SIDE)


def main(runtime: str, model: str, num_classes: int, channels: int, side: int, threads: int) -> None:
    """Answers until there are no more images."""
    run = {"executorch": open_executorch, "litert": open_litert}[runtime](model, threads)
    image = np.empty((1, channels, side, side), np.float32)
    view = image.data.cast("B")
    answers.write(b"\n")
    while images.readinto(view) == len(view):  # waits for all of it, or for the end
        logits = np.ascontiguousarray(run(image), np.float32)
        if logits.size != num_classes:
            sys.exit(f"{logits.size} outputs for {num_classes} classes")
        answers.write(logits.tobytes())


def open_executorch(model: str, threads: int) -> Callable[[Image], Any]:
    """A program of ExecuTorch."""
    import torch
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    if threads:
        _unsafe_reset_threadpool(threads)  # unsafe while a network runs; none does yet
    method = Runtime.get().load_program(Path(model)).load_method("forward")
    return lambda image: method.execute([torch.from_numpy(image)])[0].numpy()


def open_litert(model: str, threads: int) -> Callable[[Image], Any]:
    """A model of LiteRT, on the processor by XNNPACK, as is its default."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model, num_threads=threads or None)
    interpreter.allocate_tensors()
    names = interpreter.get_signature_list().get("serving_default", {})
    if names.get("inputs") != ["input"] or "logits" not in names.get("outputs", ()):
        sys.exit("its inputs and outputs are not those that featherlight export writes")
    run = interpreter.get_signature_runner("serving_default")
    return lambda image: run(input=image)["logits"]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
