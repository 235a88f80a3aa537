"""The page that `featherlight serve` shows."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from PIL import Image
from running_server import Running, picture, run_server, write_colour_model
from visiting import Visit

from featherlight.serve.page_files import PAGE_FILES, page_file

PHONE = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
PASTE = """([base64, type]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  if (type) data.items.add(new File([bytes], "image.png", { type }));
  else data.items.add("only words", "text/plain");
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Names the colour of a picture, unless no colour has more than 70 %."""
    path = write_colour_model(tmp_path_factory.mktemp("page") / "colours.onnx")
    model = onnx.load(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    metadata["reject"] = json.dumps({"score": "probability", "threshold": 0.7})
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    with run_server(path, "--max-body", "200KB") as running:
        yield running


@pytest.fixture
def page(server: Running, visit: Callable[..., Visit]) -> Visit:
    opened = visit(server.url)
    opened.wait_for(".classes")
    return opened


def upload(colour: str, name: str = "") -> dict[str, object]:
    return {"name": name or f"{colour}.png", "mimeType": "image/png", "buffer": picture(colour)}


def is_wider_than_the_screen(visit: Visit) -> bool:
    return bool(visit.page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def test_a_chosen_picture_is_named_with_bars_and_joins_the_tries(page: Visit, server: Running) -> None:
    page.choose(upload("red"))
    answer = page.wait_for("#answer", "Answered in")
    assert re.match(r"red\s+99\.9%", answer)
    bars = page.page.eval_on_selector_all(".bars li", "rows => rows.map((row) => row.innerText)")
    assert [bar.split()[0] for bar in bars] == ["red", "green", "blue"]
    page.choose(upload("blue"), upload("green"))
    page.wait_for("#gallery li:nth-child(3)", "red")
    page.wait_for("#gallery li:nth-child(2)", "blue")
    page.wait_for("#gallery li:nth-child(1)", "green")
    assert all(url.startswith((server.url, "blob:")) for url in page.requests)
    assert not page.complaints


def test_without_a_picture_the_page_says_what_the_model_knows(page: Visit) -> None:
    assert page.wait_for("#about") == "colour_means, 3 classes"
    assert page.wait_for(".classes").split() == ["blue", "green", "red"]


def test_a_picture_can_be_pasted(page: Visit) -> None:
    page.page.evaluate(PASTE, [base64.b64encode(picture("green")).decode(), "image/png"])
    assert page.wait_for("#answer .label", "green") == "green"
    page.wait_for("#gallery", "green")


def test_a_picture_can_be_dropped_anywhere(page: Visit) -> None:
    drop = (
        PASTE.replace("ClipboardEvent", "DragEvent")
        .replace('"paste"', '"drop"')
        .replace("clipboardData", "dataTransfer")
    )
    page.page.evaluate(drop, [base64.b64encode(picture("blue")).decode(), "image/png"])
    page.wait_for("#answer .label", "blue")


def test_pasted_words_are_no_picture(page: Visit) -> None:
    page.page.evaluate(PASTE, ["", ""])
    page.wait_for("[role=alert]", "There is no picture in that")


def test_the_camera_takes_a_picture(page: Visit) -> None:
    page.page.click("#photograph")
    page.page.click("#shoot")
    page.wait_for("#answer", "Answered in")
    assert page.page.locator("#video").is_hidden()
    page.wait_for("#gallery li:nth-child(1)")


def test_escape_closes_the_camera(page: Visit) -> None:
    page.page.click("#photograph")
    page.wait_for("#video")
    page.page.keyboard.press("Escape")
    page.wait_for("#empty")
    page.wait_for(".classes")


def test_what_the_model_does_not_know_is_unknown(page: Visit) -> None:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (128, 128, 128)).save(file, "PNG")
    page.choose({"name": "grey.png", "mimeType": "image/png", "buffer": file.getvalue()})
    page.wait_for("#answer .label", "Unknown")
    assert page.page.locator(".bars.rejected li").count() == 3
    page.wait_for("#gallery", "Unknown")


def test_a_file_that_is_no_picture_says_so_and_can_be_tried_again(page: Visit) -> None:
    page.choose({"name": "notes.png", "mimeType": "image/png", "buffer": b"only words"})
    page.wait_for("[role=alert]", "Not a picture that can be read")
    page.wait_for("[role=alert]", "not an image")
    page.wait_for("#gallery", "No answer")
    page.page.click("text=Try again")
    page.wait_for("[role=alert]", "Not a picture that can be read")


def test_a_picture_beyond_the_servers_limit_is_not_sent(page: Visit) -> None:
    asked = len(page.requests)
    page.choose({"name": "huge.png", "mimeType": "image/png", "buffer": picture("red") + bytes(300_000)})
    page.wait_for("[role=alert]", "The picture is too large")
    assert not [url for url in page.requests[asked:] if "/v1/" in url]


def test_a_busy_server_is_asked_again_when_it_said(page: Visit) -> None:
    refusals = [1]

    def refuse_once(route: object) -> None:
        if refusals and refusals.pop():
            route.fulfill(status=503, headers={"Retry-After": "1"}, body='{"detail": "3 images are waiting"}')
        else:
            route.continue_()

    page.page.route("**/v1/predict*", refuse_once)
    page.choose(upload("red"))
    page.wait_for("#answer", "The server is busy. Trying again in 1 s")
    page.wait_for("#answer .label", "red")


def test_a_server_that_stopped_is_named_and_asked_again(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    model = write_colour_model(tmp_path / "colours.onnx")
    with run_server(model) as running:
        page = visit(running.url)
        page.wait_for(".classes")
        port = running.url.rpartition(":")[2]
    page.choose(upload("red"))
    page.wait_for("[role=alert]", "The server does not answer")
    with run_server(model, "--port", port):
        page.page.click("text=Try again")
        page.wait_for("#answer .label", "red")


def test_a_picture_that_came_before_the_model_was_known_is_looked_at_then(
    server: Running, visit: Callable[..., Visit]
) -> None:
    page = visit("about:blank")
    page.page.route("**/v1/model", lambda route: route.abort())
    page.page.goto(server.url)
    page.wait_for("[role=alert]", "The server does not answer")
    page.page.unroute("**/v1/model")
    page.choose(upload("red"))
    page.wait_for("#answer .label", "red")


def test_a_server_with_keys_asks_for_one(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("sixteen-letters-or-more\n")
    with run_server(write_colour_model(tmp_path / "colours.onnx"), "--api-key-file", keys) as running:
        page = visit(running.url)
        page.wait_for("[role=alert]", "This server asks for a key")
        page.page.fill("[type=password]", "a-wrong-one-of-enough-letters")
        page.page.press("[type=password]", "Enter")
        page.wait_for("[role=alert]", "The server does not accept that key")
        page.page.fill("[type=password]", "sixteen-letters-or-more")
        page.page.press("[type=password]", "Enter")
        page.wait_for(".classes")
        page.choose(upload("red"))
        page.wait_for("#answer .label", "red")


def test_names_of_classes_and_files_are_words_not_html(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    names = ("<img src=x onerror=alert(1)>", "g" * 300, "<b>red</b>")
    with run_server(write_colour_model(tmp_path / "colours.onnx", names)) as running:
        page = visit(running.url, viewport={"width": 360, "height": 740})
        page.wait_for(".classes")
        assert not is_wider_than_the_screen(page)
        for colour, name in zip(("blue", "green", "red"), names, strict=True):
            page.choose(upload(colour, f"<i>{'long' * 40}.png"))
            assert page.wait_for("#answer .label", name) == name
            assert not is_wider_than_the_screen(page)
        assert not page.complaints


def test_a_phone_shows_everything_within_its_width(server: Running, visit: Callable[..., Visit]) -> None:
    page = visit(server.url, **PHONE)
    page.wait_for(".classes")
    page.wait_for("#empty", "Tap to choose a picture")
    page.choose(upload("red"), upload("blue"), upload("green"))
    page.wait_for("#gallery li:nth-child(1)", "green")
    assert not is_wider_than_the_screen(page)
    small = "buttons => buttons.filter((one) => one.offsetParent && one.offsetHeight < 36).length"
    assert page.page.eval_on_selector_all("button", small) == 0


def test_a_chinese_browser_gets_chinese(server: Running, visit: Callable[..., Visit]) -> None:
    page = visit(server.url, locale="zh-CN")
    page.wait_for("h1", "这张图片里是什么")
    page.wait_for("#about", "3 个类别")
    page.choose(upload("red"))
    page.wait_for("#answer", "用时")
    assert page.page.get_attribute("html", "lang") == "zh-CN"
    page.page.goto(f"{server.url}/?lang=en")
    page.wait_for("h1", "What is in this picture?")


def test_the_keyboard_alone_is_enough(page: Visit) -> None:
    page.choose(upload("red"), upload("blue"))
    page.wait_for("#gallery li:nth-child(1)", "blue")
    page.wait_for("#answer .label", "red")
    page.page.keyboard.press("ArrowLeft")
    page.wait_for("#answer .label", "blue")
    page.page.keyboard.press("ArrowRight")
    page.wait_for("#answer .label", "red")
    reached = []
    while "clear" not in reached and len(reached) < 10:
        page.page.keyboard.press("Shift+Tab")
        reached.append(page.page.evaluate("document.activeElement.id"))
        assert page.page.evaluate("document.activeElement.matches(':focus-visible')")
    page.page.keyboard.press("Enter")
    page.wait_for(".classes")
    assert page.page.locator("#tries").is_hidden()


def test_both_languages_say_the_same_things() -> None:
    script = page_file("texts.js").read_text(encoding="utf-8")
    english, chinese = (
        dict(re.findall(r'^    (\w+): "(.*)",$', part, re.MULTILINE)) for part in script.split("  zh: {")
    )
    assert english.keys() == chinese.keys()
    for name, words in english.items():
        assert set(re.findall(r"\{\w+\}", words)) == set(re.findall(r"\{\w+\}", chinese[name]))
    used = {
        name
        for file in PAGE_FILES
        for name in re.findall(r'(?:\btext\(|data-text=)"(\w+)"', page_file(file).read_text("utf-8"))
    }
    assert used <= english.keys()


def test_the_page_holds_no_inline_script_or_style() -> None:
    index = page_file("index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", index)
