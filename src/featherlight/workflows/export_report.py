"""The page of an export, and what is said when it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from featherlight.engines.exported import IMAGE
from featherlight.errors import GateFailedError, UnreadableImageError
from featherlight.files import publish_file
from featherlight.report.export_page import ExportFacts, Pictured, write_export_page
from featherlight.targets.base import TARGETS
from featherlight.verification import Verification
from featherlight.workflows.export_order import ExportOrder
from featherlight.workflows.verify import Reference

PICTURED = 36  # images named differently that the page shows


def write_page(
    path: Path, order: ExportOrder, reference: Reference, result: Verification, explanation: Sequence[str], size: int
) -> None:
    """Writes the page.

    Args:
        path: the HTML file.
        order: what was asked for.
        reference: the images and what the model says of them.
        result: how the exported file compares.
        explanation: what was done to the network, in lines.
        size: of the exported files, bytes.
    """
    pictured = []
    where = {name: k for k, name in enumerate(reference.images.paths)}
    for one in result.disagreements[:PICTURED]:
        try:
            pictured.append(Pictured(one, reference.images.read(where[one.path])))
        except UnreadableImageError:  # it could be read a moment ago; the page can do without it
            continue
    model_bytes = order.model.stat().st_size
    facts = ExportFacts(order.model.name, order.to, order.input, size, model_bytes, order.command)
    write_export_page(path, result, facts, pictured, explanation, order.lang)


def refuse(order: ExportOrder, result: Verification, page: Path) -> GateFailedError:
    """Keeps the page beside the place that the model did not get, and says what to try."""
    report = order.out.with_name(f"{order.out.stem}-failed.html")
    publish_file(page, report)
    return GateFailedError(
        f"not exported, since the file gives other answers than its model: {'; '.join(result.problems)}. "
        f"{_advice(order)} Details: {report}"
    )


def _advice(order: ExportOrder) -> str:
    if order.int8:
        return f"Fine-tune it for int8: featherlight train --quantize-aware {order.model}; or leave out --int8."
    if order.half_weights:
        return "Try it without --half-weights."
    if order.input == IMAGE:
        return "Try --input tensor, which leaves resizing to your program."
    return f"Try another target than {order.to}." if len(TARGETS) > 1 else ""
