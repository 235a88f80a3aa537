"""Around every request: its line in the log, its numbers, headers that keep browsers safe, and no surprises."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from featherlight.console import printable
from featherlight.serve.answering import CLIENT_GONE, Note
from featherlight.serve.metrics import Metrics

SEND_S = 30.0  # for the other end to read a piece of the answer
MAX_PATH = 200  # characters that the log shows
_QUIET = ("/healthz", "/readyz", "/metrics")  # asked every few seconds by machines
_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY"}
log = logging.getLogger("featherlight.serve")


class Guard:
    """ASGI application around another.

    Args:
        app: what answers.
        metrics: where requests are counted.
        headers: that every response has unless it says otherwise.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, headers: Mapping[str, str]) -> None:
        self._app = app
        self._metrics = metrics
        self._headers = [(name.encode(), value.encode()) for name, value in {**_HEADERS, **headers}.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        scope["state"]["note"] = Note()

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                milliseconds = 1000 * (time.perf_counter() - began)
                timing = (b"server-timing", b"total;dur=%.1f" % milliseconds)
                message["headers"] = [*message["headers"], timing, *(h for h in self._headers if h[0] not in given)]
            with anyio.fail_after(SEND_S):
                await send(message)

        try:
            await self._app(scope, receive, send_on)
        except TimeoutError:
            log.warning("cut off a client that does not read its answer")
        except Exception:  # it is answered with 500 by now
            log.exception("failed to answer")
        finally:
            self._note(scope, status or CLIENT_GONE, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path, note = scope["path"], scope["state"]["note"]
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        client = (scope.get("client") or ("-",))[0]
        what = f" images={note.images} bytes={note.size}" if note.images or note.size else ""
        log.log(
            logging.DEBUG if path in _QUIET and status < 400 else logging.INFO,
            "%s %s %s %d%s ms=%.1f",
            client, scope["method"], printable(path[:MAX_PATH]), status, what, 1000 * seconds,
        )  # fmt: skip
