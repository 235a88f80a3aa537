"""An idea -> text for the screen and a picture for a file."""

from __future__ import annotations

from pathlib import Path

from featherlight.errors import UsageError
from featherlight.files import write_text
from featherlight.report.channel_shuffle import ChannelShuffle, shuffle_text
from featherlight.report.shuffle_picture import shuffle_svg


def explain_channel_shuffle(groups: int, channels: int, out: Path | None = None) -> str:
    """Shows what a channel shuffle does between two grouped convolutions.

    Args:
        groups: of the convolutions.
        channels: between them.
        out: an .svg file to draw it in.

    Returns:
        The picture as text.

    Raises:
        UsageError: the groups do not divide the channels, or ``out`` is no .svg file.
    """
    shuffle = ChannelShuffle(groups, channels)
    if out is not None:
        if out.suffix.lower() != ".svg":
            raise UsageError(f"{out}: the picture is an .svg file")
        write_text(out, shuffle_svg(shuffle))
    return shuffle_text(shuffle)
