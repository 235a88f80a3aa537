from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featherlight.errors import UsageError
from featherlight.models.layers import channel_shuffle
from featherlight.report.channel_shuffle import ChannelShuffle, shuffle_text, what_is_seen

shuffles = st.builds(lambda g, n: ChannelShuffle(g, g * n), st.integers(1, 30), st.integers(1, 30))


@given(shuffles)
def test_order_is_what_the_networks_shuffle_does(shuffle: ChannelShuffle) -> None:
    channels = torch.arange(shuffle.channels).view(1, -1, 1, 1)
    assert channel_shuffle(channels, shuffle.groups).flatten().tolist() == shuffle.order


@given(shuffles)
def test_every_channel_has_a_name_of_its_own_and_keeps_it(shuffle: ChannelShuffle) -> None:
    names = [shuffle.name(channel) for channel in range(shuffle.channels)]
    assert len(set(names)) == shuffle.channels
    assert sorted(shuffle.order) == list(range(shuffle.channels))
    counts = [sum(shuffle.origins(group)) for group in shuffle.by_group(shuffle.order)]
    assert counts == [shuffle.per_group] * shuffle.groups


def test_text_has_the_articles_picture() -> None:
    text = shuffle_text(ChannelShuffle(groups=3, channels=15))
    before, after = text.split("with shuffle\n")
    assert "a1 a2 a3 a4 a5 | b1 b2 b3 b4 b5 | c1 c2 c3 c4 c5\n  each group sees what one group before it made" in before
    assert after.startswith(
        "  a1 b1 c1 a2 b2 | c2 a3 b3 c3 a4 | b4 c4 a5 b5 c5\n"
        "  each group sees 1 to 2 from each of the 3 groups before it\n"
    )


def test_text_shows_the_table_and_its_transpose() -> None:
    text = shuffle_text(ChannelShuffle(groups=2, channels=6))
    assert (
        "reshape to 2 x 3, transpose, read row by row\n"
        "  a1 a2 a3  ->  a1 b1\n"
        "  b1 b2 b3      a2 b2\n"
        "                a3 b3\n"
    ) in text
    assert "x.view(-1, 2, 3, height, width).transpose(1, 2).reshape(-1, 6, height, width)" in text
    assert "output k is input (k % 2) * 3 + k // 2" in text


def test_long_rows_are_shortened_a_group_a_line() -> None:
    text = shuffle_text(ChannelShuffle(groups=3, channels=240))
    assert "  group 2: b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 ... b79 b80\n" in text
    assert "reshape to" not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("groups", "channels", "words"),
    [
        (1, 4, "the one group sees every channel"),
        (2, 8, "each group sees 2 from each of the 2 groups before it"),
        (4, 8, "each group sees channels of 2 of the 4 groups before it"),
        (4, 4, "each group sees what one group before it made"),
    ],
)
def test_what_each_group_sees_is_said(groups: int, channels: int, words: str) -> None:
    shuffle = ChannelShuffle(groups, channels)
    assert what_is_seen(shuffle, shuffle.order) == words


def test_groups_beyond_the_alphabet_have_two_letters() -> None:
    shuffle = ChannelShuffle(groups=28, channels=28)
    assert [shuffle.name(channel) for channel in (0, 25, 26, 27)] == ["a1", "z1", "aa1", "ab1"]


@pytest.mark.parametrize(
    ("groups", "channels", "message"),
    [
        (3, 16, "3 groups cannot share 16 channels; 15 or 18 could be shared"),
        (8, 3, "8 groups cannot share 3 channels; 8 could be shared"),
        (0, 3, "give at least 1 group"),
        (2, 0, "from 1 to 4,096 channels"),
        (2, 10_000, "from 1 to 4,096 channels"),
    ],
)
def test_channels_that_groups_do_not_divide_are_refused(groups: int, channels: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ChannelShuffle(groups, channels)
