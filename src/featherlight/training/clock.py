"""How much of a run is done: by steps when epochs rule, by seconds when a budget of time rules."""

from __future__ import annotations

import time

from featherlight.training.checkpoint import Progress
from featherlight.training.recipe import Recipe


class Clock:
    """Measures a run from its start, across resumes.

    Args:
        recipe: says whether epochs or seconds rule.
        batches: steps in an epoch.
        progress: where training stands; its ``seconds`` have already passed.
    """

    def __init__(self, recipe: Recipe, batches: int, progress: Progress) -> None:
        self._recipe, self._batches, self._progress = recipe, batches, progress
        self._started = time.monotonic() - progress.seconds

    @property
    def seconds(self) -> float:
        """Since the start of training."""
        return time.monotonic() - self._started

    @property
    def part_done(self) -> float:
        """In [0, 1]; a budget of time keeps back what the last validation will take."""
        if self._recipe.time_s > 0:
            available = max(1e-3, self._recipe.time_s - 1.1 * self._progress.validation_s)
            return min(1.0, self.seconds / available)
        return min(1.0, self._progress.step / max(1, self._recipe.epochs * self._batches))

    @property
    def seconds_left(self) -> float:
        """Estimate; for a budget of time, what is left of it."""
        if self._recipe.time_s > 0:
            return max(0.0, self._recipe.time_s - self.seconds)
        return self.seconds * (1 / max(1e-6, self.part_done) - 1)
