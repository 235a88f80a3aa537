"""A server that answers as the Hugging Face hub does, as far as loading a data set asks it, for one repository."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40


@dataclass
class Hub:
    """The repository's folder, and what was asked."""

    url: str
    folder: Path
    fetched: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.tokens.add(request.headers["Authorization"])
        path = unquote(urlsplit(request.path).path)
        if "/resolve/" in path:
            return self._file(request, path.partition("/resolve/")[2].partition("/")[2])
        if "/tree/" in path:
            folder = self.folder / path.partition("/tree/")[2].partition("/")[2]
            found = [self._entry(entry) for entry in sorted(folder.iterdir())] if folder.is_dir() else None
            return _send(request, found)
        about = {"id": "owner/name", "sha": COMMIT, "private": False, "gated": False, "disabled": False, "tags": []}
        names = [str(file.relative_to(self.folder)) for file in sorted(self.folder.rglob("*")) if file.is_file()]
        return _send(
            request, {**about, "downloads": 0, "likes": 0, "siblings": [{"rfilename": name} for name in names]}
        )

    def _entry(self, file: Path) -> dict[str, Any]:
        kind = {"type": "directory", "size": 0} if file.is_dir() else {"type": "file", "size": file.stat().st_size}
        return {**kind, "oid": "b" * 40, "path": str(file.relative_to(self.folder))}

    def _file(self, request: BaseHTTPRequestHandler, name: str) -> None:
        file = self.folder / name
        content = file.read_bytes() if file.is_file() else b""
        request.send_response(200 if file.is_file() else 404)
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        request.send_header("Content-Length", str(len(content)))
        if not file.is_file():
            request.send_header("X-Error-Code", "EntryNotFound")
        request.end_headers()
        if request.command == "GET":
            self.fetched.append(name)
            request.wfile.write(content)


def _send(request: BaseHTTPRequestHandler, content: Any) -> None:
    body = json.dumps(content if content is not None else {"error": "not found"}).encode()
    request.send_response(200 if content is not None else 404)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


@contextmanager
def serve_hub(folder: Path) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.answer(self)

        def do_HEAD(self) -> None:
            hub.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}", folder)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
