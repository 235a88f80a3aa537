"""What a choice found out, put into an answer: the pick, the sentence, what to do next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator

from featherlight.choosing import (
    Candidate,
    Choice,
    Limits,
    Pick,
    show_figures,
    tell_pick,
)
from featherlight.cost.latency import machine_name
from featherlight.device_profile import DeviceProfile
from featherlight.models.catalogue import list_models
from featherlight.phrases import joined, phrase
from featherlight.sources.base import Source
from featherlight.targets.base import find_target
from featherlight.training.metrics_log import read_metrics
from featherlight.workflows.choose_order import Order
from featherlight.workflows.choose_race import standing
from featherlight.workflows.choose_state import Entry, State

ROUNDED_UP = 1.05  # a limit that is proposed is a little above what was measured


def answer(state: State, source: Source, winner: str | None, profile: DeviceProfile | None) -> Choice:
    """The choice as it stands, with the candidates in order: the pick, what was trained, what came near, the rest."""
    order = state.order
    candidates = tuple(_candidate(name, state) for name in _in_order(state, winner))
    pick = None if winner is None else _pick(winner, state, source)
    machine = machine_name() if profile is None else profile.machine
    engine = find_target(order.target).engine
    reached = pick is not None and (order.limits.accuracy is None or pick.accuracy >= order.limits.accuracy)
    if pick is None:
        sentence, *advice = _tell_nothing(state, candidates)
    else:
        where = phrase("in {engine} here", engine=engine)
        if profile is not None:
            where = phrase("in {engine} on {machine} (by its profile)", engine=engine, machine=profile.machine)
        sentence = tell_pick(pick, candidates, state.spent_s, where)
        advice = [*_tell_short(order.limits, pick, state), *_tell_next(pick, state, len(source.splits["val"]))]
    return Choice(
        data=source.name,
        classes=source.classes,
        budget=order.budget(),
        candidates=candidates,
        pick=pick,
        sentence=sentence,
        advice=tuple(advice),
        reached=reached,
        machine=machine,
        spent_s=round(state.spent_s, 1),
        notes=tuple(_notes(state, source, pick, profile)),
        command=command_of(order),
        limits=order.limits,
    )


def command_of(order: Order) -> str:
    """The command that asks for the same again."""
    limits, words = order.limits, ["featherlight", "choose", order.data]
    given: list[tuple[str, object]] = [
        ("--max-latency", limits.latency_ms and f"{limits.latency_ms:g}ms"),
        ("--max-size", limits.size_bytes and f"{limits.size_bytes}B"),
        ("--max-macs", limits.macs),
        ("--min-accuracy", limits.accuracy),
        ("--time", f"{order.time_s:g}s"),
        ("--device-profile", order.device_profile),
        ("--trials", order.trials),
        ("--input-size", ",".join(map(str, order.input_sizes))),
        ("--target", order.target if order.target != "onnx" else ""),
        ("--threads", order.threads),
        ("--seed", order.seed),
    ]
    words += [str(word) for option, value in given if value for word in (option, value)]
    words += ["--int8"] * order.int8 + ["--half-weights"] * order.half_weights
    if order.models != tuple(name for name in list_models() if "." not in name):
        words += [word for name in order.models for word in ("--models", name)]
    for name, value in order.settings.items():
        words += ["--lang", order.lang] if name == "lang" else ["--set", f"{name}={_setting(value)}"]
    return shlex.join(words)


def _setting(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else "none" if value is None else str(value)


def _in_order(state: State, winner: str | None) -> list[str]:
    """The pick, those that are in by accuracy, those that are out: nearest to the limits first."""
    ahead = [winner] if winner is not None else []
    ahead += [name for name in standing(state) if name != winner]
    rest = [name for name in state.entries if name not in ahead]
    limits = state.order.limits

    def distance(name: str) -> tuple[bool, float]:
        entry = state.entries[name]
        return entry.top1 is None, limits.excess(entry.latency_ms, entry.size_bytes, entry.macs)

    return [*ahead, *sorted(rest, key=distance)]


def _candidate(name: str, state: State) -> Candidate:
    entry = state.entries[name]
    curve = tuple((row["seconds"], row["val_top1"]) for row in read_metrics(state.run_of(name))) if entry.rungs else ()
    return Candidate(
        name, entry.model, entry.input_size, entry.settings, entry.latency_ms, entry.size_bytes, entry.macs,
        entry.params, entry.expected, entry.top1, entry.trained_s, entry.dropped or None, curve,
    )  # fmt: skip


def _pick(name: str, state: State, source: Source) -> Pick:
    entry = state.entries[name]
    facts = entry.delivered
    cut_here = "test" in source.own_splits and "val" not in source.own_splits
    return Pick(
        name=name,
        model=entry.model,
        input_size=entry.input_size,
        accuracy=facts["accuracy"],
        interval=tuple(facts["interval"]),
        split="held-out" if cut_here else "test",
        num_images=facts["num_images"],
        validation_accuracy=entry.top1 or 0.0,
        latency_ms=entry.latency_ms,
        size_bytes=entry.size_bytes or 0,
        macs=entry.macs,
        params=entry.params,
        agreement=facts["agreement"],
        files=tuple(str((state.folder / file).absolute()) for file in facts["files"]),
        run=str(state.run_of(name).absolute()),
    )


def _tell_nothing(state: State, candidates: tuple[Candidate, ...]) -> list[str]:
    """No network: which came nearest; and in further lines what would help it."""
    limits = state.order.limits
    known = [one for one in candidates if limits.excess(one.latency_ms, one.size_bytes, one.macs) > 1]
    if not known:
        reasons = [phrase("{name}: {why}", name=one.name, why=one.dropped or "") for one in candidates[:3]]
        return [phrase("No network could be delivered: {reasons}.", reasons=joined(reasons, "; ", "; "))]
    nearest = min(known, key=lambda one: limits.excess(one.latency_ms, one.size_bytes, one.macs))
    figures = show_figures(nearest.latency_ms, nearest.size_bytes, nearest.macs)
    sentence = phrase(
        "No network that was tried keeps these limits; {model} at {side} px comes nearest: {figures}.",
        model=nearest.model, side=nearest.input_size, figures=figures,
    )  # fmt: skip
    relax = phrase("Relax: {options}.", options=", ".join(_relaxed(limits, nearest)))
    return [sentence, relax, *_cheaper(state, nearest)]


def _relaxed(limits: Limits, nearest: Candidate) -> Iterator[str]:
    if limits.latency_ms is not None and (nearest.latency_ms or 0) > limits.latency_ms:
        yield f"--max-latency {_above(nearest.latency_ms or 0):g}ms"
    if limits.size_bytes is not None and (nearest.size_bytes or 0) > limits.size_bytes:
        yield f"--max-size {_above((nearest.size_bytes or 0) / 1e6):g}MB"
    if limits.macs is not None and nearest.macs > limits.macs:
        yield f"--max-macs {_above(nearest.macs / 1e6):g}M"


def _above(value: float) -> float:
    """A round number a little above."""
    step = 10 ** (math.floor(math.log10(value)) - 1) if value > 0 else 1.0
    return round(math.ceil(value * ROUNDED_UP / step) * step, 10)


def _cheaper(state: State, nearest: Candidate) -> Iterator[str]:
    """Other ways to become smaller or faster than to relax a limit."""
    limits, order = state.order.limits, state.order
    too_slow = limits.latency_ms is not None and (nearest.latency_ms or 0) > limits.latency_ms
    if too_slow or (limits.macs is not None and nearest.macs > limits.macs):
        side = max(32, nearest.input_size // 2 // 16 * 16)
        if side < nearest.input_size:
            yield phrase("Or try smaller images: {option}.", option=f"--input-size {side}")
    if limits.size_bytes is not None and (nearest.size_bytes or 0) > limits.size_bytes and not order.int8:
        yield (
            phrase("Or store less: --int8.")
            if order.half_weights
            else phrase("Or store less: --int8, or --half-weights.")
        )


def _tell_short(limits: Limits, pick: Pick, state: State) -> Iterator[str]:
    """The accuracy asked for is not reached: what would help."""
    if limits.accuracy is None or pick.accuracy >= limits.accuracy:
        return
    yield phrase(
        "{asked} were asked for and {reached} reached: {gap} are missing. More time is the first thing to try: "
        "{option}",
        asked=f"{limits.accuracy:.1%}", reached=f"{pick.accuracy:.1%}", gap=f"{limits.accuracy - pick.accuracy:.1%}",
        option=f"--time {4 * state.order.time_s:g}s",
    )  # fmt: skip
    held = [entry for entry in state.entries.values() if _is_held_back(entry, limits, pick)]
    if held:
        best = max(held, key=lambda entry: entry.expected)
        figures = show_figures(best.latency_ms, best.size_bytes, best.macs)
        yield phrase(
            "The limits keep out larger networks, {model} for example: {figures}", model=best.model, figures=figures
        )


def _is_held_back(entry: Entry, limits: Limits, pick: Pick) -> bool:
    return limits.excess(entry.latency_ms, entry.size_bytes, entry.macs) > 1 and entry.params > pick.params


def _tell_next(pick: Pick, state: State, num_val: int) -> Iterator[str]:
    others = (state.entries[name] for name in standing(state) if name != pick.name)
    entry = next((one for one in others if _is_as_good(one, pick, state, num_val)), None)
    if entry is not None:
        figures = show_figures(entry.latency_ms, entry.size_bytes, entry.macs)
        yield phrase(
            "{model} at {side} px is not clearly worse on validation ({own} beside {best}) and cheaper: {figures}",
            model=entry.model, side=entry.input_size, own=f"{entry.top1:.1%}", best=f"{pick.validation_accuracy:.1%}",
            figures=figures,
        )  # fmt: skip
    predict = f"featherlight predict {shlex.quote(pick.files[0])} IMAGE"
    yield phrase("Name images with it: {command}", command=predict)
    further = f"featherlight train --resume {shlex.quote(pick.run)} --time LONGER"
    yield phrase("Train it further: {command}", command=further)


def _is_as_good(entry: Entry, pick: Pick, state: State, num_val: int) -> bool:
    """Cheaper in latency and size, and within what the number of validation images can tell apart."""
    best, share = state.entries[pick.name], pick.validation_accuracy
    margin = 1.96 * math.sqrt(2 * max(1e-4, share * (1 - share)) / num_val)
    cheaper = (entry.latency_ms or 0) < (best.latency_ms or 0) and (entry.size_bytes or 0) < (best.size_bytes or 0)
    return cheaper and (entry.top1 or 0.0) >= pick.validation_accuracy - margin


def _notes(state: State, source: Source, pick: Pick | None, profile: DeviceProfile | None) -> Iterator[str]:
    if pick is not None:
        count = len(source.splits["val"])
        yield phrase(
            "chosen by accuracy on {number} validation images; the {split} images decided nothing",
            number=f"{count:,}", split=phrase(pick.split),
        )  # fmt: skip
    if pick is not None and pick.split == "held-out":
        yield phrase("the data has no test split, so a tenth of its training images was held out and not trained on")
    if profile is not None:
        yield phrase(
            "latency is out of the profile of {machine}; measure the file there: featherlight benchmark",
            machine=profile.machine,
        )
    if state.offline:
        yield phrase("published weights could not be fetched, so some networks started from scratch")
    if len(state.starters) == 1 and not state.order.trials:
        yield phrase(
            "the time allowed one network only, the most promising by published accuracy; more time compares more"
        )
