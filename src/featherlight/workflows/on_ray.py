"""Parts of many images, answered by all machines of a Ray cluster.

Each part is a task of Ray Data: it runs on any machine, and anew on another one when its machine is lost. Answers alone
come back, to the process that asked and writes them. So machines need the images, but no disk in common to write to.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from featherlight.errors import FeatherlightError, ModelFileError, UsageError, explain_missing
from featherlight.model_file import model_files
from featherlight.predictor import Predictor
from featherlight.sources.many import Part
from featherlight.workflows.answer_part import Job, answer_part

FOUND, LOCAL = "auto", "local"  # addresses: a cluster that Ray finds, else this machine; this machine in any case
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class _Task:
    """Answers a part in a process of Ray's. The model comes along, so machines need not have it.

    Attributes:
        job: what is asked; ``model`` is the name of its file.
        files: refers to what :func:`model_files` gave, in Ray's store.
        version: of Featherlight where the job was started.
    """

    job: Job
    files: Any
    version: str

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"number": row["number"], "answers": self._answer(row["part"]), "problem": ""}
        except FeatherlightError as error:  # as a text: Ray would wrap it into what it knows of it
            return {"number": row["number"], "answers": b"", "problem": str(error)}

    def _answer(self, packed: bytes) -> bytes:
        import pyarrow as pa

        _check_version(self.version)
        part: Part = pickle.loads(packed)  # noqa: S301 - of our own making, and Ray runs what it is given anyway
        table = answer_part(_open_model(self.job, self.files), part, self.job.top, self.job.threads)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        content: bytes = sink.getvalue().to_pybytes()
        return content


def answer_on_ray(job: Job, parts: Mapping[int, Part], address: str) -> Iterator[tuple[int, Any]]:
    """Answers parts on a cluster, each as it is done, in any order; one may come twice when machines are lost.

    Args:
        job: what is asked. A task takes as many processors as the job has threads (one, if it does not say), and a GPU
            if its device is ``cuda``.
        parts: by their numbers.
        address: of the cluster, ``HOST:PORT``; ``auto``: one that Ray finds, else this machine; ``local``: this one.

    Raises:
        UsageError: nothing answers at that address.
        MissingExtraError: Ray is not installed.
        FeatherlightError: what a worker raised, or the cluster gave up.
    """
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise explain_missing(error, "predicting on Ray") from error
    threads = job.threads or 1
    model = Path(job.model)
    with _connected(address), _explained():
        task = _Task(
            replace(job, model=model.name, threads=threads), ray.put(model_files(model)), version("featherlight")
        )
        rows = [{"number": number, "part": pickle.dumps(part)} for number, part in parts.items()]
        answers = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            task,
            num_cpus=threads,
            num_gpus=1 if job.device.startswith("cuda") else None,
        )
        for batch in answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in batch.to_pylist():
                if row["problem"]:
                    raise FeatherlightError(row["problem"])
                yield row["number"], _table(row["answers"])


def _table(content: bytes) -> Any:
    import pyarrow as pa

    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


@lru_cache(maxsize=1)
def _open_model(job: Job, files: Any) -> Predictor:
    """The model in this process; Ray uses a process for many tasks."""
    import ray

    with tempfile.TemporaryDirectory(prefix="featherlight-model-") as folder:
        for name, content in ray.get(files):
            (Path(folder) / name).write_bytes(content)
        try:
            return replace(job, model=str(Path(folder) / job.model)).open()
        except ModelFileError as error:  # where it lies here is nothing to anyone
            raise ModelFileError(str(error).replace(f"{folder}{os.sep}", "")) from error


def _check_version(asked: str) -> None:
    here = version("featherlight")
    if here != asked:
        raise UsageError(f"Featherlight {here} is installed on a machine of the cluster, {asked} where it was asked")


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Joins a cluster, and leaves it; one that was started for this ends."""
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers
    _quiet()
    _check_reachable(os.environ.get("RAY_ADDRESS", address) if address == FOUND else address)
    try:
        ray.init(None if address == FOUND else address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"Ray cannot be used at {address}: {_shown(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself would go on trying for many minutes."""
    if address in (FOUND, LOCAL):
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise UsageError(f"{address!r} is no Ray cluster: write HOST:PORT, as `ray start --head` tells it, or {LOCAL}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"no Ray cluster answers at {address} ({_shown(error)})") from error


def _quiet() -> None:
    """Progress is shown by us; Ray Data would show its own, and tell how it plans."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


@contextmanager
def _explained() -> Iterator[None]:
    """Ray's errors are as long as a page; the first cause says what happened."""
    import ray.exceptions

    try:
        yield
    except ray.exceptions.RayError as error:
        cause: BaseException = error
        while isinstance(below := getattr(cause, "cause", None) or cause.__cause__, BaseException):
            cause = below
        raise FeatherlightError(
            f"Ray gave up ({type(cause).__name__}: {_shown(cause)}). What is answered is kept; ask the same to go on"
        ) from error


def _shown(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
