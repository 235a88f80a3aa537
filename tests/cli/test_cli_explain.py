from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


def test_channel_shuffle_is_shown_and_drawn(cli: Cli, tmp_path: Path) -> None:
    picture = tmp_path / "shuffle.svg"
    answer = cli("explain", "channel-shuffle", "--groups", 3, "--channels", 15, "--out", picture)
    assert (answer.code, answer.err) == (0, f"picture  {picture}\n")
    assert "\n  a1 b1 c1 a2 b2 | c2 a3 b3 c3 a4 | b4 c4 a5 b5 c5\n" in answer.out
    assert ET.parse(picture).getroot().attrib["aria-label"] == "Channel shuffle of 15 channels in 3 groups"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["channel-shuffle", "--groups", "3", "--channels", "16"], "3 groups cannot share 16 channels; 15 or 18 could"),
        (["channel-shuffle", "--groups", "0"], "0 is not in the range x>=1"),
        (["channel-shuffle", "--out", "shuffle.png"], "shuffle.png: the picture is an .svg file"),
        (["attention"], "'attention' is not 'channel-shuffle'"),
        ([], "Missing argument"),
    ],
)
def test_wrong_arguments_are_explained(
    cli: Cli, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cli("explain", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not list(tmp_path.iterdir())
