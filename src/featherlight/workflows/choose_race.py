"""Networks race on the validation images: all for a short time, the best for longer, the last one for the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from featherlight.console import Bar, duration, silence
from featherlight.device_profile import DeviceProfile
from featherlight.errors import MemoryExhaustedError, TrainingInterruptedError, TrainingStoppedError
from featherlight.models.published import published_weights
from featherlight.passes import FORMS
from featherlight.phrases import phrase
from featherlight.sources.base import Source
from featherlight.training.checkpoint import read_progress
from featherlight.training.defaults import DataFacts
from featherlight.training.metrics_log import read_metrics
from featherlight.training.recipe import RECIPE_FILE_NAME, Recipe, read_recipe
from featherlight.workflows.choose_rungs import rung_end, rung_sizes
from featherlight.workflows.choose_screen import measure_entry, recipe_for
from featherlight.workflows.choose_state import Entry, Rung, State
from featherlight.workflows.choose_trials import draw_trial
from featherlight.workflows.extend import extend
from featherlight.workflows.fit import fit_recipe
from featherlight.workflows.starting_weights import settle_pretrained
from featherlight.workflows.teacher import settle_teacher

LEAST_ADDED_S = 1.0  # a round that adds less to a network is left out
DRAWS_A_TRIAL = 3  # drawn networks may break a limit
FORM_TIMING_S = 2.0  # what timing one exact form of a graph takes, beside writing it
FORMS_SHARE = 0.05  # of the time that finding the fastest form may take
CLOSING_S = 3.0  # evaluation's pages, curves and pictures
USUAL_EXPORT_S = 8.0
MOST_RESERVED = 0.4  # of the time
EVALUATIONS = 3  # passes over images at the end: temperature, model, exported file


@dataclass(frozen=True)
class Racer:
    """What every round needs.

    Attributes:
        state: where the choice stands.
        source: the images.
        facts: of them.
        profile: of the device; None: latency is measured here.
        shown: where progress is seen.
    """

    state: State
    source: Source
    facts: DataFacts
    profile: DeviceProfile | None
    shown: Bar

    def run(self) -> None:
        """Runs the rounds that are not run yet.

        Raises:
            TrainingInterruptedError: somebody stopped it; all is saved.
            DataError: the images cannot be read.
        """
        if not self.state.starters:
            return
        sizes = rung_sizes(len(self.state.starters) + self.state.order.trials)
        for number in range(len(sizes)):
            if number == len(self.state.rungs) and not self._begin(number, sizes):
                return
            self._run_rung(number, len(sizes))

    def _begin(self, number: int, sizes: list[int]) -> bool:
        """Decides who trains until when; False: there is no time for another round."""
        state = self.state
        entrants = standing(state)[: sizes[number]] if number else list(state.starters)
        before_s = max((state.entries[name].trained_s for name in entrants), default=0.0)
        units = sum(sizes[number:])
        left_s = state.left_s - reserve_s(state, self.source) - units * state.unit_overhead_s
        present = [*sizes[:number], max(1, len(entrants)), *sizes[number + 1 :]] if number else sizes
        until_s = round(rung_end(present, number, before_s, left_s), 3)
        if not entrants or (number and until_s < before_s + LEAST_ADDED_S):
            return False
        state.rungs.append(Rung(entrants, max(until_s, LEAST_ADDED_S)))
        state.save()
        return True

    def _run_rung(self, number: int, rounds: int) -> None:
        rung = self.state.rungs[number]
        named = f"round {number + 1} of {rounds}"
        for name in list(rung.entrants):
            self._train(name, number, named)
        if number == 0:
            self._run_trials(named)

    def _run_trials(self, named: str) -> None:
        """Draws candidates one after the other: each draw knows what the ones before it reached."""
        state = self.state
        rung = state.rungs[0]
        draws = sum(bool(entry.trial) for entry in state.entries.values())
        for draw in range(draws, DRAWS_A_TRIAL * state.order.trials):
            started = sum(bool(state.entries[name].trial) for name in rung.entrants)
            if started >= state.order.trials or state.left_s - reserve_s(state, self.source) < 2 * rung.until_s:
                return
            name, entry = draw_trial(state, self.facts, draw)
            with silence():
                entry.dropped = measure_entry(entry, state, self.source.classes, self.facts, self.profile)
            state.entries[name] = entry
            if not entry.dropped:
                rung.entrants.append(name)
            state.save()
            if not entry.dropped:
                self._train(name, 0, named)

    def _train(self, name: str, number: int, named: str) -> None:
        """Trains one network to the end of a round, unless that is done."""
        state, entry = self.state, self.state.entries[name]
        rung = state.rungs[number]
        if entry.rungs > number or entry.dropped:
            return
        before_s, started_s = entry.trained_s, state.spent_s
        try:
            self._fit(name, entry, rung.until_s, f"{named}: {name}")
        except TrainingInterruptedError:
            entry.counted_s = read_progress(state.run_of(name)).seconds
            state.save()
            raise
        except (TrainingStoppedError, MemoryExhaustedError) as error:  # other errors would meet the next network, too
            entry.dropped = phrase("failed in training: {error}", error=str(error).partition(". ")[0])
            self.shown.line(f"{named}: {name} is out: {entry.dropped}")
        else:
            entry.rungs = number + 1
            entry.first_top1 = entry.top1 if entry.first_top1 is None else entry.first_top1
            self.shown.line(f"{named}: {name} {entry.top1:.1%} on validation after {duration(entry.trained_s)}")
        state.unit_overhead_s = round(max(0.2, state.spent_s - started_s - (entry.trained_s - before_s)), 3)
        state.save()

    def _fit(self, name: str, entry: Entry, until_s: float, title: str) -> None:
        run = self.state.run_of(name)
        with silence():
            if (run / RECIPE_FILE_NAME).exists():
                recipe = _prolonged(run, until_s)
            else:
                run.mkdir(parents=True, exist_ok=True)
                recipe = self._new_recipe(entry, until_s)
            fitted = fit_recipe(run, recipe, self.source, _Part(self.shown, self.state, title))
        row = read_metrics(run)[-1]
        entry.top1, entry.loss, entry.images_per_s = row["val_top1"], row["val_loss"], row["images_per_s"]
        entry.trained_s = entry.counted_s = round(fitted.seconds, 3)
        entry.validation_s = round(read_progress(run).validation_s, 3)

    def _new_recipe(self, entry: Entry, until_s: float) -> Recipe:
        recipe = recipe_for(self.state, self.facts, entry, until_s)
        if recipe.pretrained == "auto" and self.state.offline:
            recipe = replace(recipe, pretrained="none")
        settled = settle_pretrained(recipe)
        if recipe.pretrained == "auto" and settled.pretrained == "none" and published_weights(recipe.model):
            self.state.offline = True  # asking again for each network would cost a time-out each
        entry.pretrained = settled.pretrained
        return settle_teacher(settled)


class _Part(Bar):
    """The bar of one network inside that of the whole choice."""

    def __init__(self, shown: Bar, state: State, title: str) -> None:
        super().__init__(None, None)
        self._shown, self._state, self._title = shown, state, title

    def update(self, part: float, text: str) -> None:  # noqa: ARG002
        """Shows how much of the choice's time is spent."""
        done = min(1.0, self._state.spent_s / self._state.order.time_s)
        self._shown.update(done, f"{self._title}: {text}")

    def line(self, text: str) -> None:
        """Rows of epochs are not shown; they stand in the run."""


def standing(state: State) -> list[str]:
    """Names of those that were trained and are not out, the best on validation first."""
    alive = [name for name, entry in state.entries.items() if entry.top1 is not None and not entry.dropped]
    return sorted(alive, key=lambda name: (-(state.entries[name].top1 or 0.0), state.entries[name].loss, name))


def reserve_s(state: State, source: Source) -> float:
    """Seconds to keep back for evaluating, exporting, verifying and measuring one network."""
    alive = [entry for entry in state.entries.values() if not entry.dropped]
    export_s = max((entry.export_s for entry in alive), default=0.0) or USUAL_EXPORT_S
    validation_s = max((entry.validation_s for entry in alive), default=0.0)
    images = sum(len(source.splits[name]) for name in ("val", "test")) / max(1, len(source.splits["val"]))
    forms_s = forms_cost_s(export_s) if may_time_forms(state) else 0.0
    needed_s = export_s + forms_s + EVALUATIONS * images * validation_s + CLOSING_S
    return min(needed_s, MOST_RESERVED * state.order.time_s)


def may_time_forms(state: State) -> bool:
    """Whether there is time to find the fastest exact form of a network when it is exported."""
    export_s = max((entry.export_s for entry in state.entries.values()), default=0.0) or USUAL_EXPORT_S
    return forms_cost_s(export_s) <= FORMS_SHARE * state.order.time_s


def forms_cost_s(export_s: float) -> float:
    """What timing all forms takes, where exporting one takes so long."""
    return (len(FORMS) + 1) * (export_s + FORM_TIMING_S)


def _prolonged(run: Path, until_s: float) -> Recipe:
    return extend(run, read_recipe(run), None, f"{until_s:.3f}s", None)
