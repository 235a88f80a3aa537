from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.sources.findings import Checked, Finding, find_all, order_findings
from featherlight.sources.findings.survey import look_at, survey_data

Scene = Callable[..., Image.Image]
Photo = Callable[..., Path]
Found = Callable[..., list[Finding]]


@pytest.fixture
def scene() -> Scene:
    """A smooth picture; those of different seeds look nothing alike."""

    def make(seed: int, width: int = 48, height: int = 40) -> Image.Image:
        coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
        return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)

    return make


@pytest.fixture
def photo(tmp_path: Path, scene: Scene) -> Photo:
    """Writes a scene to ``data/NAME``; the format follows the name."""

    def write(name: str, seed: int, **size: int) -> Path:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(seed, **size).save(path)
        return path

    return write


@pytest.fixture
def checked(tmp_path: Path) -> Callable[..., Checked]:
    """Surveys ``data`` and looks at its images."""

    def look(group_by: str | None = None, input_size: int = 32, data: str = "data") -> Checked:
        survey = survey_data(str(tmp_path / data), group_by)
        facts, splits, duplicates = look_at(survey)
        return Checked(survey, facts, splits, duplicates, input_size)

    return look


@pytest.fixture
def found(checked: Callable[..., Checked]) -> Found:
    """All findings of some kinds, by harm."""

    def find(*kinds: str, **options: object) -> list[Finding]:
        return [finding for finding in order_findings(find_all(checked(**options))) if finding.kind in kinds]

    return find


@pytest.fixture
def names(tmp_path: Path) -> Callable[[Finding], list[str]]:
    """The paths of a finding below ``data``."""
    return lambda finding: [str(Path(path).relative_to(tmp_path / "data")) for path in finding.paths]
