"""The page that `featherlight serve` shows."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

import featherlight
from featherlight.model_file import SHIPPED
from featherlight.models.weights import load_model, save_model
from featherlight.serve.page import PAGE_FILES, page_file
from visiting import Visit, serving

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def answering(predictor: featherlight.Predictor) -> type[BaseHTTPRequestHandler]:
    """The smallest server for the page: its files, and answers by a real predictor."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.partition("?")[0].strip("/") or "index.html"
            if name in PAGE_FILES:
                return self.reply(200, page_file(name).read_bytes(), TYPES[Path(name).suffix])
            if name == "v1/model":
                return self.reply_json(200, {"model": predictor.engine.card.model, "classes": predictor.classes})
            return self.reply_json(404, {"title": "Not Found"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            form = message_from_bytes(b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body)
            (part,) = form.get_payload()
            row = predictor.predict(part.get_payload(decode=True))[0].to_row()
            if "error" in row:
                return self.reply_json(400, {"title": "Bad Request", "detail": f"cannot read it: {row['error']}"})
            return self.reply_json(200, {"predictions": [row]})

        def reply_json(self, status: int, value: object) -> None:
            self.reply(status, json.dumps(value).encode(), "application/json")

        def reply(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            for name, value in (("Content-Type", kind), ("Content-Length", len(body)), ("Content-Security-Policy", POLICY)):
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
