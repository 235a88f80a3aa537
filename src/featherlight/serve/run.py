"""Listens, in one process or several, until it is told to stop."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from featherlight.console import note, printable
from featherlight.errors import FeatherlightError, UsageError
from featherlight.phrases import counted
from featherlight.serve.app import create_app
from featherlight.serve.loaded import Loaded, load
from featherlight.serve.metrics import MULTIPROCESS_FOLDER
from featherlight.serve.protocol import BoundedProtocol
from featherlight.serve.settings import Settings

SILENCE_S = 15  # that a connection may be open without a request
STOP_S = 5  # beyond what a request may take
HEALTH_S = 60  # that a busy worker may take to say that it lives
_LOGGER = {"handlers": ["stderr"], "propagate": False}
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        "featherlight.serve": {**_LOGGER, "level": "INFO"},
        "uvicorn.error": {**_LOGGER, "level": "WARNING"},
    },
}


def serve(settings: Settings) -> None:
    """Serves a model until SIGTERM or Ctrl-C, then finishes what was accepted.

    Raises:
        FeatherlightError: there is no usable model, or the address is taken.
    """
    if settings.is_public and not settings.api_keys:
        note(f"warning: {settings.host} can be reached from elsewhere, and no key is asked for; see --api-key-file")
    loaded = load(settings)
    listener = listen(settings.host, settings.port)
    _announce(settings, loaded, listener)
    if settings.workers == 1:
        _serve_here(_configure(settings, loaded), listener)
    else:
        del loaded  # each worker loads its own
        _serve_in_workers(_configure(settings), listener)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address.

    Raises:
        UsageError: it is taken, not allowed, or none of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise UsageError(f"cannot listen at {host}:{port}: {error.strerror or error}; see --host and --port") from error


def _announce(settings: Settings, loaded: Loaded, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    engine = loaded.engine
    how = f"{engine.name}, {counted(settings.workers, 'process')} with {counted(settings.cores, 'thread')}"
    note(f"serving {printable(engine.card.model)} ({how}) at http://{host}:{port}; its description: /docs")


def _make_app(settings: Settings, loaded: Loaded | None) -> ASGIApp:
    """In the process that serves; a worker stops with the process that started it, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_stop_after, args=(parent,), name="parent", daemon=True).start()
    return create_app(settings, loaded)


def _stop_after(process: BaseProcess) -> None:
    process.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _configure(settings: Settings, loaded: Loaded | None = None) -> uvicorn.Config:
    return uvicorn.Config(
        partial(_make_app, settings, loaded),
        factory=True,
        loop="asyncio",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=LOGGING,
        access_log=False,
        server_header=False,
        workers=settings.workers,
        timeout_keep_alive=min(SILENCE_S, math.ceil(settings.request_timeout_s)),
        timeout_graceful_shutdown=math.ceil(settings.request_timeout_s) + STOP_S,
        timeout_worker_healthcheck=HEALTH_S,
    )


def _serve_here(config: uvicorn.Config, listener: socket.socket) -> None:
    server = uvicorn.Server(config)
    # uvicorn raises the signal that stopped it once more, for whoever handled it before: that is us, and we are done.
    before = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run([listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Workers(Multiprocess):
    """Processes that share the listening socket; those that die are replaced."""

    def keep_subprocess_alive(self) -> None:
        """Also lets the numbers of the dead go."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _serve_in_workers(config: uvicorn.Config, listener: socket.socket) -> None:
    with tempfile.TemporaryDirectory(prefix="featherlight-metrics-") as folder:
        os.environ[MULTIPROCESS_FOLDER] = folder
        workers = _Workers(config, [listener])
        workers.run()
    if any(process.exitcode == STARTUP_FAILURE for process in workers.processes):
        raise FeatherlightError("a worker could not start; its lines above say why")
