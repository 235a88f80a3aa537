"""A real HTTP server on this machine that can misbehave as servers do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class FileServer:
    """Files by path; ``answers`` take precedence, one a request, in their order."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)  # of each request
    knows_ranges: bool = True
    done: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.ranges.append(request.headers["Range"])
        if self.answers:
            return self.answers.pop(0)(request)
        content = self.files.get(request.path)
        if content is None:
            return request.send_error(404)
        start = int(request.headers["Range"][6:-1]) if request.headers["Range"] and self.knows_ranges else 0
        if start >= len(content) > 0:
            return request.send_error(416)
        return send(request, content[start:], 206 if start else 200, f"bytes {start}-{len(content) - 1}/{len(content)}")


def send(request: BaseHTTPRequestHandler, body: bytes, status: int = 200, content_range: str = "") -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body)))
    if status == 206:
        request.send_header("Content-Range", content_range)
    request.end_headers()
    request.wfile.write(body)


def break_off(body: bytes, announced: int) -> Answer:
    """Sends less than announced, then hangs up."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(announced))
        request.end_headers()
        request.wfile.write(body)

    return answer


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Answers nothing."""


def redirect(location: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", location)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def serve_files() -> tuple[FileServer, ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    files = FileServer(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    return files, server
