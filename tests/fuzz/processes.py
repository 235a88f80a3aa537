"""Featherlight in a process of its own, so that a crash, a hang or a flood of memory is seen and not suffered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
HANG_S = 300  # far beyond what anything here takes, also on a busy machine

_COMMAND = "from featherlight.cli.main import run; code = run(sys.argv[1:])"
_FRAME = """
import pathlib, sys
code = 0
{body}
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
pathlib.Path({peak!r}).write_text(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
sys.exit(code)
"""


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        code: exit code; negative: killed by that signal.
        out: standard output.
        err: standard error.
        peak_mib: most memory it had; 0 if it died before it could tell.
    """

    code: int
    out: str
    err: str
    peak_mib: int


def run_command(*arguments: object, first: str = "") -> Outcome:
    """Runs a command of the command line, after a statement of Python.

    Raises:
        subprocess.TimeoutExpired: it hangs.
    """
    return run_python(f"{first}\n{_COMMAND}", *arguments)


def run_python(body: str, *arguments: object) -> Outcome:
    """Runs Python statements that may set ``code``; modules beside this one can be imported."""
    with tempfile.TemporaryDirectory() as folder:
        peak = Path(folder) / "peak"
        paths = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        frame = _FRAME.format(body=body, peak=str(peak))
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", frame, *map(str, arguments)],
            capture_output=True, timeout=HANG_S, check=False, env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
        out, err = (stream.decode("utf-8", "surrogateescape") for stream in (done.stdout, done.stderr))
        return Outcome(done.returncode, out, err, int(peak.read_text()) // 1024 if peak.exists() else 0)


def skipped_in(err: str) -> dict[str, str]:
    """Path -> reason of the images that training and evaluation say they skipped."""
    return dict(re.findall(r"^skipped (.+?): (.+)$", err, re.MULTILINE))
