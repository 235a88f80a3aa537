"""A browser's page and the servers that it visits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TIMEOUT_MS = 60_000  # of what a page waits for; other tests may have the processor


class Visit:
    """A page in a browser profile of its own, with all that it asked for and complained about."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.page = context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def choose(self, *files: Path | dict[str, Any]) -> None:
        """As if a person picked these in the file dialog."""
        self.page.set_input_files("#files", list(files))

    def until(self, expression: str) -> None:
        """Waits until this is true in the page; Playwright's own waiting is stopped by the page's policy."""
        end = time.monotonic() + TIMEOUT_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.02)

    def wait_for(self, selector: str, text: str = "") -> str:
        """Waits until an element of this selector is seen and holds the text; gives all that it holds."""
        found = self.page.locator(selector).filter(has_text=text).first
        found.wait_for(state="visible")
        return str(found.inner_text())


@contextmanager
def serving(handler: Any) -> Iterator[str]:
    """An HTTP server on this machine; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class QuietFiles(SimpleHTTPRequestHandler):
    """Files of a folder, as any web server hands them out."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving_folder(folder: Path) -> Iterator[str]:
    with serving(partial(QuietFiles, directory=str(folder))) as url:
        yield url
