"""How fast a page made by `export --to web` answers in headless Chromium, beside ONNX Runtime in Python.

    python benchmarks/web.py --runtime node_modules [--model NAME ...] [--image FILE] [--visits 3] [--answers 20]

For each network: exported with fresh weights for 224 px; time from opening the page to the first answer, with nothing
in the browser's cache and from its own storage; then the median of further answers, decoding included. ONNX Runtime
runs the same file on the same picture with one thread. Needs playwright and /usr/bin/chromium.
"""

from __future__ import annotations

import argparse
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

import featherlight
from featherlight.cost.latency import machine_name
from featherlight.images import Preprocessing
from featherlight.models.weights import save_model

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
CLASSES = tuple(f"class {k}" for k in range(1000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", required=True)
    parser.add_argument(
        "--model", nargs="+", default=["mobilenet_v1_x0_25", "shufflenet_v2_x1_0", "mobilenet_v3_small"]
    )
    parser.add_argument("--image", type=Path)
    parser.add_argument("--visits", type=int, default=3)
    parser.add_argument("--answers", type=int, default=20)
    given = parser.parse_args()
    with TemporaryDirectory() as place:
        image = given.image or write_image(Path(place) / "picture.jpg")
        width, height = Image.open(image).size
        print(f"{machine_name()}; picture of {width} x {height} px\n")
        print("| network | model, MB | first answer, ms | from storage, ms | answer, ms | Python, ms |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for name in given.model:
            folder = export(name, Path(place), given.runtime)
            first, again, steady = measure(folder, image, given.visits, given.answers)
            size = (folder / "model.onnx").stat().st_size / 1e6
            python = measure_python(folder, image, given.answers)
            print(f"| `{name}` | {size:.2f} | {first:,.0f} | {again:,.0f} | {steady:.1f} | {python:.1f} |", flush=True)


def write_image(path: Path) -> Path:
    """A smooth scene of 640 x 480, as JPEG."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(colours).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
    return path


def export(name: str, place: Path, runtime: str) -> Path:
    model = save_model(
        featherlight.create_model(name, len(CLASSES)), place / f"{name}.safetensors", CLASSES, Preprocessing(224)
    )
    images = place / "images" / "train"
    for number in range(4):
        (images / CLASSES[number]).mkdir(parents=True, exist_ok=True)
        for k in range(4):
            write_image(images / CLASSES[number] / f"{k}.jpg")
    exported = featherlight.export(model, "web", runtime=runtime, data=place / "images")
    return exported.path.parent


def measure(folder: Path, image: Path, visits: int, answers: int) -> tuple[float, float, float]:
    """Medians in ms: first answer of a first visit, of a second one, and further answers."""
    from playwright.sync_api import sync_playwright

    first, again, steady = [], [], []
    with serving(folder) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for _ in range(visits):
            page = browser.new_page(locale="en")
            first.append(time_visit(page, url, image))
            page.evaluate("navigator.serviceWorker.ready.then(() => null)")
            steady += [ask(page, image) for _ in range(answers)]
            again.append(time_visit(page, url, image))
            page.close()
        browser.close()
    return median(first), median(again), median(steady)


def time_visit(page: Any, url: str, image: Path) -> float:
    began = time.perf_counter()
    page.goto(url, wait_until="domcontentloaded")
    ask(page, image)
    return (time.perf_counter() - began) * 1000


def ask(page: Any, image: Path) -> float:
    """What the page says it took, in ms."""
    number = page.locator("#gallery li").count() + 1
    page.set_input_files("#files", image)
    page.locator(f"#gallery li:nth-child({number})").wait_for(state="attached", timeout=120_000)
    page.locator("#gallery li:first-child .answered").wait_for(timeout=120_000)
    found = re.search(r"Answered in ([\d.,]+) ms", page.inner_text("#answer"))
    assert found is not None
    return float(found[1].replace(",", ""))


def measure_python(folder: Path, image: Path, answers: int) -> float:
    predictor = featherlight.Predictor(folder, threads=1)
    predictor.predict(image)
    times = []
    for _ in range(answers):
        began = time.perf_counter()
        predictor.predict(image)
        times.append((time.perf_counter() - began) * 1000)
    return median(times)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    class Files(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
