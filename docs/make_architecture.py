"""Draws docs/images/architecture.svg: the rooms of the house, and which of them imports which.

``python docs/make_architecture.py``. Rooms and halves are those that import-linter checks, arrows are the imports that
stand in the code. An arrow that follows from others is left out: where A imports B and B imports C, none from A to C is
drawn. A test says when the picture is no longer true.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import grimp

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
PACKAGE = "featherlight"
BOX, GAP, THREAD = 112, 16, 26  # widths in pixels: of a room, between rooms, of an arrow that passes by
ROW, HEIGHT, MARGIN = 84, 34, 20
COLOURS = {"base": "#99f6e4", "torch": "#fed7aa", "": "#e2e8f0"}
SWEEPS = 40

Arrows = dict[str, set[str]]
Tiers = list[list[str]]


def read_rooms() -> dict[str, str]:
    """Room -> its half (``base``, ``torch`` or neither), from top to bottom, as pyproject.toml tells import-linter."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    order, halves = project["tool"]["importlinter"]["contracts"]
    base = {name.rpartition(".")[2] for name in halves["source_modules"]}
    other = {name.rpartition(".")[2] for name in halves["forbidden_modules"]} - {"workflows"}
    return {room: "base" if room in base else "torch" if room in other | {"timm"} else "" for room in order["layers"]}


def read_imports(rooms: dict[str, str]) -> Arrows:
    """Room -> rooms that its files import."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    for room in rooms:
        graph.squash_module(f"{PACKAGE}.{room}")
    found = {room: graph.find_modules_directly_imported_by(f"{PACKAGE}.{room}") for room in rooms}
    named = {room: {name.rpartition(".")[2] for name in names} for room, names in found.items()}
    return {room: names & rooms.keys() - {room} for room, names in named.items()}


def reduce_arrows(arrows: Arrows) -> Arrows:
    """Without those that follow from others."""
    reached: Arrows = {}

    def reach(room: str) -> set[str]:
        if room not in reached:
            reached[room] = arrows[room].union(*map(reach, arrows[room]))
        return reached[room]

    return {room: used.difference(*map(reach, used)) for room, used in arrows.items()}


def make_tiers(arrows: Arrows) -> Tiers:
    """Each room right under the lowest of those that import it; one that nobody imports right above what it imports."""
    depths: dict[str, int] = {}
    for room in arrows:  # users come first
        depths[room] = 1 + max((depths[user] for user in depths if room in arrows[user]), default=-1)
    for room in arrows:
        if depths[room] == 0 and room != next(iter(arrows)):
            depths[room] = min(depths[used] for used in arrows[room]) - 1
    return [[room for room in arrows if depths[room] == depth] for depth in range(max(depths.values()) + 1)]


def thread(tiers: Tiers, arrows: Arrows) -> Arrows:
    """Cuts arrows that pass tiers into pieces; the places between, ``A>B>TIER``, are put into the tiers."""
    depths = {room: depth for depth, tier in enumerate(tiers) for room in tier}
    pieces: Arrows = {}
    for user, room in ((user, room) for user, used in arrows.items() for room in sorted(used)):
        between = [f"{user}>{room}>{depth}" for depth in range(depths[user] + 1, depths[room])]
        for depth, place in enumerate(between, depths[user] + 1):
            tiers[depth].append(place)
        for above, below in pairwise([user, *between, room]):
            pieces.setdefault(above, set()).add(below)
    return pieces


def untangle(tiers: Tiers, pieces: Arrows) -> Tiers:
    """The order in each tier by which fewest arrows cross, of those that sweeping up and down finds."""
    users: Arrows = {}
    for above, below in ((above, below) for above, used in pieces.items() for below in used):
        users.setdefault(below, set()).add(above)
    best = tiers
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        tiers = sort_tiers(tiers if down else tiers[::-1], users if down else pieces)
        tiers = tiers if down else tiers[::-1]
        best = min(best, tiers, key=lambda one: count_crossings(one, pieces))
    return best


def sort_tiers(tiers: Tiers, neighbours: Arrows) -> Tiers:
    """Each tier by where its neighbours in the tier before stand, in the mean."""
    sorted_tiers = [tiers[0]]
    for tier in tiers[1:]:
        places = {name: (place + 0.5) / len(sorted_tiers[-1]) for place, name in enumerate(sorted_tiers[-1])}
        own = {name: (place + 0.5) / len(tier) for place, name in enumerate(tier)}
        known = {name: [places[one] for one in neighbours.get(name, ()) if one in places] for name in tier}
        means = {name: sum(near) / len(near) if near else own[name] for name, near in known.items()}
        sorted_tiers.append(sorted(tier, key=means.__getitem__))
    return sorted_tiers


def count_crossings(tiers: Tiers, pieces: Arrows) -> int:
    """Pairs of arrows that cross."""
    crossings = 0
    for upper, lower in pairwise(tiers):
        ends = [lower.index(below) for above in upper for below in sorted(pieces.get(above, ()), key=lower.index)]
        crossings += sum(later < earlier for place, earlier in enumerate(ends) for later in ends[place:])
    return crossings


def lay_out(tiers: Tiers, pieces: Arrows) -> dict[str, float]:
    """Where the middle of each room and thread lies from left to right: near what it is joined to, without overlap."""
    joined: Arrows = {}
    for above, below in ((above, below) for above, used in pieces.items() for below in used):
        joined.setdefault(above, set()).add(below)
        joined.setdefault(below, set()).add(above)
    middles = {name: x for tier in tiers for name, x in spread(tier, dict.fromkeys(tier, 0.0)).items()}
    for _ in range(SWEEPS):
        for tier in tiers:
            near = {name: [middles[one] for one in sorted(joined.get(name, ()))] for name in tier}
            wished = {name: sum(xs) / len(xs) if xs else middles[name] for name, xs in near.items()}
            middles.update(spread(tier, wished))
    left = min(middles[name] - width(name) / 2 for name in middles)
    return {name: x - left + MARGIN for name, x in middles.items()}


def spread(tier: list[str], wished: dict[str, float]) -> dict[str, float]:
    """As near to the wishes as the widths allow, half pushed to the right and half to the left."""
    apart = [(width(one) + width(other)) / 2 for one, other in pairwise(tier)]
    right, left = [wished[tier[0]]], [wished[tier[-1]]]
    for name, distance in zip(tier[1:], apart, strict=True):
        right.append(max(wished[name], right[-1] + distance))
    for name, distance in zip(tier[-2::-1], apart[::-1], strict=True):
        left.append(min(wished[name], left[-1] - distance))
    return {name: (one + other) / 2 for name, one, other in zip(tier, right, left[::-1], strict=True)}


def width(name: str) -> int:
    """Of a room or a thread, with the gap beside it."""
    return THREAD if ">" in name else BOX + GAP


def draw(rooms: dict[str, str], arrows: Arrows) -> str:
    """The picture as SVG."""
    tiers = make_tiers(arrows)
    pieces = thread(tiers, arrows)
    tiers = untangle(tiers, pieces)
    xs = lay_out(tiers, pieces)
    ys = {name: MARGIN + ROW * depth for depth, tier in enumerate(tiers) for name in tier}
    wide = max(xs[name] + width(name) / 2 for name in xs) + MARGIN
    lines = [draw_arrow(above, below, xs, ys) for above, used in pieces.items() for below in sorted(used)]
    boxes = [draw_room(room, COLOURS[half], xs[room], ys[room]) for room, half in rooms.items()]
    return "\n".join([*head(wide, max(ys.values()) + HEIGHT + MARGIN), *lines, *boxes, "</svg>", ""])


def head(wide: float, high: float) -> list[str]:
    """The picture's beginning: size, background, the head of an arrow."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" font-family="sans-serif">',
        "<title>The rooms of Featherlight; an arrow leads from a room to one that it imports</title>",
        '<defs><marker id="head" markerWidth="7" markerHeight="6" refX="6" refY="3" orient="auto">'
        '<path d="M0 0 7 3 0 6z" fill="#64748b"/></marker></defs>',
        f'<rect width="{wide:.0f}" height="{high:.0f}" rx="8" fill="white"/>',
    ]


def draw_arrow(above: str, below: str, xs: dict[str, float], ys: dict[str, int]) -> str:
    """One piece of an arrow; threads are passed straight, and only the last piece has a head."""
    x0, y0, x1, y1 = xs[above], ys[above] + HEIGHT, xs[below], ys[below]
    middle = (y0 + y1) / 2
    through, end = ("", ' marker-end="url(#head)"') if ">" not in below else (f" V{y1 + HEIGHT}", "")
    path = f"M{x0:.0f} {y0} C{x0:.0f} {middle:.0f} {x1:.0f} {middle:.0f} {x1:.0f} {y1}{through}"
    return f'<path d="{path}" fill="none" stroke="#64748b"{end}/>'


def draw_room(room: str, colour: str, x: float, y: int) -> str:
    """A box with its name."""
    return (
        f'<rect x="{x - BOX / 2:.0f}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="5" fill="{colour}"/>'
        f'<text x="{x:.0f}" y="{y + HEIGHT / 2 + 4:.0f}" font-size="13" text-anchor="middle">{room}</text>'
    )


def make_picture() -> str:
    """The picture of the code as it is now."""
    rooms = {room: half for room, half in read_rooms().items() if room != "__main__"}
    return draw(rooms, reduce_arrows(read_imports(rooms)))


if __name__ == "__main__":
    PICTURE.write_text(make_picture(), encoding="utf-8")
