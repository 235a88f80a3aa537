"""What all pages are made with: templates with every value escaped, thumbnails inside the page, words for numbers."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from PIL import Image

from featherlight.console import counted
from featherlight.files import write_text
from featherlight.sources.base import RGBImage

THUMBNAIL_SIZE = 96


def load_template(name: str) -> Template:
    """A page's template; what it is not given is an error."""
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, count=counted, tail=tail)
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


def percent(fraction: float) -> str:
    """``12.3%``; less than everything is never rounded to everything."""
    text = f"{fraction:.1%}"
    return f"{math.floor(fraction * 1e4) / 100:.2f}%" if text == "100.0%" and fraction < 1 else text


def tail(path: str) -> str:
    """The folder and the name of a file: the part that tells it from its neighbours."""
    return "/".join(path.replace("\\", "/").split("/")[-2:])
