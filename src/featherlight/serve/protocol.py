"""Connections that end by themselves: half-sent headers, silence and unread answers are bounded in seconds."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

FLUSH_S = 5.0  # for the last bytes of an answer, once a connection is to end


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 by h11, which bounds headers at 16 KiB; here every state of a connection has its time, too.

    Without a request: the keep-alive timeout, however much of one has arrived. With one: as long as a graceful stop
    would wait for it.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._set_timer()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._set_timer()

    def on_response_complete(self) -> None:
        """A request is answered; the next may have begun already."""
        super().on_response_complete()
        self._set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        is_busy = self.cycle is not None and not self.cycle.response_complete
        seconds = self.config.timeout_graceful_shutdown if is_busy else self.config.timeout_keep_alive
        self._timer = self.loop.call_later(seconds or 0, self._end)

    def _end(self) -> None:
        self.transport.close()
        self._timer = self.loop.call_later(FLUSH_S, self.transport.abort)
