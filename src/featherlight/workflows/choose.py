"""Limits, images and an hour -> the network to take, as files: nobody has to know a network by name."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featherlight.choosing import Choice
from featherlight.console import bar, duration, note
from featherlight.cost.latency import usable_cores
from featherlight.device_profile import DeviceProfile, read_device_profile
from featherlight.errors import FeatherlightError, TrainingInterruptedError, UsageError
from featherlight.files import held_alone, write_text
from featherlight.phrases import counted
from featherlight.report import check_language
from featherlight.report.choose_page import write_choose_page
from featherlight.report.pareto import Point, plot_pareto
from featherlight.sources import open_source
from featherlight.sources.base import Source
from featherlight.sources.held_out import hold_out
from featherlight.training.defaults import DataFacts
from featherlight.training.recipe import read_duration
from featherlight.workflows.choose_answer import answer
from featherlight.workflows.choose_deliver import deliver
from featherlight.workflows.choose_order import Order, check_order, read_limits
from featherlight.workflows.choose_race import Racer
from featherlight.workflows.choose_screen import check_profile, list_entries, screen
from featherlight.workflows.choose_state import STATE_FILE_NAME, State, read_state
from featherlight.workflows.evaluate import report_unreadable
from featherlight.workflows.leaks import refuse_leaks
from featherlight.workflows.reproduce import facts_of
from featherlight.workflows.run_directory import check_place

CHOICE_FILE_NAME = "choose.json"
PAGE_FILE_NAME = "choose.html"
PLOT_FILE_NAME = "pareto.png"
LOCK_FILE_NAME = ".lock"
PLACE = Path("choices")
HELD_OUT = 0.1  # of the training images, where the data has no test split


def choose(
    data: str | Path,
    *,
    max_latency: str | float | None = None,
    max_size: str | float | None = None,
    max_macs: str | float | None = None,
    min_accuracy: str | float | None = None,
    time: str = "1h",
    models: Sequence[str] = (),
    input_sizes: Sequence[int] = (),
    trials: int = 0,
    device_profile: str | Path | None = None,
    target: str = "onnx",
    int8: bool = False,
    half_weights: bool = False,
    threads: int | None = None,
    seed: int = 0,
    device: str | None = None,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    lang: str | None = None,
) -> Choice:
    """Finds the network that names images best within limits, trains it, and gives it as verified files.

    Networks that cannot keep the limits are dropped, the rest race; validation images decide. The accuracy reported is
    that of the exported file on images that took no part. The same call goes on where it was stopped.

    Args:
        data: images, as :func:`featherlight.train` takes them.
        max_latency: of an image, exported: ``5ms``, or a number of milliseconds.
        max_size: of the exported files: ``1MB``, or a number of bytes.
        max_macs: multiply-adds of an image: ``50M``, or a number.
        min_accuracy: that must be reached: ``0.9`` or ``90%``.
        time: for everything.
        models: names or patterns of networks; by default all plain ones.
        input_sizes: sides of images to try; by default what suits the data.
        trials: further candidates whose image size and recipe Optuna draws.
        device_profile: latencies of the device that the network is for; by default this machine's are measured.
        target: ``onnx`` or ``openvino``.
        int8: export in 8 bits.
        half_weights: store weights in float16.
        threads: that the exported file computes with; by default all cores.
        seed: of everything random.
        device: where to train.
        out: folder for all files; by default ``choices/NAME``.
        settings: fields of the recipe that all candidates share.
        lang: language of the pages: ``en`` or ``zh``.

    Raises:
        UsageError: an unknown name, an unfit value, or ``out`` holds something else.
        DataError: no usable images or device profile.
        MissingExtraError: the target or Optuna is not installed.
        TrainingInterruptedError: stopped; all is saved.
    """
    order = Order(
        str(data), read_limits(max_latency, max_size, max_macs, min_accuracy), read_duration(time), tuple(models),
        tuple(input_sizes), trials, str(device_profile or ""), target, int8, half_weights,
        usable_cores() if threads is None else threads, seed, _given(settings or {}, device=device, lang=lang),
    )  # fmt: skip
    return _begin(check_order(order), Path(out) if out is not None else _usual_folder(data))


def _given(settings: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    return {**settings, **{name: value for name, value in others.items() if value is not None}}


def _begin(order: Order, folder: Path) -> Choice:
    """Begins, or goes on with the same order."""
    _check_folder(folder)
    state = read_state(folder)
    if state is not None and not order.is_like(state.order):
        raise UsageError(
            f"{folder} holds a choice with other limits or options; choose another --out, or finish that one: "
            f"featherlight choose --resume {folder}"
        )
    return _choose(folder, state or State(folder, order, ""), order.lang)


def resume_choice(folder: str | Path, lang: str | None = None) -> Choice:
    """Goes on with a choice that was stopped; one that is finished is told again.

    Args:
        folder: of the choice.
        lang: language of its page: ``en`` or ``zh``; by default the one it began with.

    Raises:
        UsageError: the folder holds no choice, or there is no such language.
        TrainingInterruptedError: stopped again; all is saved.
    """
    path = Path(folder)
    state = read_state(path)
    if state is None:
        raise UsageError(
            f"{path}: no choice (there is no {STATE_FILE_NAME} in it); begin one: featherlight choose DATA"
        )
    return _choose(path, state, lang or state.order.lang)


def _choose(folder: Path, state: State, lang: str) -> Choice:
    check_language(lang)
    order = state.order
    with _interrupt_explained(folder):
        source = _open(order)
        state.hold_out = 0.0 if "test" in source.splits else HELD_OUT
        source = hold_out(source, state.hold_out, strict=bool(order.settings.get("strict", False)))
        check_place(folder, source)
        _check_images(state, source)
        report_unreadable(source.unreadable, strict=False)
        _tell_images(source)
        facts = facts_of(source)
        profile = read_device_profile(order.device_profile) if order.device_profile else None
        if not state.entries:
            list_entries(state, facts, len(source.classes))
            if profile is not None:
                check_profile(profile, state)
        folder.mkdir(parents=True, exist_ok=True)
        with held_alone(folder / LOCK_FILE_NAME) as alone:
            if not alone:
                raise UsageError(f"{folder}: another process is at work on this choice; wait, or choose another --out")
            state.save()
            choice = _work(state, source, facts, profile)
            _write(folder, choice, lang)
            state.save()
    return choice


def _work(state: State, source: Source, facts: DataFacts, profile: DeviceProfile | None) -> Choice:
    """All that is not done yet."""
    if not state.starters and not state.rungs:
        screen(state, source, facts, profile)
    _tell_starters(state)
    with bar("choosing") as shown:
        Racer(state, source, facts, profile, shown).run()
    return answer(state, source, deliver(state, source, profile), profile)


def _open(order: Order) -> Source:
    settings = order.settings
    strict, group_by = bool(settings.get("strict", False)), settings.get("group_by")
    source = open_source(order.data, strict=strict, group_by=group_by)
    refuse_leaks(source, allow=bool(settings.get("allow_leaks", False)))
    return source


def _usual_folder(data: str | Path) -> Path:
    """The same for the same data, so that the same command goes on where it was stopped."""
    return PLACE / (re.sub(r"[^A-Za-z0-9._-]+", "-", Path(data).name).strip("-") or "data")


def _check_folder(folder: Path) -> None:
    """Only a choice's own folder may be filled further."""
    if not os.path.lexists(folder) or (folder / STATE_FILE_NAME).is_file():
        return
    if not folder.is_dir() or any(path.name != LOCK_FILE_NAME for path in folder.iterdir()):
        raise UsageError(f"{folder} exists and is not empty; choose another --out")


def _check_images(state: State, source: Source) -> None:
    if state.fingerprint and state.fingerprint != source.fingerprint:
        raise UsageError(
            f"{source.name}: the images have changed since this choice began, so it cannot go on; choose another --out"
        )
    state.fingerprint = source.fingerprint


def _tell_images(source: Source) -> None:
    counts = ", ".join(f"{len(split):,} {name}" for name, split in source.splits.items())
    note(f"{source.name}: {counted(len(source.classes), 'class')}; images: {counts}")
    if "test" in source.own_splits and "val" not in source.own_splits:
        note("there is no test split, so a tenth of the training images is held out for the accuracy in the end")


def _tell_starters(state: State) -> None:
    dropped = sum(bool(entry.dropped) for entry in state.entries.values())
    started = ", ".join(state.starters) or "no network"
    note(f"{started} to train, {dropped} of {len(state.entries)} left out; {duration(state.spent_s)} passed")


def _write(folder: Path, choice: Choice, lang: str) -> None:
    """The answer as files: for programs, for people, as a picture."""
    points = [
        Point(candidate.name, candidate.latency_ms, 100 * (candidate.accuracy or 0.0))
        for candidate in choice.trained
        if candidate.latency_ms is not None
    ]
    if points:
        plot_pareto(
            folder / PLOT_FILE_NAME, points, choice.machine, ("ms an image (median)", "accuracy on validation, %"),
            limit=choice.limits.latency_ms,
        )  # fmt: skip
    write_choose_page(folder / PAGE_FILE_NAME, choice, lang)
    write_text(folder / CHOICE_FILE_NAME, json.dumps(choice.to_dict(), indent=2) + "\n")


@contextmanager
def _interrupt_explained(folder: Path) -> Iterator[None]:
    """Says how to go on, whatever stopped it."""
    state, go_on = folder / STATE_FILE_NAME, f"featherlight choose --resume {folder}"
    try:
        yield
    except (KeyboardInterrupt, TrainingInterruptedError):
        what = f"all is saved. Go on with: {go_on}" if state.exists() else "nothing had begun"
        raise TrainingInterruptedError(f"interrupted; {what}") from None
    except (FeatherlightError, OSError) as error:
        ours = isinstance(error, FeatherlightError)
        if (ours and type(error) is not FeatherlightError) or not state.exists():  # a mistake, told as it is
            raise
        raise FeatherlightError(
            f"{_reason(error)}. What was done is saved; when this is mended, go on with: {go_on}"
        ) from error


def _reason(error: Exception) -> str:
    """Without the advice of what a choice is made of; of a full disk for files that are put aside, where they are."""
    if isinstance(error, OSError):
        return f"cannot write {error.filename or tempfile.gettempdir()}: {error.strerror or error}"
    return str(error.__cause__ if isinstance(error.__cause__, FeatherlightError) else error)
