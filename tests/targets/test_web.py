from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featherlight
from featherlight.engines.onnx_file import scan_onnx
from featherlight.errors import DownloadError, UsageError
from featherlight.model_file import SHIPPED, read_card
from featherlight.models.weights import save_model
from featherlight.serve.page_files import PAGE_FILES
from featherlight.targets import web_runtime
from featherlight.targets.icons import draw_icon
from featherlight.targets.web import WebTarget
from featherlight.targets.web_runtime import RUNTIME_FILES, VERSION, find_runtime
from featherlight.workflows.export import Export, export
from file_server import FileServer

PRIVATE = "/home/somebody/photos"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where npm would install the package; its files are not run here."""
    folder = tmp_path_factory.mktemp("npm")
    place = folder / "node_modules" / "onnxruntime-web" / "dist"
    place.mkdir(parents=True)
    for name in RUNTIME_FILES.values():
        (place / name).write_bytes(b"/*!\n * ONNX Runtime Web v1.29.3\n */")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, color_folder: Path) -> Path:
    """A small network with fresh weights that knows a private path and when it does not know."""
    network = featherlight.create_model("mobilenet_v1_x0_25", 3, input_size=32)
    card = read_card(SHIPPED["cifar10"])
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    return save_model(
        network, path, ("blue", "green", "红"), card.preprocessing,
        provenance={
            "data": PRIVATE, "recipe": {"data": PRIVATE}, "teacher": {"model": PRIVATE}, "metrics": {"top1": 0.5},
        },
        reject={"score": "energy", "threshold": -3.0, "fitted_on": PRIVATE},
    )  # fmt: skip


@pytest.fixture(scope="module")
def exported(model: Path, runtime: Path, tmp_path_factory: pytest.TempPathFactory, color_folder: Path) -> Export:
    out = tmp_path_factory.mktemp("web") / "site"
    return export(model, "web", out=out, runtime=runtime, title="Which <colour>?", data=color_folder)


def folder_of(exported: Export) -> Path:
    return exported.path.parent


def test_the_folder_holds_the_page_the_model_and_the_runtime(exported: Export) -> None:
    found = {path.name for path in folder_of(exported).iterdir()}
    assert found == set(WebTarget.file_names) == {path.name for path in exported.files}
    assert {"index.html", "model.onnx", "sw.js", "manifest.webmanifest", *RUNTIME_FILES, *PAGE_FILES} <= found
    assert exported.size_bytes == sum(path.stat().st_size for path in exported.files)
    assert exported.verification.passed


def test_nothing_in_the_folder_names_a_place_or_shows_an_image(exported: Export, color_folder: Path) -> None:
    for path in folder_of(exported).iterdir():
        content = path.read_bytes()
        assert PRIVATE.encode() not in content
        assert str(color_folder.parent).encode() not in content
    assert exported.report == folder_of(exported).with_name("site-export.html")
    assert exported.report.is_file()
    provenance = json.loads(scan_onnx(exported.path).metadata["provenance"])
    assert provenance == {"metrics": {"top1": 0.5}}
    assert json.loads(scan_onnx(exported.path).metadata["reject"])["fitted_on"] == "photos"


def test_every_kept_file_has_its_checksum_in_the_service_worker(exported: Export) -> None:
    folder = folder_of(exported)
    found = re.match(r"const FILES = (\{.*?\});", (folder / "sw.js").read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    sums = json.loads(found[1])
    assert sums.keys() == {"./", *WebTarget.file_names} - {"index.html", "sw.js"}
    for name, value in sums.items():
        content = (folder / ("index.html" if name == "./" else name)).read_bytes()
        assert value == "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode()


def test_all_that_the_page_loads_is_in_the_folder(exported: Export) -> None:
    folder = folder_of(exported)
    named = set()
    for path in folder.iterdir():
        if path.suffix in (".html", ".js", ".css"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"https?://(?!www\.w3\.org)", text), path
            named |= set(
                re.findall(r'(?:src|href)="([^"#]+)"|(?:from|Worker\(|register\(|fetch\() ?"(?:\./)?([\w.-]+)"', text)
            )
    for name in {name for pair in named for name in pair if name}:
        assert (folder / name).is_file(), name
    manifest = json.loads((folder / "manifest.webmanifest").read_text(encoding="utf-8"))
    for icon in manifest["icons"]:
        with Image.open(folder / icon["src"]) as image:
            assert f"{image.width}x{image.height}" == icon["sizes"]
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}
    assert manifest["name"] == "Which <colour>?"


def test_the_page_may_connect_to_its_own_server_alone(exported: Export) -> None:
    index = (folder_of(exported) / "index.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', index)
    assert policy is not None
    assert "connect-src 'self';" in policy[1]
    assert "unsafe-inline" not in policy[1]
    assert "<title>Which &lt;colour&gt;?</title>" in index
    assert "<h1>Which &lt;colour&gt;?</h1>" in index
    assert "<!-- head -->" not in index


def test_the_page_knows_the_classes_and_when_to_reject(exported: Export) -> None:
    facts = json.loads((folder_of(exported) / "model.json").read_text(encoding="utf-8"))
    assert facts["classes"] == ["blue", "green", "红"]
    assert facts["reject"] == {"score": "energy", "threshold": -3.0}
    assert facts["engine"] == "onnxruntime-web 1.29.3"


def test_the_folder_is_a_model_for_every_command(exported: Export, model: Path, color_folder: Path) -> None:
    pictures = sorted((color_folder / "test").rglob("*.png"))
    ours = featherlight.Predictor(folder_of(exported)).predict(pictures)
    theirs = featherlight.Predictor(model, device="cpu").predict(pictures)
    assert [(one.label, one.rejected) for one in ours] == [(one.label, one.rejected) for one in theirs]


@pytest.mark.slow
def test_an_int8_folder_replaces_a_float_one(
    exported: Export, model: Path, runtime: Path, tmp_path: Path, color_folder: Path, cli: Callable[..., Any]
) -> None:
    out = tmp_path / "a site"
    shutil.copytree(folder_of(exported), out)
    answer = cli("export", model, "--to", "web", "--int8", "--out", out, "--runtime", runtime, "--data", color_folder)
    assert answer.code == 0, answer.err
    assert f"folder  {out}" in answer.out
    assert f"python -m http.server --directory '{out}'" in answer.out
    assert json.loads(scan_onnx(out / "model.onnx").metadata["notes"])["precision"] == "int8"
    assert {path.name for path in tmp_path.iterdir()} == {"a site", "a site-export.html"}
    assert {path.name for path in out.iterdir()} == set(WebTarget.file_names)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"input": "tensor"}, "leave out --input tensor"),
        ({"kit": "device"}, "leave out --kit"),
        ({"out": "page.onnx"}, "name a folder"),
        ({"runtime": "nowhere"}, "npm installed onnxruntime-web"),
        ({"to": "onnx", "title": "x"}, "--title belongs to --to web"),
    ],
)
def test_what_a_page_cannot_do_is_said_before_anything_is_written(
    model: Path, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    to = options.get("to", "web")
    given = {"to": to, **({"runtime": runtime} if to == "web" else {}), **options}
    with pytest.raises(UsageError, match=words):
        export(model, **given)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_things_is_left_alone(model: Path, runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other things"):
        export(model, "web", out=tmp_path, runtime=runtime)


@pytest.mark.parametrize(
    "inside", ["", "node_modules", "node_modules/onnxruntime-web", "node_modules/onnxruntime-web/dist"]
)
def test_the_runtime_is_found_where_npm_puts_it(runtime: Path, inside: str) -> None:
    found = find_runtime(runtime / inside)
    assert found.version == "1.29.3"
    assert set(found.files) == set(RUNTIME_FILES)


@pytest.mark.parametrize(
    ("line", "words"), [("ONNX Runtime Web v1.19.2", "too old"), ("something else", "not ONNX Runtime Web")]
)
def test_another_runtime_is_refused(tmp_path: Path, line: str, words: str) -> None:
    for name in RUNTIME_FILES.values():
        (tmp_path / name).write_text(f"/*! {line} */")
    with pytest.raises(UsageError, match=words):
        find_runtime(tmp_path)


@pytest.fixture
def published(file_server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FileServer:
    """A server that has the runtime's files; only their checksums are others."""
    contents = {name: f"what {source} holds".encode() for name, source in RUNTIME_FILES.items()}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(web_runtime, "SUMS", sums)
    monkeypatch.setenv("FEATHERLIGHT_MIRROR", file_server.url)
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path / "cache"))
    file_server.files.update({f"/{RUNTIME_FILES[name]}": content for name, content in contents.items()})
    return file_server


def test_the_runtime_is_fetched_once(published: FileServer) -> None:
    first = find_runtime(None)
    assert first.version == VERSION
    assert first.files["onnxruntime.wasm"].read_bytes() == b"what ort-wasm-simd-threaded.wasm holds"
    asked = len(published.ranges)
    assert asked == len(RUNTIME_FILES)
    find_runtime(None)
    assert len(published.ranges) == asked


def test_another_content_is_not_taken_and_npm_is_named(published: FileServer) -> None:
    published.files["/ort-wasm-simd-threaded.wasm"] = b"something else"
    with pytest.raises(DownloadError, match=f"npm install onnxruntime-web@{re.escape(VERSION)}"):
        find_runtime(None)


def test_without_a_network_nothing_is_made(model: Path, tmp_path: Path, cli: Callable[..., Any]) -> None:
    answer = cli("export", model, "--to", "web", "--out", tmp_path / "site")
    assert answer.code == 2
    assert "--runtime node_modules" in answer.err
    assert not list(tmp_path.iterdir())


def test_icons_are_opaque_where_systems_cut_them() -> None:
    plain, maskable = np.asarray(draw_icon(192)), np.asarray(draw_icon(192, maskable=True))
    assert plain[0, 0, 3] == 0
    assert (maskable[..., 3] == 255).all()
    white = np.argwhere(maskable[..., 0] > 200) - 95.5
    assert np.hypot(*white.T).max() < 0.4 * 192  # the safe zone of https://w3c.github.io/manifest/#icon-masks
