"""The folder that `featherlight export --to web` makes, visited as anybody would."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from visiting import Visit, serving_folder

import featherlight
from featherlight.engines.exported import ExportedCard
from featherlight.model_file import SHIPPED, read_card
from featherlight.models.weights import load_model, save_model
from featherlight.targets.web import WebTarget

SETTLED = (
    "[...document.querySelectorAll('#gallery button')].every((one) => ['answered', 'failed'].includes(one.className))"
)
STATE_AFTER_INSTALLING = """new Promise(async (done) => {
  const { installing } = await navigator.serviceWorker.register("sw.js");
  installing.addEventListener("statechange", () => done(installing.state));
})"""
IMAGES = 20


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, runtime_folder: Path, color_folder: Path) -> Path:
    """The shipped model, exported; it rejects what gives it little energy."""
    network = load_model(SHIPPED["cifar10"])
    folder = tmp_path_factory.mktemp("web")
    model = save_model(
        network, folder / "model.safetensors", network.classes, network.preprocessing,
        temperature=network.card.temperature, reject={"score": "energy", "threshold": 3.5},
    )  # fmt: skip
    return featherlight.export(model, "web", runtime=runtime_folder, data=color_folder, title="Ten things").path.parent


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    with serving_folder(site) as address:
        yield address


@pytest.fixture
def page(url: str, visit: Callable[..., Visit]) -> Visit:
    opened = visit(url)
    opened.wait_for(".classes")
    return opened


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures of all kinds and sizes that files come in: smooth random scenes."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(7)
    made = []
    for number in range(IMAGES):
        width, height = (int(side) for side in random.integers(33, 500, 2))
        scene = Image.fromarray(random.integers(0, 256, (6, 8, 3)).astype(np.uint8))
        scene = scene.resize((width, height), Image.Resampling.BICUBIC)
        made.append(save(scene, folder, number, random))
    return made


def save(scene: Image.Image, folder: Path, number: int, random: np.random.Generator) -> Path:
    """In one of ten ways."""
    name, kind = f"{number:02}", number % 10
    if kind < 3:  # EXIF says to turn or mirror it
        exif = Image.Exif()
        exif[274] = int(random.integers(2, 9))
        scene.save(folder / f"{name}.jpg", quality=90, exif=exif)
    elif kind == 3:
        scene.putalpha(Image.linear_gradient("L").resize(scene.size))
        scene.save(folder / f"{name}.png")
    elif kind == 4:
        scene.convert("L").save(folder / f"{name}.png")
    elif kind == 5:
        scene.quantize(64).save(folder / f"{name}.gif")
    elif kind == 6:
        scene.save(folder / f"{name}.webp", lossless=True)
    elif kind == 7:
        scene.save(folder / f"{name}.bmp")
    elif kind == 8:
        scene.resize((2600, 1900)).save(folder / f"{name}.jpg", quality=95)  # more than the page takes as it is
    else:
        scene.save(folder / f"{name}.png")
    return next(folder.glob(f"{name}.*"))


def answers(page: Visit, pictures: list[Path]) -> list[tuple[str, str]]:
    """What the tries say, in the order of the pictures."""
    page.choose(*pictures)
    page.until(SETTLED)
    script = "list => list.map((one) => [one.querySelector('.verdict').innerText, one.lastChild.innerText])"
    return [(one[0], one[1]) for one in reversed(page.page.eval_on_selector_all("#gallery button", script))]


def as_shown(prediction: featherlight.Prediction) -> str:
    return "Unknown" if prediction.rejected else str(prediction.label)


def test_the_browser_gives_pythons_answers(page: Visit, site: Path, pictures: list[Path]) -> None:
    found = answers(page, pictures)
    expected = featherlight.Predictor(site).predict(pictures)
    assert [verdict for verdict, _ in found] == [as_shown(one) for one in expected]
    for (_, sure), one in zip(found, expected, strict=True):
        if not one.rejected:
            assert float(sure.rstrip("%")) / 100 == pytest.approx(one.probability, abs=0.02)
    assert len({one.label for one in expected}) >= 3
    assert any(one.rejected for one in expected)
    assert not page.complaints


def test_the_browser_gives_pythons_answers_for_photographs(page: Visit, site: Path) -> None:
    folder = Path(os.environ.get("FEATHERLIGHT_TEST_DATA", "")) / "cifar10-jpeg" / "test"
    if not folder.is_dir():
        pytest.skip("FEATHERLIGHT_TEST_DATA has no cifar10-jpeg")
    photographs = [file for group in sorted(folder.iterdir()) for file in sorted(group.glob("*.jpg"))[:2]]
    found = answers(page, photographs)
    expected = featherlight.Predictor(site).predict(photographs)
    assert len(expected) == IMAGES
    assert [verdict for verdict, _ in found] == [as_shown(one) for one in expected]


def test_nothing_is_asked_of_any_other_place_and_nothing_is_sent(page: Visit, url: str, pictures: list[Path]) -> None:
    sent = []
    page.page.on("request", lambda request: sent.append(request) if request.method != "GET" else None)
    before = len(page.requests)
    answers(page, pictures[:2])
    assert all(one.startswith((url, f"blob:{url}")) for one in page.requests)
    assert not [one for one in page.requests[before:] if not one.startswith("blob:")]
    assert not sent


def test_it_says_what_it_is_called_and_where_pictures_stay(page: Visit) -> None:
    assert page.wait_for("h1") == "Ten things"
    assert page.page.title() == "Ten things"
    page.wait_for("#privacy", "No picture leaves your device")


def test_a_file_that_is_no_picture_says_so(page: Visit) -> None:
    page.choose({"name": "notes.png", "mimeType": "image/png", "buffer": b"only words"})
    page.wait_for("[role=alert]", "Not a picture that can be read")


@pytest.mark.slow
def test_the_camera_is_named_while_it_is_seen_and_takes_a_picture(page: Visit) -> None:
    page.page.click("#photograph")
    page.wait_for("#answer", "Answered in")
    page.wait_for("#video")
    page.page.click("#shoot")
    page.wait_for("#gallery li:nth-child(1) .answered")
    assert page.page.locator("#video").is_hidden()


def test_it_is_installable_and_works_without_a_network(
    site: Path, pictures: list[Path], visit: Callable[..., Visit]
) -> None:
    with serving_folder(site) as url:
        page = visit(url)
        page.wait_for(".classes")
        page.page.evaluate("navigator.serviceWorker.ready.then(() => null)")
        page.until("navigator.serviceWorker.controller !== null")
        session = page.context.new_cdp_session(page.page)
        problems = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
        assert {one["errorId"] for one in problems} <= {"in-incognito"}
        expected = answers(page, pictures[:2])
    page.page.goto(f"{url}?lang=zh")
    page.wait_for(".classes")
    page.page.goto(f"{url}index.html")
    page.wait_for(".classes")
    assert answers(page, pictures[:2]) == expected


@pytest.mark.slow
def test_a_newer_folder_is_offered_and_taken(
    site: Path, runtime_folder: Path, tmp_path: Path, visit: Callable[..., Visit]
) -> None:
    folder = tmp_path / "site"
    shutil.copytree(site, folder)
    with serving_folder(folder) as url:
        page = visit(url)
        page.wait_for(".classes")
        page.until("navigator.serviceWorker.controller !== null")
        WebTarget(runtime_folder, "Eleven things").describe(folder, ExportedCard(read_card(SHIPPED["cifar10"])))
        page.page.reload()
        assert page.wait_for("h1") == "Ten things"  # one version at a time
        page.page.click(".update button")
        page.wait_for("h1", "Eleven things")
        assert page.page.evaluate("caches.keys().then((names) => names.length)") == 1


@pytest.mark.slow
def test_a_half_copied_folder_is_not_kept(site: Path, tmp_path: Path, visit: Callable[..., Visit]) -> None:
    folder = tmp_path / "site"
    shutil.copytree(site, folder)
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps({**facts, "model": "half"}), encoding="utf-8")
    with serving_folder(folder) as url:
        page = visit(url)
        page.wait_for("#about", "half")
        assert page.page.evaluate(STATE_AFTER_INSTALLING) == "redundant"


@pytest.mark.slow
def test_a_folder_with_a_damaged_file_says_so_and_can_be_tried_again(
    site: Path, tmp_path: Path, visit: Callable[..., Visit]
) -> None:
    folder = tmp_path / "site"
    shutil.copytree(site, folder)
    for name, content in (("model.onnx", b"not a model"), ("onnxruntime.js", b"not a script")):
        (folder / name).write_bytes(content)
        with serving_folder(folder) as url:
            page = visit(url)
            page.wait_for("[role=alert]", "The model cannot be loaded")
            shutil.copyfile(site / name, folder / name)
            later = time.time() + 10  # the server tells a changed file by its second
            os.utime(folder / name, (later, later))
            page.page.click("text=Try again")
            page.wait_for(".classes")
