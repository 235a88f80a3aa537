from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featherlight.errors import FeatherlightError
from featherlight.metrics import Evaluation, evaluate_logits
from featherlight.report import Mistake, write_report

HOSTILE = [
    "<script>alert(1)</script>",
    "\"' onerror=alert(1) x='",
    "new\nline & 猫 \u202e \udcff",
    "{{ 7 * 7 }}",
    "</style>",
]
VOID = {"meta", "link", "img", "path", "circle"}


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


def mistake(probability: float = 0.9, shape: tuple[int, int, int] = (40, 60, 3), **names: str) -> Mistake:
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
    assert page.texts("dt") == ["Top-5 accuracy", "Macro F1", "Loss", "Images", "Classes", "Temperature"]
    assert page.texts("dd")[:4] == [f"{result.top5:.1%}", f"{result.macro_f1:.1%}", f"{result.loss:.3f}", "200"]
    assert page.texts("li") == ["a.png empty file"]


def test_sections_come_in_order_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    result = evaluation(["a", "b"])
    page, _ = full(tmp_path, result)
    always = ["Top-1 accuracy", "Training", "Confusion matrix", "Most confused", "Classes"]
    assert page.texts("h2") == [*always, "Worst mistakes", "Recipe", "Do it again"]
    bare, _ = render(tmp_path, result)
    assert bare.texts("h2") == [title for title in always if title != "Training"]


def test_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    page, text = full(tmp_path, evaluation(["a", "b"]))
    references = [
        attrs[key]
        for _, attrs, _ in page.elements
        for key in ("src", "href", "srcset", "data", "action")
        if key in attrs
    ]
    assert len(references) == 37  # the empty icon and the thumbnails
    assert all(reference.startswith("data:") for reference in references)
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


@pytest.mark.parametrize("num_classes", [31, 100])
def test_many_classes_have_tooltips_instead_of_numbers(tmp_path: Path, num_classes: int) -> None:
    result = evaluation([f"class {i}" for i in range(num_classes)], num_images=num_classes * 10)
    page, _ = render(tmp_path, result)
    cells = page.texts("td")[1 : 1 + num_classes**2]
    assert set(cells) == {""}
    tooltips = {attrs["title"] for attrs in page.attributes("td") if "title" in attrs}
    assert f"class 3 → class 3: {result.confusion_matrix[3][3]} of 10" in tooltips
    assert len(tooltips) == np.count_nonzero(result.confusion_matrix)


def test_more_classes_than_fit_show_the_confused_ones(tmp_path: Path) -> None:
    labels = np.arange(150)
    predicted = np.where(labels < 148, labels, 297 - labels)  # the last two are taken for each other
    names = [f"class {i}" for i in labels]
    where = {"model": "m", "data": "d", "split": "test", "engine": "torch"}
    page, text = render(tmp_path, evaluate_logits(np.eye(150)[predicted], labels, names, **where))
    assert "Only the 100 classes in most confusions are shown." in text
    assert [attrs["title"] for attrs in page.attributes("th") if "title" in attrs][98:100] == ["class 148", "class 149"]


def test_ten_thousand_classes_stay_a_small_page(tmp_path: Path) -> None:
    labels = np.arange(0, 10_000, 5)
    wrong = labels % 2 == 1
    names = [f"class {i}" for i in range(10_000)]
    where = {"model": "m", "data": "d", "split": "test", "engine": "torch"}
    logits = np.zeros((len(labels), 10_000), np.float32)
    logits[np.arange(len(labels)), np.where(wrong, labels + 2, labels)] = 1
    page, text = render(tmp_path, evaluate_logits(logits, labels, names, **where))
    assert "Only the 100 classes in most confusions are shown." in text
    assert "The 1,000 classes with the lowest F1 are listed; evaluation.json has all." in text
    assert len(page.texts("th", scope="row")) == 100 + 10 + 1000
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_large_evaluation_stays_a_small_page(tmp_path: Path) -> None:
    result = evaluation([f"a rather long class name, number {i}" for i in range(100)], num_images=10_000, spread=3.0)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (300, 200, 3), dtype=np.uint8)  # the worst case for JPEG
    wrong = [Mistake(f"test/{i}.png", noise, "a", "b", 0.9) for i in range(4000)]
    render(tmp_path, result, mistakes=wrong, history=HISTORY * 200)
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


def test_most_confident_mistakes_come_first(tmp_path: Path) -> None:
    mistakes = [mistake(p, path=f"folder/test/{p}.png") for p in (0.5, 0.9, 0.7)]
    page, _ = render(tmp_path, evaluation(["a", "b"]), mistakes=mistakes)
    assert page.texts("p", title="folder/test/0.9.png") == ["test/0.9.png"]
    shown = [text for text in page.texts("p") if text.startswith("Said")]
    assert shown == ["Said b 90.0%", "Said b 70.0%", "Said b 50.0%"]


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
    assert page.texts("td")[-4:] == ["0", "–", "–", "–"]


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
    assert {attrs["aria-labelledby"] for _, attrs, _ in page.elements if "aria-labelledby" in attrs} == ids


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
    assert page.texts("summary") == ["1,200 files could not be read"]
    items = page.texts("li")
    assert (len(items), items[-1]) == (101, "and 1,100 more files")


def test_folder_that_cannot_be_written_is_an_error_that_names_the_page(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FeatherlightError, match=r"cannot write .*report\.html"):
        write_report(tmp_path / "file" / "report.html", evaluation(["a", "b"]))
