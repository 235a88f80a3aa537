"""Channel shuffle as a picture: two grouped convolutions without a shuffle between them, and with one."""

from __future__ import annotations

from collections.abc import Sequence

from featherlight.report.channel_shuffle import ChannelShuffle, what_is_seen

_COLOURS = ("#0f766e", "#d97706", "#4f46e5", "#e11d48", "#0284c7", "#65a30d", "#a21caf", "#78716c")
_INK, _QUIET, _PALE = "#1e293b", "#64748b", "#94a3b8"

_LABELS = 116  # left of the boxes
_MARGIN, _PANEL_GAP = 28, 56
_TITLE_Y, _FIRST_ROW_Y, _BOX_HEIGHT, _ROW_STEP = 36, 62, 26, 88
_ROWS = [_FIRST_ROW_Y + _ROW_STEP * row for row in range(4)]
_PANEL_HEIGHT = _ROWS[-1] + _BOX_HEIGHT + 40
_WIDEST_SIDE_BY_SIDE = 560
_LINED_UP_TO = 8  # channels of a group; more lines are a blur


def shuffle_svg(shuffle: ChannelShuffle) -> str:
    """Draws four rows of channels, coloured by the group of the first convolution that made them."""
    spans = _Spans(shuffle)
    side_by_side = spans.width <= _WIDEST_SIDE_BY_SIDE
    step_x, step_y = (spans.width + _PANEL_GAP, 0) if side_by_side else (0, _PANEL_HEIGHT)
    width = 2 * _MARGIN + _LABELS + spans.width + step_x
    height = _PANEL_HEIGHT + step_y + 8
    panels = [_panel(shuffle, spans, "Without shuffle", list(range(shuffle.channels)))]
    panels.append(_panel(shuffle, spans, "With channel shuffle", shuffle.order))
    labels = [_labels()] if side_by_side else [_labels(), _labels()]
    drawn = [_moved(_MARGIN, number * step_y, text) for number, text in enumerate(labels)]
    drawn += [
        _moved(_MARGIN + _LABELS + number * step_x, number * step_y, panel) for number, panel in enumerate(panels)
    ]
    groups = "1 group" if shuffle.groups == 1 else f"{shuffle.groups} groups"
    what = f"Channel shuffle of {shuffle.channels} channels in {groups}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="{what}" font-family="system-ui, Helvetica, Arial, sans-serif">\n'
        f'<title>{what}</title>\n<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


class _Spans:
    """Where boxes stand, from left to right."""

    def __init__(self, shuffle: ChannelShuffle) -> None:
        self.box = max(3.0, min(28.0, 480 / shuffle.channels))
        self.gap = 3.0 if self.box > 10 else 0.5
        self.group_gap = min(18.0, 120 / shuffle.groups)
        self.per_group = shuffle.per_group
        self.width = self.right(shuffle.channels - 1)

    def left(self, place: int) -> float:
        """Left edge of the box at ``place``."""
        return place * (self.box + self.gap) + place // self.per_group * self.group_gap

    def right(self, place: int) -> float:
        """Right edge."""
        return self.left(place) + self.box

    def middle(self, place: int) -> float:
        """Centre."""
        return self.left(place) + self.box / 2


def _labels() -> str:
    """What the rows are, and what happens between them."""
    rows = ("input", "features", "input of conv 2", "output")
    between = ("grouped conv 1", "channel order", "grouped conv 2")
    middle = _BOX_HEIGHT / 2 + 4
    parts = [_text(0, top + middle, words, 13, _INK) for top, words in zip(_ROWS, rows, strict=True)]
    tops = [top + _ROW_STEP / 2 for top in _ROWS]
    parts += [_text(0, top + middle, words, 12, _QUIET) for top, words in zip(tops, between, strict=False)]
    return "\n".join(parts)


def _panel(shuffle: ChannelShuffle, spans: _Spans, title: str, order: Sequence[int]) -> str:
    plain = list(range(shuffle.channels))
    first, second, third, last = _ROWS
    groups = range(shuffle.groups)
    return "\n".join(
        [
            _text(0, _TITLE_Y, title, 18, _INK, weight=600),
            *(_convolution(spans, group, first, _colour(shuffle, group)) for group in groups),
            *(_thread(spans, a, b, second, _colour_of(shuffle, a)) for b, a in enumerate(order)),
            *(_convolution(spans, group, third, _PALE) for group in groups),
            *_boxes(shuffle, spans, plain, first, faint=True),
            *_boxes(shuffle, spans, plain, second),
            *_boxes(shuffle, spans, order, third),
            *(_mixed(shuffle, spans, seen, group, last) for group, seen in enumerate(shuffle.by_group(order))),
            _text(0, last + _BOX_HEIGHT + 24, f"{what_is_seen(shuffle, order).capitalize()}.", 13, _INK),
        ]
    )


def _boxes(
    shuffle: ChannelShuffle, spans: _Spans, channels: Sequence[int], top: float, *, faint: bool = False
) -> list[str]:
    opacity = ' fill-opacity="0.35"' if faint else ""
    parts = [
        _rectangle(spans.left(place), top, spans.box, f'fill="{_colour_of(shuffle, channel)}"{opacity}')
        for place, channel in enumerate(channels)
    ]
    if spans.box < 20 or faint:
        return parts
    names = [shuffle.name(channel) for channel in channels]
    size = 12 if max(map(len, names)) <= 2 else 10
    middle = top + _BOX_HEIGHT / 2 + 4
    return parts + [
        _text(spans.middle(place), middle, name, size, "#ffffff", 600, "middle") for place, name in enumerate(names)
    ]


def _mixed(shuffle: ChannelShuffle, spans: _Spans, seen: Sequence[int], group: int, top: float) -> str:
    """The outputs of one group: each box shows the groups it was made from."""
    origins = [(origin, count) for origin, count in enumerate(shuffle.origins(seen)) if count]
    parts = []
    for place in range(group * shuffle.per_group, (group + 1) * shuffle.per_group):
        at = top
        for origin, count in origins:
            share = _BOX_HEIGHT * count / shuffle.per_group
            style = f'fill="{_colour(shuffle, origin)}"'
            parts.append(_rectangle(spans.left(place), at, spans.box, style, height=share, corner=0))
            at += share
    return "\n".join(parts)


def _convolution(spans: _Spans, group: int, top: float, colour: str) -> str:
    """A group of a convolution: from each of its channels to each."""
    places = range(group * spans.per_group, (group + 1) * spans.per_group)
    left, right = spans.left(places[0]), spans.right(places[-1])
    upper, height = top + _BOX_HEIGHT, _ROW_STEP - _BOX_HEIGHT
    field = _rectangle(left, upper, right - left, f'fill="{colour}" fill-opacity="0.10"', height, corner=0)
    if len(places) > _LINED_UP_TO:
        return field
    ends = [(spans.middle(a), spans.middle(b)) for a in places for b in places]
    lines = "".join(f"M{a:.5g} {upper:g}L{b:.5g} {upper + height:g}" for a, b in ends)
    return f'{field}<path d="{lines}" stroke="{colour}" stroke-width="0.6" stroke-opacity="0.45" fill="none"/>'


def _thread(spans: _Spans, source: int, place: int, top: float, colour: str) -> str:
    """One channel's way from its place to its next one."""
    start, end = top + _BOX_HEIGHT, top + _ROW_STEP
    a, b, bend = spans.middle(source), spans.middle(place), (start + end) / 2
    width = 2 if spans.box > 10 else 0.8
    curve = f"M{a:.5g} {start:g}C{a:.5g} {bend:g} {b:.5g} {bend:g} {b:.5g} {end:g}"
    return f'<path d="{curve}" stroke="{colour}" stroke-width="{width}" fill="none"/>'


def _rectangle(left: float, top: float, width: float, style: str, height: float = _BOX_HEIGHT, corner: int = 3) -> str:
    radius = f' rx="{corner}"' if corner and width > 10 else ""
    return f'<rect x="{left:.5g}" y="{top:.5g}" width="{width:.4g}" height="{height:.4g}"{radius} {style}/>'


def _text(x: float, y: float, words: str, size: int, colour: str, weight: int = 400, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.5g}" y="{y:.5g}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{words}</text>'
    )


def _moved(x: float, y: float, parts: str) -> str:
    return f'<g transform="translate({x:g} {y:g})">\n{parts}\n</g>'


def _colour_of(shuffle: ChannelShuffle, channel: int) -> str:
    return _colour(shuffle, shuffle.group_of(channel))


def _colour(shuffle: ChannelShuffle, group: int) -> str:
    if shuffle.groups <= len(_COLOURS):
        return _COLOURS[group]
    return f"hsl({360 * group / shuffle.groups:.0f} 55% 42%)"
