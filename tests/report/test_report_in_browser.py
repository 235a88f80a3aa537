"""The pages as people see them: in Chromium, on a phone and on a desk, by day and by night. Keeps pictures of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_choice import make_choice
from made_comparison import make_comparison, make_enough, write_comparison

from featherlight.metrics import Evaluation, evaluate_logits
from featherlight.phrases import phrase
from featherlight.report import CostFacts, LatencyFacts, Mistake, write_check_page, write_report
from featherlight.report.choose_page import write_choose_page
from featherlight.report.export_page import ExportFacts, Pictured, write_export_page
from featherlight.sources.arrays import array_split
from featherlight.sources.findings import Checked, Finding, Findings, Survey, order_findings
from featherlight.sources.findings.survey import look_at
from featherlight.verification import compare_outputs

PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
AUDIT = Path(__file__).with_name("page_audit.js").read_text(encoding="utf-8")
WIDTHS = (400, 1280)
NAMES = {
    "en": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "zh": ("飞机", "汽车", "鸟", "猫", "鹿", "狗", "青蛙", "马", "船", "卡车"),
}


@pytest.fixture
def visit(browser: Any) -> Callable[..., Any]:
    """Opens a page; in the end it must not have said, asked for or spilled anything."""

    @contextmanager
    def open_page(path: Path, width: int = 1280, scheme: str = "light", *, script: bool = True) -> Iterator[Any]:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
        )
        tab, said, asked = context.new_page(), list[str](), list[str]()
        tab.set_default_timeout(60_000)
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        yield tab
        if script:
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
        context.close()
        assert said == []
        assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]

    return open_page


def evaluation(classes: tuple[str, ...], num_images: int, spread: float = 1.6) -> tuple[Evaluation, Any, Any]:
    rng = np.random.default_rng(0)
    labels = np.arange(num_images) % len(classes)
    logits = 3.0 * np.eye(len(classes))[labels] + rng.normal(0, spread, (num_images, len(classes)))
    result = evaluate_logits(
        logits, labels, classes, model="shufflenet_v2_x0_5", data="photos", split="test", engine="torch",
        temperature=1.3, unreadable=[("photos/test/a.png", "empty file")],
    )  # fmt: skip
    return result, labels, logits.argmax(axis=1)


def mistakes(classes: tuple[str, ...], labels: Any, predicted: Any) -> list[Mistake]:
    rng = np.random.default_rng(1)
    found = []
    for number, k in enumerate(np.flatnonzero(labels != predicted)[:60]):
        true, said = classes[labels[k]], classes[predicted[k]]
        image = rng.integers(0, 256, (96, 96, 3), np.uint8)
        heat = rng.random((4, 4)).astype(np.float32)
        path, p = f"photos/test/{true}/{k}.jpg", float(0.99 - number / 100)
        heats = {"predicted": heat, "true": 1 - heat}
        kind = "worst" if number < 40 else "unsure"
        found.append(Mistake(path, image, true, said, p, kind, ((said, p), (true, (1 - p) / 2)), heats))
    return found


def history(epochs: int) -> list[dict[str, float]]:
    return [
        {"epoch": k, "train_loss": 2 / k, "val_loss": 2.2 / k, "val_top1": 0.8 - 0.5 / k, "learning_rate": 0.1 / k,
         "seconds": 60.0 * k, "images_per_s": 180.0}
        for k in range(1, epochs + 1)
    ]  # fmt: skip


def write_full_report(path: Path, lang: str) -> Path:
    """Every part that a report can have."""
    classes = NAMES[lang]
    result, labels, predicted = evaluation(classes, 2000)
    accuracy = {
        kind: [0.7, 0.6, 0.5, 0.4, 0.3] for kind in ("noise", "blur", "jpeg", "brightness", "contrast", "shift")
    }
    before = {f"{name}_without": getattr(result, name) for name in ("top1", "nll", "ece")}
    full = replace(
        result,
        reject={"score": "energy", "threshold": 3.2, "target_false_reject_rate": 0.05, "kept": 0.95,
                "accuracy_of_kept": 0.77,
                "unknown": {"data": "digits", "num_images": 500, "auroc": 0.98, "false_accept_rate": 0.04}},
        corruptions={"num_images": 2000, "top1": result.top1, "accuracy": accuracy, "mean": 0.5,
                     "mean_of": dict.fromkeys(accuracy, 0.5)},
        tta={"top1": 0.75, "nll": 0.8, "ece": 0.03, "seconds": 12.0, "seconds_without": 2.0, "mended": 31, "spoilt": 12,
             "variants": ["as it is", "up"], **before},
    )  # fmt: skip
    machine = "AMD EPYC 9B14, 2 cores, Linux x86_64"
    write_report(
        path,
        full,
        mistakes=mistakes(classes, labels, predicted),
        history=history(20),
        recipe={"model": "shufflenet_v2_x0_5", "epochs": 20},
        reproduce="featherlight train photos/ --model shufflenet_v2_x0_5 --epochs 20 --seed 0 --set batch_size=64",
        cost=CostFacts(1_430_000, 352_042, 41_700_000, 9_000_000),
        latency=LatencyFacts(3.214, 4.01, 30, "torch", 2, machine, "96 × 96 px"),
        lang=lang,
    )
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_full_report(tmp_path_factory.mktemp("report") / "report.html", "en")


def write_made_check(path: Path, lang: str) -> Path:
    rng = np.random.default_rng(0)
    paths = [f"data/a/{k}.png" for k in range(40)]
    images = array_split(rng.integers(0, 256, (40, 96, 96, 3), np.uint8), np.arange(40) % 2, paths)
    survey = Survey("my data", ("a", "b"), images, np.zeros(40, np.int64), np.arange(40) % 2)
    facts, splits, duplicates = look_at(survey)
    kinds = (("leak", "error"), ("near_duplicate", "warning"), ("too_small", "note"), ("leak", "error"))
    found = [
        Finding(kind, severity, (paths[k], paths[k + 1]), phrase("look nearly the same"), (k, k + 1))
        for k, (kind, severity) in enumerate(kinds)
    ]
    counts = {"a": {"train": 20, "val": 5}, "a class with a rather long name": {"train": 10, "val": 5}}
    findings = Findings("my data", 40, counts, 32, order_findings(found), make_enough())
    write_check_page(path, findings, Checked(survey, facts, splits, duplicates, 32), lang)
    return path


def write_made_export(path: Path, lang: str) -> Path:
    logits = np.tile([5.0, 0.0], (100, 1))
    other = logits.copy()
    other[:3, 1] = 9
    paths = [f"data/a rather long folder name/{k}.png" for k in range(100)]
    result = compare_outputs(
        logits, other, np.zeros(100, np.int64), paths, ("a", "b"), data="photos", split="val", engine="onnxruntime"
    )
    facts = ExportFacts(
        "model.safetensors", "onnx", "image", 1_450_000, 1_500_000, "featherlight export runs/a --to onnx"
    )
    pictured = [Pictured(one, np.full((60, 90, 3), 120, np.uint8)) for one in result.disagreements]
    write_export_page(path, result, facts, pictured, ["fold_batch_norm: 37 places, " + "a long line " * 12], lang)
    return path


def write_made_comparison(path: Path, lang: str) -> Path:
    comparison = make_comparison(("shuffle-small", "shuffle-wide", "mobile/a rather long name/onnx", "mobile/int8"))
    return write_comparison(path, comparison, lang)


def write_made_choice(path: Path, lang: str) -> Path:
    write_choose_page(path, make_choice(), lang)
    return path


WRITERS = {
    "report": write_full_report,
    "check": write_made_check,
    "export": write_made_export,
    "compare": write_made_comparison,
    "choose": write_made_choice,
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``report``, ``report_zh``: a page by its name, made once."""
    folder = tmp_path_factory.mktemp("pages")

    def made(name: str) -> Path:
        path = folder / f"{name}.html"
        kind, _, lang = name.partition("_")
        return path if path.exists() else WRITERS[kind](path, lang or "en")

    return made


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (400, "dark"),
        (1280, "light"),
        pytest.param(400, "light", marks=pytest.mark.slow),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", [*WRITERS, *(pytest.param(f"{kind}_zh", marks=pytest.mark.slow) for kind in WRITERS)])
def test_page_fits_is_readable_and_has_names(
    name: str, width: int, scheme: str, visit: Callable[..., Any], pages: Callable[[str], Path]
) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with visit(pages(name), width, scheme) as tab:
        tab.screenshot(path=PICTURES / f"{name}-{width}-{scheme}.png", full_page=True)
        assert tab.evaluate(AUDIT) == []


ENGLISH = re.compile(r"[A-Za-z]{3,}(?: [A-Za-z,;]+){3,}")  # four words in a row are a sentence, no name


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_chinese_page_says_nothing_in_english(
    kind: str, visit: Callable[..., Any], pages: Callable[[str], Path]
) -> None:
    with visit(pages(f"{kind}_zh"), 400) as tab:
        assert tab.evaluate(AUDIT) == []
        tab.evaluate("document.querySelectorAll('pre, code, [lang=en], script').forEach(part => part.remove())")
        shown = tab.evaluate("document.body.innerText")
        labels = tab.evaluate("[...document.querySelectorAll('[aria-label]')].map(part => part.ariaLabel)")
        found = set(ENGLISH.findall(shown + "\n" + "\n".join(labels)))
        assert found <= {"class with a rather long name", "rather long folder name"}  # names out of the data
        assert tab.evaluate("document.documentElement.lang") == "zh-CN"


def test_parts_that_open_are_readable_too(report: Path, visit: Callable[..., Any]) -> None:
    with visit(report, 400) as tab:
        for summary in tab.locator("summary").all():
            summary.click()
        assert tab.evaluate(AUDIT) == []


def column(tab: Any, place: int) -> list[float]:
    values: list[str] = tab.locator("#class-table tbody tr").evaluate_all(
        f"rows => rows.map(row => row.cells[{place}].dataset.v)"
    )
    return [float(value) for value in values]


def test_table_is_sorted_by_keyboard(report: Path, visit: Callable[..., Any]) -> None:
    with visit(report) as tab:
        heading = tab.get_by_role("columnheader", name="Recall")
        tab.get_by_role("button", name="Recall").focus()
        tab.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "ascending"
        recalls = column(tab, 3)
        assert recalls == sorted(recalls)
        assert recalls[0] < recalls[-1]
        tab.keyboard.press("Space")
        assert heading.get_attribute("aria-sort") == "descending"
        assert column(tab, 3) == sorted(recalls, reverse=True)


def shown(tab: Any) -> list[dict[str, str]]:
    found: list[dict[str, str]] = tab.locator("[data-mistakes] figure:visible").evaluate_all(
        "figures => figures.map(figure => ({...figure.dataset}))"
    )
    return found


def test_mistakes_are_filtered_by_keyboard(report: Path, visit: Callable[..., Any]) -> None:
    with visit(report, 400) as tab:
        assert len(shown(tab)) == 24
        tab.get_by_label("It shows").focus()
        tab.keyboard.type("cat")
        cats = shown(tab)
        assert cats
        assert {one["true"] for one in cats} == {"cat"}
        status = tab.locator("[data-mistakes] [role=status]").text_content()
        assert status == f"{len(cats)} of 60 are found"
        tab.keyboard.press("Home")
        tab.get_by_label("Show", exact=True).focus()
        tab.keyboard.press("ArrowDown")
        unsure = [float(one["p"]) for one in shown(tab)]
        assert unsure == sorted(unsure)
        tab.keyboard.press("ArrowDown")
        pairs = [int(one["pair"]) for one in shown(tab)]
        assert pairs == sorted(pairs)
        assert pairs[0] == 0


def test_more_mistakes_come_when_asked_for(report: Path, visit: Callable[..., Any]) -> None:
    with visit(report) as tab:
        tab.get_by_role("button", name="Show more").press("Enter")
        assert len(shown(tab)) == 48
        tab.get_by_role("button", name="Show more").press("Enter")
        assert len(shown(tab)) == 60
        assert not tab.get_by_role("button", name="Show more").is_visible()


def test_activation_maps_lie_over_the_pictures_when_chosen(report: Path, visit: Callable[..., Any]) -> None:
    with visit(report) as tab:
        assert tab.locator(".heat:visible").count() == 0
        tab.get_by_label("Where it looked").select_option("predicted")
        assert tab.locator(".heat:visible").count() == 24
        assert {heat.get_attribute("data-heat") for heat in tab.locator(".heat:visible").all()} == {"predicted"}


def matrix(tab: Any) -> list[list[str]]:
    rows: list[list[str]] = tab.locator(".matrix tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return rows


def test_matrix_shows_shares_and_another_order(report: Path, visit: Callable[..., Any]) -> None:
    with visit(report) as tab:
        (_, *names), *rows = matrix(tab)
        counts = {(row[0], name): row[k + 1] for row in rows for k, name in enumerate(names)}
        tab.get_by_role("radio", name="confused ones together").focus()
        tab.keyboard.press("ArrowRight")  # chooses, as arrows do among radio buttons
        tab.keyboard.press("ArrowRight")
        (_, *moved), *rows = matrix(tab)
        assert moved != names
        assert [row[0] for row in rows] == moved
        assert {(row[0], name): row[k + 1] for row in rows for k, name in enumerate(moved)} == counts
        tab.get_by_role("radio", name="% of the row").check()
        (_, *moved), *rows = matrix(tab)
        shares = {(row[0], name): row[k + 1] for row in rows for k, name in enumerate(moved)}
        # 200 images a class; a share that lies halfway between two whole numbers may become either
        assert all(
            abs(float(shares[key]) - int(count) / 2) <= 0.5 for key, count in counts.items() if int(count or 0) > 1
        )
        assert {key for key, share in shares.items() if share == "<1"} == {key for key in counts if counts[key] == "1"}


@pytest.mark.parametrize("width", WIDTHS)
def test_thousand_classes_are_drawn_small_and_reached_by_keyboard(
    width: int, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    classes = tuple(f"class {k}" for k in range(1000))
    rng = np.random.default_rng(0)
    labels = np.arange(10_000) % 1000
    family = labels // 20 * 20 + rng.integers(0, 20, len(labels))
    predicted = np.where(rng.random(len(labels)) < 0.3, family, labels)
    logits = np.eye(1000, dtype=np.float32)[predicted]
    where = {"model": "m", "data": "d", "split": "test", "engine": "torch"}
    write_report(tmp_path / "many.html", evaluate_logits(logits, labels, classes, **where))
    assert (tmp_path / "many.html").stat().st_size < 2_000_000
    PICTURES.mkdir(parents=True, exist_ok=True)
    with visit(tmp_path / "many.html", width) as tab:
        tab.locator("[data-matrix]").screenshot(path=PICTURES / f"thousand-classes-{width}.png")
        tab.locator(".drawing").focus()
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("ArrowDown")
        assert re.fullmatch(r"class \d+ → class \d+: [1-9]\d* of 10 \(\d+\.0%\)", tab.locator("#cell").text_content())
        tab.get_by_label("Zoom").focus()
        tab.keyboard.press("End")
        tab.locator("[data-matrix]").screenshot(path=PICTURES / f"thousand-classes-near-{width}.png")
        drawn = tab.evaluate(
            "() => { const c = document.querySelector('canvas');"
            " return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(value => value) }"
        )
        assert drawn
        tab.get_by_label("Find a class").fill("class 77")
        assert tab.locator("#class-table tbody tr:visible").count() == 11
        assert tab.evaluate(AUDIT) == []


def test_without_scripts_everything_is_there(report: Path, visit: Callable[..., Any]) -> None:
    with visit(report, script=False) as tab:
        assert tab.locator("[data-mistakes] figure:visible").count() == 60
        assert tab.locator(".controls:visible").count() == 0
        assert tab.locator(".matrix td").first.is_visible()
