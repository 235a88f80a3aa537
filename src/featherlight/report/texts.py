"""What the pages say: English stands where it is said, its Chinese in ``texts.toml``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from featherlight.console import counted
from featherlight.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LANGUAGES = ("en", "zh")
_TAGS = {"en": "en", "zh": "zh-CN"}
_COUNTED = "counted"


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

    @property
    def tag(self) -> str:
        """The language as HTML names it."""
        return _TAGS[self.lang]

    def _find(self, english: str) -> str:
        if not self.known:
            return english
        if english not in self.known:
            raise LookupError(f"texts.toml has no Chinese for: {english!r}")
        return self.known[english]


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
    text = Path(__file__).with_name("texts.toml").read_text(encoding="utf-8")
    sections: dict[str, dict[str, str]] = tomllib.loads(text)
    nouns = sections.pop(_COUNTED)
    return Texts(lang, {english: said for section in sections.values() for english, said in section.items()}, nouns)
