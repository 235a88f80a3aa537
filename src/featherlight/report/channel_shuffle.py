"""Channel shuffle, channel by channel and as text, after Fig. 1 of Zhang et al. 2018 (arXiv 1707.01083).

Channels are named by the group they come from and their place in it: ``a1 a2 a3 | b1 b2 b3``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from string import ascii_lowercase

from featherlight.errors import UsageError

_LINE = 100  # characters; longer rows are shortened
_MAX_TABLE_ROWS = 24
_MAX_CHANNELS = 4096


@dataclass(frozen=True)
class ChannelShuffle:
    """The permutation that ShuffleNet does between two grouped convolutions.

    Attributes:
        groups: of both convolutions.
        channels: of the features between them.

    Raises:
        UsageError: the groups do not divide the channels.
    """

    groups: int
    channels: int

    def __post_init__(self) -> None:
        if self.groups < 1 or not 1 <= self.channels <= _MAX_CHANNELS:
            raise UsageError(f"give at least 1 group, and from 1 to {_MAX_CHANNELS:,} channels")
        if self.channels % self.groups:
            below = self.channels // self.groups * self.groups
            fitting = f"{below} or {below + self.groups}" if below else str(self.groups)
            raise UsageError(f"{self.groups} groups cannot share {self.channels} channels; {fitting} could be shared")

    @property
    def per_group(self) -> int:
        """Channels of a group."""
        return self.channels // self.groups

    @property
    def order(self) -> list[int]:
        """Where each shuffled channel comes from: transposing a (groups, per_group) table does this."""
        return [(k % self.groups) * self.per_group + k // self.groups for k in range(self.channels)]

    def group_of(self, channel: int) -> int:
        """Group of the first convolution that made ``channel``."""
        return channel // self.per_group

    def name(self, channel: int) -> str:
        """``a1``, ``a2``, ..., ``b1``; after group z comes aa."""
        return f"{_letters(self.group_of(channel))}{channel % self.per_group + 1}"

    def by_group(self, channels: Sequence[int]) -> list[list[int]]:
        """Cuts channels into the groups of the second convolution."""
        return [list(channels[start : start + self.per_group]) for start in range(0, self.channels, self.per_group)]

    def origins(self, channels: Sequence[int]) -> list[int]:
        """How many of ``channels`` come from each group of the first convolution."""
        counts = [0] * self.groups
        for channel in channels:
            counts[self.group_of(channel)] += 1
        return counts


def shuffle_text(shuffle: ChannelShuffle) -> str:
    """The picture in plain text."""
    g, n, c = shuffle.groups, shuffle.per_group, shuffle.channels
    plain, order = list(range(c)), shuffle.order
    groups = "1 group" if g == 1 else f"{g} groups"
    return "\n\n".join(
        [
            f"{c} channels in {groups} of {n}. A grouped convolution sees one group at a time.",
            f"without shuffle\n{_row(shuffle, plain)}\n  {what_is_seen(shuffle, plain)}",
            f"with shuffle\n{_row(shuffle, order)}\n  {what_is_seen(shuffle, order)}",
            *_tables(shuffle),
            f"in PyTorch  x.view(-1, {g}, {n}, height, width).transpose(1, 2).reshape(-1, {c}, height, width)\n"
            f"in words    output k is input (k % {g}) * {n} + k // {g}, counted from 0\n",
        ]
    )


def _row(shuffle: ChannelShuffle, channels: Sequence[int]) -> str:
    groups = [[shuffle.name(channel) for channel in group] for group in shuffle.by_group(channels)]
    line = "  " + " | ".join(map(" ".join, groups))
    if len(line) <= _LINE:
        return line
    return "\n".join(f"  group {number}: {_shortened(names)}" for number, names in enumerate(groups, start=1))


def _shortened(names: Sequence[str]) -> str:
    return " ".join(names if len(names) <= 14 else [*names[:10], "...", *names[-2:]])


def what_is_seen(shuffle: ChannelShuffle, channels: Sequence[int]) -> str:
    """Which groups of the first convolution reach each group of the second, in words."""
    counts = [shuffle.origins(group) for group in shuffle.by_group(channels)]
    reached = min(sum(count > 0 for count in origins) for origins in counts)
    if shuffle.groups == 1:
        return "the one group sees every channel"
    if reached == 1:
        return "each group sees what one group before it made"
    if reached < shuffle.groups:
        return f"each group sees channels of {reached} of the {shuffle.groups} groups before it"
    lowest, highest = min(map(min, counts)), max(map(max, counts))
    number = str(lowest) if lowest == highest else f"{lowest} to {highest}"
    return f"each group sees {number} from each of the {shuffle.groups} groups before it"


def _tables(shuffle: ChannelShuffle) -> list[str]:
    """The (g, n) table beside its transpose, where they are small enough to read."""
    g, n = shuffle.groups, shuffle.per_group
    width = max(len(shuffle.name(channel)) for channel in range(shuffle.channels))
    if (g + n) * (width + 1) > _LINE - 10 or max(g, n) > _MAX_TABLE_ROWS:
        return []
    names = [shuffle.name(channel).ljust(width) for channel in range(shuffle.channels)]
    left = [" ".join(names[row * n : (row + 1) * n]) for row in range(g)]
    right = [" ".join(names[column::n]) for column in range(n)]
    arrows = ["  ->  ", *["      "] * (max(g, n) - 1)]
    lines = [
        f"  {a.ljust(len(left[0]))}{arrow}{b}".rstrip()
        for a, arrow, b in zip_longest(left, arrows, right, fillvalue="")
    ]
    return ["\n".join([f"reshape to {g} x {n}, transpose, read row by row", *lines])]


def _letters(group: int) -> str:
    """0 -> a, 25 -> z, 26 -> aa."""
    letters = ""
    group += 1
    while group:
        group, rest = divmod(group - 1, len(ascii_lowercase))
        letters = ascii_lowercase[rest] + letters
    return letters
