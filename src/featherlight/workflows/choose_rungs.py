"""Successive halving as arithmetic: how many networks each round has, and how long they train in it.

Jamieson and Talwalkar 2016 (arXiv 1502.07943), with a third of the networks kept after each round instead of a half.
Every network goes on from where it stands, so a round costs only what it adds.
"""

from __future__ import annotations

from collections.abc import Sequence

KEEP = 3  # one of so many goes on, and has trained so many times as long at the end of the next round


def rung_sizes(count: int) -> list[int]:
    """How many networks train in each round, the last of them alone.

    >>> rung_sizes(9), rung_sizes(5), rung_sizes(1)
    ([9, 3, 1], [5, 2, 1], [1])
    """
    sizes = [count]
    while sizes[-1] > 1:
        sizes.append(max(1, round(sizes[-1] / KEEP)))
    return sizes


def rung_work(sizes: Sequence[int]) -> list[int]:
    """What each round costs, in units of the first round's length for one network.

    >>> rung_work([9, 3, 1])
    [9, 6, 6]
    """
    return [size * _added(number) for number, size in enumerate(sizes)]


def rung_end(sizes: Sequence[int], number: int, before_s: float, left_s: float) -> float:
    """Seconds of training in all that a network has at the end of a round, so that the time left is used up.

    Args:
        sizes: of all rounds.
        number: of the round that begins.
        before_s: seconds of training that its networks have had.
        left_s: seconds of training that are left for all of them.
    """
    work = sum(size * _added(ahead) for ahead, size in enumerate(sizes[number:]))
    return (left_s + sizes[number] * before_s) / work


def _added(ahead: int) -> int:
    """How many lengths of the first of some rounds a network trains in the one that comes so much later."""
    return 1 if ahead == 0 else (KEEP - 1) * int(KEEP ** (ahead - 1))
