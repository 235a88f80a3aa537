"""What all pages are made with: templates with every value escaped, thumbnails inside the page, words for numbers."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from PIL import Image

from featherlight.files import write_text
from featherlight.phrases import counted
from featherlight.report.texts import texts
from featherlight.sources.base import RGBImage

THUMBNAIL_SIZE = 96


def load_template(name: str, lang: str = "en") -> Template:
    """A page's template; what it is not given is an error. In it ``say`` says a text in the language ``lang``."""
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        percent=percent, count=counted, tail=tail, bytes=size, quantity=quantity, ms=milliseconds
    )
    environment.globals["say"] = texts(lang)
    return environment.get_template(name)


def write_page(path: Path, page: str) -> None:
    """Writes a page. File names that are no UTF-8 reach us as lone surrogates, which UTF-8 cannot hold."""
    write_text(path, page.encode("utf-8", "replace").decode("utf-8"))


def thumbnail(image: RGBImage, quality: int = 85) -> str:
    """A JPEG of at most 96 px as a data URL; small images keep their size."""
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def percent(fraction: float, decimals: int = 1) -> str:
    """``12.3%``; less than everything is never rounded to everything."""
    text = f"{fraction:.{decimals}%}"
    if fraction < 1 and text.startswith("100"):
        finer = 10 ** (decimals + 1)
        return f"{math.floor(fraction * 100 * finer) / finer:.{decimals + 1}f}%"
    return text


def size(count: float) -> str:
    """``1.43 MB``."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} B"


def quantity(count: float) -> str:
    """``352 k``, ``41.7 M``."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f}"


def milliseconds(number: float) -> str:
    """``3.21 ms``."""
    return f"{number:,.0f} ms" if number >= 100 else f"{number:.3g} ms"


def tail(path: str) -> str:
    """The folder and the name of a file: the part that tells it from its neighbours."""
    return "/".join(path.replace("\\", "/").split("/")[-2:])
