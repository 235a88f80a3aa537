"""The web target: a folder that any web server can hand out, whose page runs the model in the browser.

The page is the one that ``featherlight serve`` shows; only what answers it is another: ONNX Runtime's WebAssembly build
in the browser, in place of the server.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from featherlight.engines.exported import IMAGE, ExportedCard
from featherlight.serve.page_files import PAGE_FILES, page_file
from featherlight.targets.icons import draw_icon
from featherlight.targets.onnx import FILE_NAME, OnnxTarget
from featherlight.targets.web_runtime import RUNTIME_FILES, find_runtime

_OWN = Path(__file__).with_name("web_page")
_OWN_FILES = ("backend.js", "offline.js", "worker.js")
MODEL, MANIFEST, WORKER, INDEX = "model.json", "manifest.webmanifest", "sw.js", "index.html"
_ICONS = {"icon-192.png": 192, "icon-512.png": 512}
_MASKABLE = "icon-maskable.png"
_COLOUR = "#f6f6f3"
# Scripts and connections come from and go to this folder's server alone: the browser itself holds the page to it.
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'"
)
_HEAD = f"""<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="manifest" href="{MANIFEST}">
<link rel="apple-touch-icon" href="icon-192.png">"""
BRAND = "Featherlight"
_MARK = "<!-- head -->"  # in the page, for the lines above
_TITLE = f"<title>{BRAND}</title>"
_HEADING = '<h1 data-text="title">What is in this picture?</h1>'
_PRIVATE = ("data", "recipe", "teacher")  # of the provenance: they hold paths


class WebTarget(OnnxTarget):
    """Writes ``model.onnx`` and, around it, all that a browser needs; see :class:`featherlight.targets.base.Target`.

    Args:
        runtime: folder with ``onnxruntime-web`` as npm installs it; None fetches it once and keeps it.
        title: what the page calls itself.

    Raises:
        UsageError: ``runtime`` does not hold it.
        DownloadError: it is to be fetched and cannot be.
    """

    name = "web"
    is_public = True
    inputs = (IMAGE,)
    file_names = (
        FILE_NAME, INDEX, *(name for name in PAGE_FILES if name not in (INDEX, *_OWN_FILES)), *_OWN_FILES, WORKER,
        MODEL, MANIFEST, *_ICONS, _MASKABLE, *RUNTIME_FILES,
    )  # fmt: skip

    def __init__(self, runtime: str | Path | None = None, title: str | None = None) -> None:
        self._runtime = find_runtime(runtime)
        self._title = title

    def describe(self, folder: Path, exported: ExportedCard) -> None:
        """Puts metadata into the model, and everything else beside it. The folder is to be published: no paths."""
        exported = _without_paths(exported)
        super().describe(folder, exported)
        self._write_page(folder)
        _write_json(folder / MODEL, self._facts(exported))
        _write_json(folder / MANIFEST, _manifest(self._title or BRAND))
        for name, size in _ICONS.items():
            draw_icon(size).save(folder / name)
        draw_icon(512, maskable=True).save(folder / _MASKABLE)
        (folder / WORKER).write_text(_offline_script(folder, self.file_names), encoding="utf-8")

    def _write_page(self, folder: Path) -> None:
        for name in self.file_names:
            source = _OWN / name if name in _OWN_FILES else page_file(name)
            if source.is_file():
                (folder / name).write_bytes(source.read_bytes())
        for name, source in self._runtime.files.items():
            (folder / name).write_bytes(source.read_bytes())
        page = (folder / INDEX).read_text(encoding="utf-8").replace(_MARK, _HEAD)
        if self._title:
            title = html.escape(self._title)
            page = page.replace(_TITLE, f"<title>{title}</title>").replace(_HEADING, f"<h1>{title}</h1>")
        (folder / INDEX).write_text(page, encoding="utf-8")

    def _facts(self, exported: ExportedCard) -> Mapping[str, Any]:
        """What the page knows of the model."""
        card = exported.card
        return {
            "model": card.model,
            "classes": list(card.classes),
            "preprocessing": card.preprocessing.to_dict(),
            "engine": f"onnxruntime-web {self._runtime.version}",
            "reject": None if card.reject is None else {name: card.reject[name] for name in ("score", "threshold")},
            "verification": dict(exported.verification),
        }


def _without_paths(exported: ExportedCard) -> ExportedCard:
    card = exported.card
    provenance = {name: value for name, value in card.provenance.items() if name not in _PRIVATE}
    reject = None if card.reject is None else _named(card.reject, "fitted_on")
    verification = _named(exported.verification, "data")
    return replace(exported, card=replace(card, provenance=provenance, reject=reject), verification=verification)


def _named(values: Mapping[str, Any], field: str) -> dict[str, Any]:
    """A field that may be a path becomes its last part."""
    return {name: PurePath(str(value)).name if name == field else value for name, value in values.items()}


def _manifest(title: str) -> Mapping[str, Any]:
    """What a phone needs to install the page. Source: https://www.w3.org/TR/appmanifest/."""
    icons = [_icon(name, size, "any") for name, size in _ICONS.items()]
    return {
        "name": title,
        "short_name": title[:12].strip(),
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": _COLOUR,
        "theme_color": _COLOUR,
        "icons": [*icons, _icon(_MASKABLE, 512, "maskable")],
    }


def _icon(name: str, size: int, purpose: str) -> Mapping[str, str]:
    return {"src": name, "sizes": f"{size}x{size}", "type": "image/png", "purpose": purpose}


def _offline_script(folder: Path, names: tuple[str, ...]) -> str:
    """The service worker, with the checksum of every file that it keeps."""
    sums = {"./" if name == INDEX else name: _integrity(folder / name) for name in names if name != WORKER}
    return f"const FILES = {json.dumps(sums, indent=2)};\n\n{(_OWN / WORKER).read_text(encoding='utf-8')}"


def _integrity(file: Path) -> str:
    """Source: https://www.w3.org/TR/SRI/."""
    return "sha256-" + base64.b64encode(hashlib.sha256(file.read_bytes()).digest()).decode("ascii")


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
