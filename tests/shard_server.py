"""A real HTTP server on this machine that gives the files of a folder and keeps account of what it gave."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class ShardServer:
    """What it does, and what was asked of it. Whatever is asked for in ``moved/`` is found one folder higher."""

    url: str
    folder: Path
    answers_head: bool = True
    says_version: bool = True
    refuses: set[str] = field(default_factory=set)  # names that get a 503
    heads: Counter[str] = field(default_factory=Counter)
    fetches: Counter[str] = field(default_factory=Counter)
    bytes_sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def shards_fetched(self) -> Counter[str]:
        return Counter({name: count for name, count in self.fetches.items() if name.endswith(".tar")})

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = unquote(urlsplit(request.path).path).lstrip("/")
        is_head = request.command == "HEAD"
        with self.lock:
            (self.heads if is_head else self.fetches)[name] += 1
        if is_head and not self.answers_head:
            return request.send_error(501)
        if name.startswith("moved/"):
            request.send_response(302)
            request.send_header("Location", f"/{name.removeprefix('moved/')}")
            request.send_header("Content-Length", "0")
            return request.end_headers()
        if name in self.refuses:
            return request.send_error(503)
        file = self.folder / name
        if not file.is_file():
            return request.send_error(404)
        content = file.read_bytes()
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        if self.says_version:
            request.send_header("ETag", f'"{file.stat().st_mtime_ns}"')
        request.end_headers()
        if not is_head:
            request.wfile.write(content)
            with self.lock:
                self.bytes_sent += len(content)
        return None


@contextmanager
def serve_shards(folder: Path) -> Iterator[ShardServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shards.answer(self)

        def do_HEAD(self) -> None:
            shards.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shards = ShardServer(f"http://127.0.0.1:{server.server_port}", folder)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    try:
        yield shards
    finally:
        server.shutdown()
        server.server_close()
