"""The page at ``/`` and the description at ``/docs``: files of the package, read once; nothing comes from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import Response
from jinja2 import Environment, FileSystemLoader

HERE = Path(__file__).parent
INDEX = "index.html"
POLICY = (  # what a browser may load for our pages
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


def read_pages() -> dict[str, Response]:
    """The files of the page by their names, as responses; requests choose among these and open none."""
    return {
        file.name: Response(file.read_bytes(), headers={"cache-control": "no-cache"}, media_type=_TYPES[file.suffix])
        for file in (*sorted((HERE / "static").glob("*")), HERE / "templates" / "docs.css")
        if file.suffix in _TYPES
    }


def render_description(openapi: Mapping[str, Any]) -> Response:
    """An OpenAPI description as a page without scripts."""
    loader = FileSystemLoader(HERE / "templates")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = environment.get_template("docs.html").render(api=openapi)
    return Response(text, media_type="text/html; charset=utf-8")
