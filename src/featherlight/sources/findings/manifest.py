"""Writes what to train on instead: a manifest of what stays, and a list of what does not and why."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from featherlight.errors import UsageError
from featherlight.files import atomic_path
from featherlight.sources.findings.checked import NOWHERE, SPLITS, Checked
from featherlight.sources.findings.cleaning import Cleaned

MANIFEST_FILE_NAME = "manifest.csv"
REMOVED_FILE_NAME = "removed.csv"


def refuse_unlisted(checked_paths: Sequence[str], data: str) -> None:
    """Refuses data whose images are not files of their own: a manifest could not name them.

    Raises:
        UsageError: an image is neither a file nor at an address.
    """
    for path in checked_paths:
        if not path.startswith(("http://", "https://")) and not os.path.lexists(path):
            raise UsageError(f"--fix: the images of {data} are not files, so no manifest can list them; leave it out")


def write_manifest(folder: Path, checked: Checked, cleaned: Cleaned) -> None:
    """Writes ``manifest.csv`` and ``removed.csv`` into ``folder``.

    The manifest has the columns path (absolute) and label, and split, weight and group where the data has them. Splits
    that training cuts by itself are left to it.
    """
    images, survey = checked.survey.images, checked.survey
    columns = ["path", "label"]
    columns += ["split"] if survey.is_split else []
    columns += ["weight"] if images.weights is not None else []
    columns += ["group"] if images.groups is not None else []

    def row(position: int) -> list[str]:
        values = {"path": _address(images.paths[position]), "label": checked.class_of(position)}
        values["split"] = SPLITS[survey.sides[position]]
        values["weight"] = "" if images.weights is None else repr(float(images.weights[position]))
        values["group"] = "" if images.groups is None else images.groups[position]
        return [values[column] for column in columns]

    _write_rows(folder / MANIFEST_FILE_NAME, columns, map(row, cleaned.kept(len(images))))
    removed = (
        [
            _address(images.paths[position]),
            checked.class_of(position),
            SPLITS[survey.sides[position]],
            out.kind,
            out.reason,
            "" if out.instead == NOWHERE else _address(images.paths[out.instead]),
        ]
        for position, out in sorted(cleaned.left_out.items())
    )
    _write_rows(folder / REMOVED_FILE_NAME, ["path", "label", "split", "kind", "reason", "kept"], removed)


def _write_rows(target: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with (
        atomic_path(target) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _address(path: str) -> str:
    return path if path.startswith(("http://", "https://")) else os.path.abspath(path)
