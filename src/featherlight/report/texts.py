"""What the pages say: English stands where it is said, its Chinese in ``chinese/``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from featherlight.errors import UsageError
from featherlight.phrases import Counted, Joined, Phrase, counted

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LANGUAGES = ("en", "zh")
_TAGS = {"en": "en", "zh": "zh-CN"}
_COUNTED = "counted"
_MARKS = {", ": "，", "; ": "；", " and ": "和"}
_BETWEEN_NAMES = "、"


@dataclass(frozen=True)
class Texts:
    """Says an English text in the language of a page.

    Attributes:
        lang: ``en`` or ``zh``.
        known: English -> what is said; empty for English.
        nouns: likewise of what is counted, with ``{}`` for the number.
    """

    lang: str
    known: Mapping[str, str]
    nouns: Mapping[str, str]

    def __call__(self, english: str, **values: object) -> str:
        """The text with ``values`` in its braces.

        Raises:
            LookupError: the text has no translation.
        """
        said = self._find(english)
        return said.format(**values) if values else said

    def html(self, english: str, **values: object) -> str:
        """A text with tags of its own, safe to put in a page as it is: ``values`` are escaped."""
        return self._find(english).format(**{name: escape(str(value)) for name, value in values.items()})

    def name(self, word: str) -> str:
        """A word out of data; itself if it has no translation."""
        return self.known.get(word, word)

    def count(self, number: int, noun: str) -> str:
        """``2,000 images``; for Chinese ``2,000 张图片``."""
        return self.nouns[noun].format(f"{number:,}") if self.nouns else counted(number, noun)

    def tell(self, text: str) -> str:
        """A text that says what it was put together from; any other as it is."""
        if not self.known:
            return text
        if isinstance(text, Phrase) and not text.values:
            return self.name(text.template)
        if isinstance(text, Phrase):
            return self(text.template, **{name: self.tell(value) for name, value in text.values.items()})
        if isinstance(text, Counted):
            return self.count(text.number, text.noun)
        if isinstance(text, Joined):
            return _join_chinese([self.tell(part) for part in text.parts], text.separator, text.last)
        return text

    @property
    def tag(self) -> str:
        """The language as HTML names it."""
        return _TAGS[self.lang]

    def _find(self, english: str) -> str:
        if not self.known:
            return english
        if english not in self.known:
            raise LookupError(f"there is no Chinese for: {english!r}")
        return self.known[english]


def _join_chinese(parts: Sequence[str], separator: str, last: str) -> str:
    """``猫、狗和鸟``; beside Latin letters a word has spaces."""
    if separator == last:
        return _MARKS[separator].join(parts)
    mark = _MARKS[last]
    if parts[-2][-1:].isascii() or parts[-1][:1].isascii():
        mark = f" {mark} "
    return mark.join([_BETWEEN_NAMES.join(parts[:-1]), parts[-1]])


def check_language(lang: str) -> None:
    """Refuses a language that no page is written in.

    Raises:
        UsageError: there is none of that name.
    """
    if lang not in LANGUAGES:
        raise UsageError(f"unknown language {lang!r}; there are: {', '.join(LANGUAGES)}")


@cache
def texts(lang: str = "en") -> Texts:
    """The texts of a language.

    Raises:
        UsageError: there is none of that name.
    """
    check_language(lang)
    if lang == "en":
        return Texts(lang, {}, {})
    files = sorted(Path(__file__).with_name("chinese").glob("*.toml"))
    sections = [section for file in files for section in tomllib.loads(file.read_text(encoding="utf-8")).items()]
    known = {english: said for name, texts in sections if name != _COUNTED for english, said in texts.items()}
    return Texts(lang, known, dict(sections)[_COUNTED])
