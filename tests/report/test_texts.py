from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import featherlight.report
from featherlight.errors import UsageError
from featherlight.report.texts import LANGUAGES, check_language, texts

ROOM = Path(featherlight.report.__file__).parent


def said() -> set[str]:
    """Every text that a template or a figure says by name."""
    found = set()
    for path in [*ROOM.rglob("*.html"), *ROOM.glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        found |= {match.group(2) for match in re.finditer(r"""\bsay(?:\.html)?\(\s*(["'])(.+?)\1\s*[,)]""", text)}
    return found


def test_every_text_has_a_translation() -> None:
    known = texts("zh").known
    assert len(said()) > 80
    assert said() - known.keys() == set()


def test_translations_fill_in_the_same_values() -> None:
    for english, chinese in texts("zh").known.items():
        names = [
            sorted(name for _, name, _, _ in string.Formatter().parse(text) if name) for text in (english, chinese)
        ]
        assert names[0] == names[1], english
        assert sorted(re.findall("</?[a-z]+", english)) == sorted(re.findall("</?[a-z]+", chinese)), english


def test_translations_are_chinese() -> None:
    same = {english for english, chinese in texts("zh").known.items() if not re.search("[\u4e00-\u9fff]", chinese)}
    assert same <= {"F1"}


def test_text_without_a_translation_is_an_error_not_a_mixture() -> None:
    assert texts("en")("Something new") == "Something new"
    with pytest.raises(LookupError, match="no Chinese for: 'Something new'"):
        texts("zh")("Something new")


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
