"""The page of an export: does the file give the answers of its model, and where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featherlight.report.rendering import load_template, thumbnail, write_page
from featherlight.sources.base import RGBImage
from featherlight.verification import FEW_IMAGES, TIE_MARGIN, Disagreement, Verification


@dataclass(frozen=True)
class ExportFacts:
    """What was exported.

    Attributes:
        model: name of the model file.
        target: as ``--to`` takes it.
        input: ``image`` or ``tensor``.
        size_bytes: of the exported files.
        model_bytes: of the model file.
        command: that exports it again.
    """

    model: str
    target: str
    input: str
    size_bytes: int
    model_bytes: int
    command: str


@dataclass(frozen=True)
class Pictured:
    """An image that is named differently, and its pixels, RGB uint8 (H, W, 3)."""

    disagreement: Disagreement
    image: RGBImage


def write_export_page(
    path: Path,
    verification: Verification,
    facts: ExportFacts,
    pictured: Sequence[Pictured] = (),
    explanation: Sequence[str] = (),
    lang: str = "en",
) -> None:
    """Writes the page; it loads nothing else.

    Args:
        path: the HTML file.
        verification: the result.
        facts: what was exported.
        pictured: some of the images that are named differently.
        explanation: what the graph passes did, in lines.
        lang: language of the page: ``en`` or ``zh``.

    Raises:
        UsageError: no such language.
    """
    page = load_template("export.html", lang).render(
        verification=verification,
        facts=facts,
        pictured=[(one.disagreement, thumbnail(one.image)) for one in pictured],
        explanation=explanation,
        few_images=FEW_IMAGES,
        tie_margin=TIE_MARGIN,
    )
    write_page(path, page)
