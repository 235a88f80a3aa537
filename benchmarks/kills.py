"""Kills training at random moments, fills its disk and takes its folder away; nothing may be lost but the last step.

    python benchmarks/kills.py --kills 200

A parent that has imported everything forks the command, so that a kill costs a second and not ten. Each run is killed,
taken up and killed again until it ends; then its weights must be, bit for bit, those of a run that was left alone.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a process with threads cannot be forked

import numpy as np

from featherlight.cli.main import run as run_command
from featherlight.model_file import read_tensors
from featherlight.training import trainer, validation  # noqa: F401  (imported once, here)
from featherlight.training.checkpoint import CHECKPOINT_FILE, read_progress
from featherlight.workflows import train  # noqa: F401

TRAIN = (
    "train", "digits", "--model", "mobilenet_v1_x0_25", "--epochs", "3", "--device", "cpu", "--set", "input_size=16",
    "--set", "batch_size=128", "--set", "learning_rate=0.01",
)  # fmt: skip
EVERY_S = (0.0, 0.05, 60.0)  # seconds between checkpoints
NOBODY = 65534
Before = Callable[[], None]


@dataclass
class Tally:
    """What happened."""

    kills: int = 0
    runs: int = 0
    lost_steps: list[int] = field(default_factory=list)
    lost_when_each_is_saved: list[int] = field(default_factory=list)
    full_disk: int = 0
    read_only: int = 0
    skipped: list[str] = field(default_factory=list)


class Trial:
    """One run directory, and how far its processes came."""

    def __init__(self, run: Path, tally: Tally) -> None:
        self.run, self.tally = run, tally
        self._steps = multiprocessing.RawValue(ctypes.c_long, 0)
        self._saved = -1

    def start(self, every_s: float, before: Before = lambda: None) -> int:
        """Forks the command that begins the run or takes it up; gives the process."""
        begun = (self.run / "recipe.toml").exists()
        new = (*TRAIN, "--set", f"checkpoint_every_s={every_s}", "--out", str(self.run))
        arguments = ["train", "--resume", str(self.run)] if begun else list(new)
        if not begun and self.run.exists():
            shutil.rmtree(self.run)
        child = os.fork()
        if child == 0:
            self._become(arguments, before)
        return child

    def _become(self, arguments: list[str], before: Before) -> None:
        output = os.open(f"{self.run}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        update = trainer.Trainer._update

        def counted(self_: trainer.Trainer) -> None:
            update(self_)
            self._steps.value = self_.progress.step

        setattr(trainer.Trainer, "_update", counted)  # noqa: B010  (a method in place of another)
        before()
        os._exit(run_command(arguments))

    def wait(self, child: int) -> int:
        """The exit code; minus the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def check_checkpoint(self, most_lost: int | None) -> None:
        """A checkpoint can be read and never goes back; what is lost is what came after it."""
        progress = read_progress(self.run)  # raises when it is damaged
        assert progress.step >= self._saved, (progress.step, self._saved)
        self._saved = progress.step
        lost = self._steps.value - progress.step
        (self.tally.lost_steps if most_lost is None else self.tally.lost_when_each_is_saved).append(max(0, lost))
        assert most_lost is None or lost <= most_lost, lost
        self._steps.value = progress.step

    def finish(self) -> None:
        """Takes the run up for the last time."""
        code = self.wait(self.start(EVERY_S[-1]))
        assert code == 0, (code, self.log())
        self.tally.runs += 1

    def log(self) -> str:
        """What the last process said."""
        return Path(f"{self.run}.log").read_text()

    def has_model(self) -> bool:
        """Whether the run has come to its end."""
        return (self.run / "model.safetensors").exists()


def same_weights(a: Path, b: Path) -> bool:
    """Bit for bit."""
    first, second = (read_tensors(run / "model.safetensors") for run in (a, b))
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def kill_until_done(trial: Trial, rng: random.Random, whole_s: float, kills: int, every_s: float) -> None:
    """Kills processes of one run until it ends by itself or ``kills`` are used up."""
    while kills > 0 and not trial.has_model():
        child = trial.start(every_s)
        time.sleep(rng.uniform(0, whole_s))
        if os.waitpid(child, os.WNOHANG) != (0, 0):  # it was faster
            break
        os.kill(child, signal.SIGKILL)
        trial.wait(child)
        kills -= 1
        trial.tally.kills += 1
        trial.check_checkpoint(1 if every_s == 0 else None)


def limit_file_size(size: int) -> None:
    """A file that grows beyond fails halfway, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def fail_by_limit(trial: Trial, rng: random.Random, size: int, whole_s: float) -> None:
    """Half of the run under a limit of file size that its checkpoint does not fit, from the start or after a kill."""
    if rng.random() < 0.5:
        kill_until_done(trial, rng, whole_s, 1, 0.0)
    if trial.has_model():
        return
    code = trial.wait(trial.start(0.0, lambda: limit_file_size(rng.randrange(1000, size))))
    check_failure(trial, code)
    trial.tally.full_disk += 1


def check_failure(trial: Trial, code: int) -> None:
    """Exit code 2, one clear line, and the checkpoint before is whole."""
    errors = [line for line in trial.log().splitlines() if line.startswith("error:")]
    assert code == 2, (code, trial.log())
    assert len(errors) == 1, trial.log()
    assert "cannot write" in errors[0] or "cannot make" in errors[0], errors
    assert "Traceback" not in trial.log(), trial.log()
    trial.check_checkpoint(None)


def mount(folder: Path, size: int) -> str | None:
    """A small file system of its own; otherwise why not."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip()


def fail_on_small_disk(trial: Trial, rng: random.Random, size: int) -> None:
    """A disk with room for less than is needed; then with room enough."""
    filler = trial.run.parent / "filler"
    room = os.statvfs(trial.run.parent)
    filler.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - rng.randrange(0, 2 * size))))
    code = trial.wait(trial.start(0.0))
    filler.unlink()
    check_failure(trial, code)
    trial.tally.full_disk += 1


def become_nobody() -> None:
    """The administrator may write everywhere; nobody may not."""
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def fail_read_only(trial: Trial, rng: random.Random, whole_s: float) -> None:
    """The run's folders become read-only at a random moment."""
    if os.geteuid() == 0:
        os.chown(trial.run.parent, NOBODY, NOBODY)
    child = trial.start(0.0, become_nobody)
    time.sleep(rng.uniform(0.1, 0.9) * whole_s)
    folders = [folder for folder in (trial.run, trial.run / "last") if folder.exists()]
    for folder in folders:
        folder.chmod(0o555)
    code = trial.wait(child)
    for folder in folders:
        folder.chmod(0o755)
    if code != 0:
        check_failure(trial, code)
        trial.tally.read_only += 1


def main() -> None:
    """Runs all trials and prints what happened as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--failures", type=int, default=20, help="of each kind: a small disk, a limit of file size")
    parser.add_argument("--read-only", type=int, default=20, help="folders that become read-only")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, tally = random.Random(options.seed), Tally()
    with tempfile.TemporaryDirectory(prefix="featherlight-kills-") as name:
        work = Path(name)
        work.chmod(0o755)
        os.environ["FEATHERLIGHT_CACHE"] = str(work / "cache")
        run_command([*TRAIN, "--out", str(work / "whole")])  # here, so that everything is imported before the forks
        for path in (work / "cache").rglob("*"):
            path.chmod(0o777)
        whole = Trial(work / "again", tally)
        started = time.monotonic()
        whole.finish()
        whole_s = time.monotonic() - started
        assert same_weights(work / "whole", work / "again")
        size = (work / "whole" / CHECKPOINT_FILE).stat().st_size
        run_trials(options.kills, options.failures, options.read_only, rng, tally, work, whole_s, size)
    found = {
        "kills": tally.kills, "runs_ended_in_the_same_bits": tally.runs - 1,
        "most_steps_lost_when_each_is_saved": max(tally.lost_when_each_is_saved, default=0),
        "most_steps_lost_otherwise": max(tally.lost_steps, default=0),
        "full_disk": tally.full_disk, "read_only": tally.read_only, "skipped": tally.skipped,
        "seconds_of_an_undisturbed_run": round(whole_s, 2), "checkpoint_bytes": size,
    }  # fmt: skip
    print(json.dumps(found, indent=2))


def run_trials(
    kills: int, failures: int, read_only: int, rng: random.Random, tally: Tally, work: Path, whole_s: float, size: int
) -> None:
    """Kills, then failures of each kind; each run ends in the weights of the undisturbed one."""
    reference, number = work / "whole", 0

    def end(trial: Trial) -> None:
        trial.finish()
        assert same_weights(reference, trial.run), trial.run
        shutil.rmtree(trial.run)

    while tally.kills < kills:
        number += 1
        trial = Trial(work / f"killed-{number}", tally)
        kill_until_done(trial, rng, whole_s, min(10, kills - tally.kills), EVERY_S[number % len(EVERY_S)])
        end(trial)
        print(f"{tally.kills} kills, {tally.runs} runs", file=sys.stderr, flush=True)
    for number in range(failures):
        trial = Trial(work / f"limited-{number}", tally)
        fail_by_limit(trial, rng, size, whole_s)
        end(trial)
    for number in range(read_only):
        (work / f"open-{number}").mkdir()
        trial = Trial(work / f"open-{number}" / "run", tally)
        fail_read_only(trial, rng, whole_s)
        end(trial)
    if failures:
        fill_disks(failures, rng, tally, work / "disk", size, end)


def fill_disks(
    failures: int, rng: random.Random, tally: Tally, disk: Path, size: int, end: Callable[[Trial], None]
) -> None:
    """Runs on a small disk of their own; needs to be the administrator."""
    if reason := mount(disk, 8 * size + 2**22):
        tally.skipped.append(f"small disk: {reason}")
        return
    try:
        for number in range(failures):
            trial = Trial(disk / f"full-{number}", tally)
            fail_on_small_disk(trial, rng, size)
            end(trial)
    finally:
        subprocess.run(["umount", str(disk)], check=False)


if __name__ == "__main__":
    main()
