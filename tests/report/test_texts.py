from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

import featherlight.report
from featherlight.errors import UsageError
from featherlight.phrases import counted, joined, phrase
from featherlight.report.texts import LANGUAGES, check_language, texts
from featherlight.sources.findings import KINDS, SEVERITIES
from featherlight.sources.findings.checked import SPLITS

ROOM = Path(featherlight.report.__file__).parent


def phrases() -> set[str]:
    """Every template of a sentence in a result."""
    found = set()
    texts_of = (path.read_text(encoding="utf-8") for path in ROOM.parent.rglob("*.py"))
    for text in (text for text in texts_of if "phrase(" in text):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "phrase":
                found |= {argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    return found


def said() -> set[str]:
    """Every text that a template or a figure says by name."""
    found = set()
    for path in [*ROOM.rglob("*.html"), *ROOM.glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        found |= {match.group(2) for match in re.finditer(r"""\bsay(?:\.html)?\(\s*(["'])(.+?)\1\s*[,)]""", text)}
    return found


def test_every_text_has_a_translation() -> None:
    known = texts("zh").known
    assert len(said()) > 200
    assert said() - known.keys() == set()


def test_every_sentence_of_a_result_has_a_translation() -> None:
    known = texts("zh").known
    assert len(phrases()) > 100
    assert phrases() - known.keys() == set()


def test_words_that_results_are_made_of_have_a_translation() -> None:
    kinds = {word for kind, title in KINDS.items() for word in (kind.replace("_", " "), title)}
    words = kinds | {
        *SEVERITIES,
        *SPLITS,
        "held-out",
        "grey",
        "landscape",
        "image",
        "tensor",
        "empty file",
        "truncated",
    }
    assert words - texts("zh").known.keys() == set()


def test_everything_that_is_counted_has_a_translation() -> None:
    pattern = r"""\b(?:count|counted)\([^"'\n]*["']([a-z -]+)["']\)"""
    rooms = [ROOM, ROOM.parent / "sources" / "findings", ROOM.parent / "comparison"]
    files = [path for room in rooms for path in room.rglob("*") if path.suffix in (".html", ".py")]
    nouns = {noun for path in files for noun in re.findall(pattern, path.read_text(encoding="utf-8"))}
    assert {"image", "class", "file", "held-out image", "pair"} <= nouns
    assert nouns - texts("zh").nouns.keys() == set()


GRAMMAR = {"are", "has", "hold", "them", "they_are"}  # singular or plural, which Chinese does not tell apart


def test_translations_fill_in_the_same_values() -> None:
    for english, chinese in texts("zh").known.items():
        names = [
            sorted(name for _, name, _, _ in string.Formatter().parse(text) if name) for text in (english, chinese)
        ]
        assert sorted(set(names[0]) - GRAMMAR) == sorted(set(names[1])), english
        assert sorted(re.findall("</?[a-z]+", english)) == sorted(re.findall("</?[a-z]+", chinese)), english


def test_translations_are_chinese() -> None:
    same = {english for english, chinese in texts("zh").known.items() if not re.search("[\u4e00-\u9fff]", chinese)}
    assert {english for english in same if re.search("[A-Za-z]", re.sub(r"\{\w*\}", "", english))} <= {"F1"}


def test_text_without_a_translation_is_an_error_not_a_mixture() -> None:
    assert texts("en")("Something new") == "Something new"
    with pytest.raises(LookupError, match="no Chinese for: 'Something new'"):
        texts("zh")("Something new")


def test_sentence_is_told_in_the_language_of_the_page() -> None:
    made = phrase(
        "{name} also knows {classes} that these images lack: {names}",
        name="runs/a", classes=counted(2, "class"), names=joined(["{cat}", "test"]),
    )  # fmt: skip
    assert texts("en").tell(made) == "runs/a also knows 2 classes that these images lack: {cat} and test"
    assert texts("zh").tell(made) == "runs/a 还认识这些图片中没有的 2 个类别：{cat} 和 test"


def test_clauses_and_names_are_joined_as_chinese_does() -> None:
    assert texts("zh").tell(joined(["a", "b", "c"])) == "a、b 和 c"
    assert texts("zh").tell(joined([phrase("train"), phrase("val")])) == "训练和验证"
    assert texts("zh").tell(joined(["a", "b"], last=", ")) == "a，b"


def test_text_that_nobody_made_of_parts_is_told_as_it_is() -> None:
    assert [texts("zh").tell(text) for text in ("test", phrase("of a kind unknown {"))] == [
        "test", "of a kind unknown {",
    ]  # fmt: skip


def test_values_are_escaped_in_texts_with_tags() -> None:
    for lang in LANGUAGES:
        shown = texts(lang).html("Shows <b>{true}</b>", true="<script>{true}")
        assert "<b>&lt;script&gt;{true}</b>" in shown


def test_numbers_are_counted_in_both_languages() -> None:
    assert [texts("en").count(number, "image") for number in (1, 2000)] == ["1 image", "2,000 images"]
    assert [texts("zh").count(number, "image") for number in (1, 2000)] == ["1 张图片", "2,000 张图片"]


def test_words_out_of_data_are_said_as_they_are_if_unknown() -> None:
    assert [texts("zh").name(word) for word in ("test", "holdout")] == ["测试", "holdout"]


def test_other_languages_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown language 'de'; there are: en, zh"):
        check_language("de")
