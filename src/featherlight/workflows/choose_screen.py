"""Before training: which networks can keep the limits at all, and which of them are worth the time there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from featherlight.choosing import show_latency
from featherlight.console import counting
from featherlight.device_profile import DeviceProfile
from featherlight.errors import UsageError
from featherlight.models.catalogue import model_info
from featherlight.phrases import phrase
from featherlight.sources.base import Source
from featherlight.training.defaults import DataFacts, default_recipe
from featherlight.training.recipe import Recipe
from featherlight.workflows.choose_hopes import expected_top1, hope, training_s
from featherlight.workflows.choose_measure import count_network, latency_in_profile, measure_untrained
from featherlight.workflows.choose_rungs import rung_sizes, rung_work
from featherlight.workflows.choose_state import Entry, State

ENOUGH_IMAGES = 100_000  # that each network should see before it is judged: after 45,000 the smallest still lead
ENOUGH_EPOCHS = 4  # or so many epochs of fewer images
MIN_RUNG_S = 1.0
MOST_STARTERS = 12
TRAINING_SHARE = 0.75  # of the time, about; the rest is for measuring and exporting
MEASURING_SHARE = 0.25  # of the time at most, once there is a network to train
FAR_TOO_SLOW = 1.3  # times the limit: larger networks of the family are not measured any more
LEAST_STORED = 0.85  # of the parameters: batch norm's go into those of convolutions
SIZE_POWER = 0.15  # accuracy falls so with the image's side: MobileNetV1 at 128 px has 0.92 of what it has at 224


def recipe_for(state: State, facts: DataFacts, entry: Entry, time_s: float) -> Recipe:
    """The default recipe of a candidate, as long as it is to train."""
    own = {"model": entry.model, "input_size": entry.input_size, "time_s": time_s}
    shared = {**state.order.settings, "seed": state.order.seed, "hold_out": state.hold_out}
    recipe = default_recipe(facts, {**shared, **entry.settings, **own})
    return replace(recipe, pretrained=entry.pretrained or recipe.pretrained)


def list_entries(state: State, facts: DataFacts, num_classes: int) -> None:
    """Writes every network at every image size into the state, counted; the most hopeful first."""
    order = state.order
    usual = default_recipe(facts, {**order.settings, "model": order.models[0], "time_s": order.time_s})
    sizes = order.input_sizes or (usual.input_size,)
    entries = {}
    with counting("counting networks", len(order.models) * len(sizes), "networks") as advance:
        for model in order.models:
            for size in sizes:
                entry = Entry(model, size)
                entry.macs, entry.params = count_network(recipe_for(state, facts, entry, 60.0), num_classes)
                entry.expected = round(expected_top1(model, size) * (size / max(sizes)) ** SIZE_POWER, 4)
                entries[name_of(model, size)] = entry
                advance(1)
    hopes = {name: hope(one.expected, one.macs, one.input_size, order.time_s / 2) for name, one in entries.items()}
    behind = {name: bool(_better(name, entries)) for name in entries}
    state.entries = {name: entries[name] for name in sorted(entries, key=lambda name: (behind[name], -hopes[name]))}


def name_of(model: str, size: int) -> str:
    """``shufflenet_v2_x0_5-96``: of a candidate and its folder."""
    return f"{model.replace('/', '-')}-{size}"


def screen(state: State, source: Source, facts: DataFacts, profile: DeviceProfile | None) -> None:
    """Drops what cannot keep the limits, and of the rest what there is no time for; the others become starters.

    Networks are taken in the order of hope; each is exported and timed, until there are enough that fit or the time is
    over.
    """
    _drop_by_count(state)
    alive = [name for name, entry in state.entries.items() if not entry.dropped]
    wanted = count_starters(state, alive, len(source.splits["train"]))
    accepted: list[str] = []
    with counting("measuring networks", len(alive), "networks") as advance:
        for name in alive:
            entry = state.entries[name]
            entry.dropped = _why_not_tried(name, state, accepted, wanted) or measure_entry(
                entry, state, source.classes, facts, profile
            )
            if not entry.dropped:
                accepted.append(name)
            state.save()
            advance(1)
    state.starters = accepted
    if not accepted and state.left_s > 0:
        _measure_nearest(state, source, facts, profile)
    state.save()


def _measure_nearest(state: State, source: Source, facts: DataFacts, profile: DeviceProfile | None) -> None:
    """Of networks that all break a limit, gives the nearest one its real figures, so that the answer can name them."""
    limits = state.order.limits

    def excess(entry: Entry) -> float:
        size = _least_bytes(entry, state) if entry.size_bytes is None else entry.size_bytes
        return limits.excess(entry.latency_ms, size, entry.macs)

    broken = [entry for entry in state.entries.values() if excess(entry) > 1]
    if broken:
        nearest = min(broken, key=excess)
        nearest.dropped = measure_entry(nearest, state, source.classes, facts, profile) or nearest.dropped


def measure_entry(
    entry: Entry, state: State, classes: Sequence[str], facts: DataFacts, profile: DeviceProfile | None
) -> str:
    """Latency and size of a candidate, into its entry; returns which limit they break, or nothing."""
    order = state.order
    if profile is not None:
        entry.latency_ms = latency_in_profile(profile, order, entry.model, entry.input_size)
        if entry.latency_ms is None:
            return phrase("not in the device profile")
    if entry.size_bytes is None or entry.latency_ms is None:
        try:
            found = measure_untrained(order, recipe_for(state, facts, entry, 60.0), classes, timed=profile is None)
        except UsageError as error:
            return phrase("cannot be exported: {error}", error=error)
        entry.size_bytes, entry.export_s = found.size_bytes, found.export_s
        entry.latency_ms = found.latency_ms if profile is None else entry.latency_ms
    return order.limits.broken_by(entry.latency_ms, entry.size_bytes, entry.macs)


def count_starters(state: State, names: Sequence[str], num_train: int) -> int:
    """How many networks the time allows to start, so that each sees enough images before it is judged."""
    for count in range(min(MOST_STARTERS, len(names)), 1, -1):
        work = rung_work(rung_sizes(count + state.order.trials))
        first_s = TRAINING_SHARE * state.order.time_s / sum(work)
        entries = [state.entries[name] for name in names[:count]]
        images = min(ENOUGH_IMAGES, ENOUGH_EPOCHS * num_train)
        needed = max(images * training_s(entry.macs, entry.input_size) for entry in entries)
        if first_s >= max(MIN_RUNG_S, needed):
            return count
    return 1


def _drop_by_count(state: State) -> None:
    """What breaks a limit by its parameters or MACs alone needs no measuring."""
    for entry in state.entries.values():
        found = state.order.limits.broken_by(None, _least_bytes(entry, state), entry.macs)
        entry.dropped = entry.dropped or found


def _least_bytes(entry: Entry, state: State) -> int:
    """What the exported weights take at least."""
    of_parameter = 1 if state.order.int8 else 2 if state.order.half_weights else 4
    return int(LEAST_STORED * entry.params * of_parameter)


def _why_not_tried(name: str, state: State, accepted: Sequence[str], wanted: int) -> str:
    entry, limit = state.entries[name], state.order.limits.latency_ms
    for other, sibling in state.entries.items():
        slow = sibling.latency_ms if limit is not None and _is_sibling(sibling, entry) else None
        if slow is not None and limit is not None and slow > FAR_TOO_SLOW * limit:
            return phrase(
                "larger than {other}, which takes {latency} where {limit} are allowed",
                other=other, latency=show_latency(slow), limit=show_latency(limit),
            )  # fmt: skip
    if state.left_s <= 0:
        return phrase("no time: it was over before this one was measured")
    if accepted and (len(accepted) >= wanted or state.spent_s > MEASURING_SHARE * state.order.time_s):
        better = _better(name, {one: state.entries[one] for one in [*accepted, name]})
        if better:
            return phrase(
                "no time: {better} is published as no less accurate, with no more MACs and parameters", better=better
            )
        return phrase("no time: behind {number} by published accuracy and size", number=len(accepted))
    return ""


def _is_sibling(small: Entry, large: Entry) -> bool:
    one, other = model_info(small.model), model_info(large.model)
    same = one.family == other.family and small.input_size == large.input_size
    return same and small is not large and small.macs <= large.macs and small.params <= large.params


def _better(name: str, entries: dict[str, Entry]) -> str:
    """A network at this image size that is at least as accurate, small and cheap, and in one of these better."""
    this = entries[name]
    for other, entry in entries.items():
        pairs = ((entry.expected, this.expected), (-entry.macs, -this.macs), (-entry.params, -this.params))
        if entry.input_size == this.input_size and all(a >= b for a, b in pairs) and any(a > b for a, b in pairs):
            return other
    return ""


def check_profile(profile: DeviceProfile, state: State) -> None:
    """Refuses early what would drop every network.

    Raises:
        UsageError: the device profile has none of these networks.
    """
    sizes = sorted({row.input_size for row in profile.measurements})
    found = [
        entry
        for entry in state.entries.values()
        if latency_in_profile(profile, state.order, entry.model, entry.input_size) is not None
    ]
    if not found:
        asked = sorted({entry.input_size for entry in state.entries.values()})
        raise UsageError(
            f"{state.order.device_profile}: has no such network at {', '.join(map(str, asked))} px, one image at "
            f"a time, for {state.order.target}; it has sizes {', '.join(map(str, sizes)) or 'none'}. Choose one with "
            "--input-size, or measure there: featherlight benchmark NAME --input-size S --save-profile FILE"
        )
