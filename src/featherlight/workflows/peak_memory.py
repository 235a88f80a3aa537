"""How much memory a model takes: the peak of a process that does nothing but run it.

python -m featherlight.workflows.peak_memory '{"file": ..., "engine": ..., "precision": ..., ...}'
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from featherlight.errors import FeatherlightError
from featherlight.workflows.benchmark_subject import Subject, open_subject, sample_images

CALLS = 3  # allocators have what they need after the second


def peak_memory_bytes(subject: Subject, batch: int, threads: int) -> int:
    """Highest resident memory of a process that opens the model and runs a few batches.

    Python and the runtime count too: it is what the device must have.

    Raises:
        FeatherlightError: the process failed, for want of memory for example.
    """
    task = json.dumps({"subject": asdict(subject), "batch": batch, "threads": threads}, default=str)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-m", __name__, task], capture_output=True, text=True, check=False, env=environment
    )
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise FeatherlightError(f"measuring the memory of {subject.model} in {subject.engine} failed: {last:.300}")
    return int(result.stdout.split()[-1])


def _run(task: str) -> int:
    values = json.loads(task)
    subject = Subject(**{**values["subject"], "file": Path(values["subject"]["file"])})
    engine = open_subject(subject, values["threads"])
    images = sample_images(values["batch"], subject.input_size)
    for _ in range(CALLS):
        engine.logits(images)
    return peak_here(getattr(engine, "pid", "self"))


def peak_here(process: int | str = "self") -> int:
    """Of this process since it began, or of one that it started; ``ru_maxrss`` would remember the parent's on Linux."""
    status = Path(f"/proc/{process}/status")
    if status.is_file():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.stdout.write(f"{_run(sys.argv[1])}\n")
