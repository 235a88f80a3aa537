from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featherlight.errors import FeatherlightError, UsageError
from featherlight.metrics import Evaluation, evaluate_logits
from featherlight.report import CostFacts, LatencyFacts, Mistake, write_report

HOSTILE = [
    "<script>alert(1)</script>",
    "\"' onerror=alert(1) x='",
    "new\nline & 猫 \u202e \udcff",
    "{{ 7 * 7 }}",
    "</style>",
]
VOID = {"meta", "link", "img", "path", "circle", "input"}


class Page(HTMLParser):
    """Every element with its attributes and the text under it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = (tag, {key: value or "" for key, value in attrs}, [])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        opened, _, _ = self.open.pop()
        assert opened == tag, f"<{opened}> closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        for _, _, texts in self.open:
            texts.append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        return [
            "".join(texts).strip()
            for found, attrs, texts in self.elements
            if found == tag and attributes.items() <= attrs.items()
        ]

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attrs for found, attrs, _ in self.elements if found == tag]


def evaluation(classes: list[str], num_images: int = 200, spread: float = 1.0, **options: Any) -> Evaluation:
    rng = np.random.default_rng(0)
    labels = np.arange(num_images) % len(classes)
    logits = 3.0 * np.eye(len(classes))[labels] + rng.normal(0, spread, (num_images, len(classes)))
    where = {"model": "shufflenet_v2_x0_5", "data": "digits", "split": "test", "engine": "onnxruntime", **options}
    return evaluate_logits(logits, labels, classes, **where)


def mistake(probability: float = 0.9, shape: tuple[int, int, int] = (40, 60, 3), **names: Any) -> Mistake:
    values = {"path": "test/a/1.png", "true": "a", "predicted": "b", **names}
    return Mistake(image=np.full(shape, 200, dtype=np.uint8), probability=probability, **values)


HISTORY = [{"epoch": 1, "train_loss": 1.0, "val_loss": 1.1, "val_top1": 0.5, "learning_rate": 0.1, "seconds": 3725.0}]


def render(tmp_path: Path, result: Evaluation, **parts: Any) -> tuple[Page, str]:
    write_report(tmp_path / "report.html", result, **parts)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    return Page(text), text


def full(tmp_path: Path, result: Evaluation, **names: str) -> tuple[Page, str]:
    mistakes = [mistake(p / 100, **names) for p in range(50, 100)]
    return render(tmp_path, result, mistakes=mistakes, history=HISTORY, recipe={"epochs": 3}, reproduce="featherlight")


def test_headline_says_how_good_the_model_is(tmp_path: Path) -> None:
    result = evaluation([str(i) for i in range(10)], unreadable=[("a.png", "empty file")])
    page, _ = full(tmp_path, result)
    assert page.texts("h1") == ["shufflenet_v2_x0_5"]
    assert page.texts("p", **{"class": "big"}) == [f"{result.top1:.1%}"]
    names = ["Top-5 accuracy", "Macro F1", "Calibration error", "Loss", "Images", "Classes"]
    assert page.texts("dt")[:6] == names
    between = {key: "–".join(f"{bound:.1%}" for bound in result.intervals[key]) for key in ("top5", "macro_f1")}
    assert page.texts("dd")[:6] == [
        f"{result.top5:.1%}{between['top5']}", f"{result.macro_f1:.1%}{between['macro_f1']}", f"{result.ece:.1%}",
        f"{result.loss:.3f}", "200", "10",
    ]  # fmt: skip
    low, high = (f"{bound:.1%}" for bound in result.top1_interval)
    assert f"between {low} and {high} on such images, with 95% certainty" in page.texts("p", **{"class": "soft"})
    assert "a.png empty file" in page.texts("li")


def test_sections_come_in_order_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    result = evaluation(["a", "b"])
    page, _ = full(tmp_path, result)
    always = ["Confusion matrix", "Most confused", "Classes"]
    first, calibration = "Top-1 accuracy", "Is it as right as it is sure?"
    assert page.texts("h2") == [first, "Training", *always, "Mistakes", calibration, "Recipe", "Do it again"]
    links = [attrs["href"].removeprefix("#") for attrs in page.attributes("a")]
    assert links == ["training", "confusion", "classes", "mistakes", "calibration", "reproduce"]
    bare, _ = render(tmp_path, result)
    assert bare.texts("h2") == [first, *always, calibration]


def test_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    page, text = full(tmp_path, evaluation(["a", "b"]))
    references = [
        attrs[key]
        for _, attrs, _ in page.elements
        for key in ("src", "href", "srcset", "data", "action")
        if key in attrs
    ]
    assert len([reference for reference in references if reference.startswith("data:")]) == 51  # icon, thumbnails
    assert all(reference.startswith(("data:", "#")) for reference in references)
    assert "://" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_hostile_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    result = evaluation(HOSTILE, spread=3.0, model=HOSTILE[0], data=HOSTILE[1], unreadable=[(HOSTILE[2], HOSTILE[0])])
    names = {"path": HOSTILE[0], "true": HOSTILE[1], "predicted": HOSTILE[4]}
    plain, _ = full(tmp_path, evaluation(["a", "b", "c", "d", "e"], spread=3.0, unreadable=[("a", "b")]))
    page, _ = full(tmp_path, result, **names)
    readable = [name.replace("\udcff", "?") for name in HOSTILE]
    assert [tag for tag, _, _ in page.elements] == [tag for tag, _, _ in plain.elements]
    assert [attrs.keys() for _, attrs, _ in page.elements] == [attrs.keys() for _, attrs, _ in plain.elements]
    assert page.texts("th", **{"scope": "row", "data-v": "1"}) == [readable[0]]
    assert set(readable) <= set(page.texts("th", scope="row"))
    assert page.texts("h1") == [HOSTILE[0]]


def test_matrix_cells_are_the_counts(tmp_path: Path) -> None:
    result = evaluation([f"class {i}" for i in range(30)], num_images=900)
    page, _ = render(tmp_path, result)
    cells = page.texts("td")[1 : 1 + 900]  # after the corner
    assert [int(cell or 0) for cell in cells] == np.ravel(result.confusion_matrix).tolist()


def matrix_data(text: str) -> dict[str, Any]:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', text).group(1))


@pytest.mark.parametrize("num_classes", [31, 1000])
def test_many_classes_are_drawn_from_what_is_not_zero(tmp_path: Path, num_classes: int) -> None:
    result = evaluation([f"class {i}" for i in range(num_classes)], num_images=num_classes * 10)
    _, text = render(tmp_path, result)
    data = matrix_data(text)
    found = np.zeros((num_classes, num_classes), np.int64)
    for i, row in enumerate(data["cells"]):
        found[i, row[::2]] = row[1::2]
    assert found.tolist() == result.confusion_matrix
    assert data["names"] == result.classes
    assert data["support"] == [10] * num_classes
    assert sorted(data["order"]) == list(range(num_classes))


def test_more_classes_than_fit_show_the_confused_ones(tmp_path: Path) -> None:
    labels = np.arange(1500)
    predicted = np.where(labels < 1498, labels, 2997 - labels)  # the last two are taken for each other
    names = [f"class {i}" for i in labels]
    where = {"model": "m", "data": "d", "split": "test", "engine": "torch"}
    _, text = render(tmp_path, evaluate_logits(np.eye(1500)[predicted], labels, names, **where))
    assert "Only the 1,000 classes in most confusions are shown." in text
    assert matrix_data(text)["names"][-2:] == ["class 1498", "class 1499"]


def test_ten_thousand_classes_stay_a_small_page(tmp_path: Path) -> None:
    labels = np.arange(0, 10_000, 5)
    wrong = labels % 2 == 1
    names = [f"class {i}" for i in range(10_000)]
    where = {"model": "m", "data": "d", "split": "test", "engine": "torch"}
    logits = np.zeros((len(labels), 10_000), np.float32)
    logits[np.arange(len(labels)), np.where(wrong, labels + 2, labels)] = 1
    _, text = render(tmp_path, evaluate_logits(logits, labels, names, **where))
    assert "Only the 1,000 classes in most confusions are shown." in text
    assert len(matrix_data(text)["names"]) == 1000
    assert "The 1,000 classes with the lowest F1 are listed; evaluation.json has all." in text
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_large_evaluation_stays_a_small_page(tmp_path: Path) -> None:
    result = evaluation([f"a rather long class name, number {i}" for i in range(100)], num_images=10_000, spread=3.0)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (300, 200, 3), dtype=np.uint8)  # the worst case for JPEG
    wrong = [Mistake(f"test/{i}.png", noise, "a", "b", 0.9) for i in range(4000)]
    render(tmp_path, result, mistakes=wrong, history=HISTORY * 200)
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


def test_evaluation_of_an_older_version_has_a_report(tmp_path: Path) -> None:
    fields = json.loads(evaluation(["a", "b"]).to_json())
    newer = {
        "top1_interval", "intervals", "ece", "nll", "brier", "reliability", "reject", "mistakes", "corruptions", "tta"
    }  # fmt: skip
    old = Evaluation.from_json(json.dumps({key: value for key, value in fields.items() if key not in newer}))
    page, text = full(tmp_path, old)
    assert page.texts("dt") == ["Macro F1", "Loss", "Images", "Classes"]
    assert "95% certainty" not in " ".join(page.texts("p", **{"class": "soft"})[:4])
    assert "Is it as right" not in text


def test_rejection_corruptions_and_averaging_are_shown(tmp_path: Path) -> None:
    accuracy = {"noise": [0.9, 0.8, 0.7, 0.6, 0.5], "something new": [0.4] * 5}
    result = replace(
        evaluation(["a", "b"]),
        reject={"score": "energy", "threshold": 1.5, "kept": 0.9, "accuracy_of_kept": None},
        corruptions={"num_images": 200, "top1": 0.95, "accuracy": accuracy, "mean": 0.55,
                     "mean_of": {"noise": 0.7, "something new": 0.4}},
        tta={"top1": 0.9, "top1_without": 0.8, "nll": 0.1, "nll_without": 0.2, "ece": 0.01, "ece_without": 0.02,
             "seconds": 2.0, "seconds_without": 1.0, "mended": 3, "spoilt": 1, "variants": ["as it is", "up"]},
    )  # fmt: skip
    page, text = render(tmp_path, result)
    assert "(energy) is below 1.5" in text
    assert page.texts("dt").count("Images accepted") == 1
    assert "Accuracy of those" not in page.texts("dt")
    drawings = [attrs["aria-label"] for attrs in page.attributes("svg") if "aria-label" in attrs]
    wanted = "Accuracy as images get worse. At the greatest strength: noise 50.0%, something new 40.0%."
    assert wanted in drawings
    cells = page.texts("td", **{"class": "number"})
    start = cells.index("90.0%", cells.index("90.0%"))
    assert cells[start : start + 6] == ["90.0%", "80.0%", "70.0%", "60.0%", "50.0%", "70.0%"]
    assert "The mean answer to 2 variants: 3 wrong images become right, 1 right ones wrong." in text


def test_cost_and_latency_say_where_they_were_measured(tmp_path: Path) -> None:
    cost = CostFacts(size_bytes=902_640, params=216_000, macs=3_330_000)
    latency = LatencyFacts(3.214, 128.7, 30, "torch", 1, "a machine", "32 × 32 px")
    page, text = render(tmp_path, evaluation(["a", "b"]), cost=cost, latency=latency)
    numbers = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert numbers["Parameters"] == "216 k"
    assert numbers["Multiply-adds for an image"] == "3.33 M"
    assert numbers["Size of the file"] == "903 kB"
    assert numbers["Time for an image, median"] == "3.21 ms"
    assert numbers["95% are faster than"] == "129 ms"
    assert "Activations for an image" not in numbers
    assert "Measured on a machine, with torch and 1 thread, one image of 32 × 32 px at a time, 30 calls" in text
    assert "was not quiet" not in text
    noisy = replace(latency, low_ms=2.5, high_ms=9.04)
    _, text = render(tmp_path, evaluation(["a", "b"]), latency=noisy)
    assert "The machine was not quiet: medians of rounds lie between 2.5 ms and 9.04 ms." in text
    assert "Time for an image, on a busy machine" in text  # where the large figure is


def test_chinese_report_leaves_nothing_of_ours_in_english(tmp_path: Path) -> None:
    result = evaluation(["猫", "狗"], unreadable=[("甲", "坏")], model="网络", data="照片", split="val", engine="引擎")
    latency = LatencyFacts(3.2, 4.0, 30, "引擎", 1, "机器", "32 × 32")
    page, _ = render(
        tmp_path, result, mistakes=[mistake(true="猫", predicted="狗", path="甲/乙")], history=HISTORY, lang="zh",
        recipe={"轮": 3}, reproduce="命令", cost=CostFacts(1000, 1000, 1000, 1000), latency=latency,
    )  # fmt: skip
    assert page.attributes("html") == [{"lang": "zh-CN"}]
    ours = {"Featherlight", "Top", "F1", "ECE", "Brier", "Python", "JavaScript", "kB", "k", "ms", "evaluation", "json"}
    said = " ".join("".join(texts) for tag, _, texts in page.elements if tag in {"main", "title"})
    said += " ".join(attrs.get("aria-label", "") + attrs.get("alt", "") for _, attrs, _ in page.elements)
    said = re.sub(r"<[^>]*>|\{.*?\}", "", said)
    assert set(re.findall(r"[A-Za-z]{2,}", said)) <= ours


def test_unknown_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown language 'fr'; there are: en, zh"):
        write_report(tmp_path / "report.html", evaluation(["a", "b"]), lang="fr")
    assert not list(tmp_path.iterdir())


def test_most_confident_mistakes_come_first(tmp_path: Path) -> None:
    mistakes = [mistake(p, path=f"folder/test/{p}.png") for p in (0.5, 0.9, 0.7)]
    page, _ = render(tmp_path, evaluation(["a", "b"]), mistakes=mistakes)
    assert page.texts("p", title="folder/test/0.9.png") == ["test/0.9.png"]
    shown = [text for text in page.texts("p") if text.startswith("Said")]
    assert shown == ["Said b 90.0%", "Said b 70.0%", "Said b 50.0%"]


def test_image_that_is_right_but_unsure_is_not_called_wrong(tmp_path: Path) -> None:
    page, _ = render(tmp_path, evaluation(["a", "b"]), mistakes=[mistake(0.4, predicted="a", kind="unsure")])
    assert "Said a 40.0%, rightly" in page.texts("p")
    assert page.attributes("img")[0]["alt"] == "a"


def test_heat_lies_over_its_picture_as_a_small_png(tmp_path: Path) -> None:
    heat = np.array([[0, 1], [0.5, 0]], np.float32)
    page, _ = render(tmp_path, evaluation(["a", "b"]), mistakes=[mistake(heats={"predicted": heat})])
    _, over = page.attributes("img")
    assert (over["data-heat"], over["alt"], "hidden" in over) == ("predicted", "", True)
    with Image.open(io.BytesIO(base64.b64decode(over["src"].removeprefix("data:image/png;base64,")))) as picture:
        opacity = np.asarray(picture)[..., 3]
    assert opacity[0, 0] == opacity[1, 1] == 0
    assert opacity[0, 1] == pytest.approx(2 * opacity[1, 0], abs=1)


@pytest.mark.parametrize(
    ("shape", "size"), [((200, 400, 3), (96, 48)), ((32, 32, 3), (32, 32)), ((1, 5000, 3), (96, 1))]
)
def test_thumbnail_is_a_small_jpeg(tmp_path: Path, shape: tuple[int, int, int], size: tuple[int, int]) -> None:
    page, _ = render(tmp_path, evaluation(["a", "b"]), mistakes=[mistake(shape=shape)])
    (image,) = page.attributes("img")
    with Image.open(io.BytesIO(base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,")))) as picture:
        assert (picture.format, picture.size) == ("JPEG", size)
        np.testing.assert_allclose(np.asarray(picture), 200, atol=2)
    assert image["alt"] == "a, taken for b"


def test_perfect_model_has_nothing_confused(tmp_path: Path) -> None:
    page, text = render(tmp_path, evaluation(["a", "b"], spread=0.01))
    assert page.texts("p", **{"class": "big"}) == ["100.0%"]
    assert "every image was named correctly" in text


def test_nearly_perfect_is_not_rounded_to_perfect(tmp_path: Path) -> None:
    labels = np.zeros(3000, dtype=int)
    predicted = labels.copy()
    predicted[0] = 1
    where = {"model": "m", "data": "d", "split": "test", "engine": "torch"}
    page, _ = render(tmp_path, evaluate_logits(np.eye(2)[predicted], labels, ["a", "b"], **where))
    assert page.texts("p", **{"class": "big"}) == ["99.96%"]
    assert "2,999 of 3,000 images right, 1 wrong" in page.texts("p", **{"class": "soft"})


def test_class_without_images_has_no_numbers(tmp_path: Path) -> None:
    where = {"model": "m", "data": "d", "split": "test", "engine": "torch"}
    page, _ = render(tmp_path, evaluate_logits(np.eye(3)[[0, 1]], np.array([0, 1]), ["a", "b", "c"], **where))
    rows = [texts for tag, attrs, texts in page.elements if tag == "td" and "data-v" in attrs]
    assert ["".join(texts) for texts in rows[-4:]] == ["0", "–", "–", "–"]


def test_page_is_accessible(tmp_path: Path) -> None:
    page, _ = full(tmp_path, evaluation(["a", "b"], unreadable=[("x", "y")]))
    assert page.attributes("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _, _ in page.elements if tag in {"h1", "h2", "h3", "h4"}]
    assert levels == [1, *[2] * (len(levels) - 1)]
    assert all("scope" in attrs for attrs in page.attributes("th"))
    assert all(attrs["alt"] for attrs in page.attributes("img"))
    assert all(attrs.get("aria-hidden") or attrs.get("aria-label") for attrs in page.attributes("svg"))
    scrolling = [attrs for attrs in page.attributes("div") if attrs.get("class") == "scroll"]
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in scrolling)
    ids = {attrs["id"] for _, attrs, _ in page.elements if "id" in attrs}
    named = {attrs["aria-labelledby"] for _, attrs, _ in page.elements if "aria-labelledby" in attrs}
    assert named <= ids
    assert {attrs["href"].removeprefix("#") for attrs in page.attributes("a")} <= ids


def test_training_facts_are_told(tmp_path: Path) -> None:
    page, _ = render(tmp_path, evaluation(["a", "b"]), history=HISTORY)
    assert "1 epoch · 1 h 2 min" in page.texts("p", **{"class": "soft"})


def test_recipe_and_command_are_shown_as_written(tmp_path: Path) -> None:
    recipe = {"ema": True, "stem": None, "augment": ["crop", "flip"], "lr": 5e-4, "schedule": "one_cycle"}
    page, _ = render(
        tmp_path, evaluation(["a", "b"]), recipe=recipe, reproduce='featherlight train "my images" --epochs 3'
    )
    assert page.texts("code") == [
        "true", "null", '["crop", "flip"]', "0.0005", "one_cycle", 'featherlight train "my images" --epochs 3',
    ]  # fmt: skip


def test_many_unreadable_files_are_counted_not_listed(tmp_path: Path) -> None:
    broken = [(f"{i}.png", "empty file") for i in range(1200)]
    page, _ = render(tmp_path, evaluation(["a", "b"], unreadable=broken))
    assert "1,200 files could not be read" in page.texts("summary")
    items = [item for item in page.texts("li") if "file" in item]
    assert (len(items), items[-1]) == (101, "and 1,100 more files")


def test_folder_that_cannot_be_written_is_an_error_that_names_the_page(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FeatherlightError, match=r"cannot write .*report\.html"):
        write_report(tmp_path / "file" / "report.html", evaluation(["a", "b"]))
