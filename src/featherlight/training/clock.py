"""How much of a run is done: by updates when epochs rule, by seconds when a budget of time rules.

A budget is used to its end: the last validation and the last checkpoint lie within it, and the step at which training
ends is known before it is made, so that its learning rate is the schedule's last.
"""

from __future__ import annotations

import time

from featherlight.training.checkpoint import Progress
from featherlight.training.recipe import Recipe
from featherlight.training.team import Team

VALIDATION_SHARE = 0.25  # of the time at most; training is what makes the network better
SMOOTHED_OVER_S = 2.0
SPEED_RANGE = (0.25, 8.0)  # how much slower or faster than measured the last validation is expected to be


class Smoothed:
    """Mean of recent values, each counted by how long ago it was; the first is left out, it is never typical."""

    def __init__(self) -> None:
        self.value, self._count = 0.0, 0

    def add(self, value: float, lasted_s: float) -> None:
        """Takes in a value that was seen for ``lasted_s`` seconds."""
        self._count += 1
        horizon = max(SMOOTHED_OVER_S, 4 * lasted_s)
        weight = max(lasted_s / (lasted_s + horizon), 1 / max(1, self._count - 1))
        self.value += (value - self.value) * weight


class Clock:
    """Measures a run from its start, across resumes.

    Args:
        recipe: says whether epochs or seconds rule.
        updates: in an epoch.
        progress: where training stands; its ``seconds`` have already passed. The clock reads it and writes nothing.
    """

    def __init__(self, recipe: Recipe, updates: int, progress: Progress) -> None:
        self._budget_s, self._updates, self._progress = recipe.time_s, recipe.epochs * updates, progress
        self._started = time.monotonic() - progress.seconds
        self._arrived = self._ended = self.seconds
        self._computing, self._interval = Smoothed(), Smoothed()
        self._image_s = Smoothed()
        self.is_over = False

    @property
    def rules(self) -> bool:
        """Whether there is a budget of time."""
        return self._budget_s > 0

    @property
    def seconds(self) -> float:
        """Since the start of training."""
        return time.monotonic() - self._started

    @property
    def part_done(self) -> float:
        """In [0, 1]; a budget of time keeps back what the last validation and checkpoint will take."""
        if self.is_over:
            return 1.0
        if self.rules:
            return min(1.0, self.seconds / self._available)
        return min(1.0, self._progress.step / max(1, self._updates))

    @property
    def seconds_left(self) -> float:
        """Estimate; for a budget of time, what is left of it."""
        if self.rules:
            return max(0.0, self._budget_s - self.seconds)
        return self.seconds * (1 / max(1e-6, self.part_done) - 1)

    @property
    def image_s(self) -> float:
        """Seconds of computing an image in training takes at present; 0: not known yet."""
        return self._image_s.value

    def begin_step(self) -> None:
        """A batch is there. With a budget of time, decides whether its step is the last."""
        self._arrived = self.seconds
        if self.rules:
            ends = self._arrived + self._computing.value
            self.is_over = ends + self._interval.value / 2 >= self._available

    def end_step(self, images: float) -> None:
        """The step of that batch is done."""
        now = self.seconds
        computing, interval = now - self._arrived, now - self._ended
        self._computing.add(computing, computing)
        self._interval.add(interval, interval)
        self._image_s.add(computing / max(1e-9, images), computing)
        self._ended = now

    def pause_over(self) -> None:
        """Something that is no step has just ended: a validation, a checkpoint."""
        self._ended = self.seconds

    @property
    def may_validate(self) -> bool:
        """Whether a validation before the last one leaves enough time for training."""
        if not self.rules or self.is_over:
            return True
        validation = self._validation_s
        left = self._budget_s - self.seconds - 2 * validation - self._progress.save_s
        share = (self._progress.validating_s + validation) / (self.seconds + validation)
        return left >= max(validation, 2 * self._interval.value) and share <= VALIDATION_SHARE

    @property
    def _available(self) -> float:
        return max(1e-3, self._budget_s - self._validation_s - self._progress.save_s)

    @property
    def _validation_s(self) -> float:
        """What the next validation will take, at the present speed of the machine."""
        progress, (least, most) = self._progress, SPEED_RANGE
        if progress.validation_image_s <= 0 or self.image_s <= 0:
            return progress.validation_s
        return progress.validation_s * min(max(self.image_s / progress.validation_image_s, least), most)


class SharedClock(Clock):
    """A clock of which all processes of a team see the leader's hands, moved once a step.

    Args:
        team: the processes.
        recipe: see :class:`Clock`.
        updates: likewise.
        progress: likewise.
    """

    def __init__(self, team: Team, recipe: Recipe, updates: int, progress: Progress) -> None:
        super().__init__(recipe, updates, progress)
        self._team = team
        self._agreed = team.share(super().part_done) if self.rules else 0.0

    @property
    def part_done(self) -> float:
        """See :class:`Clock`."""
        if not self.rules:
            return super().part_done
        return 1.0 if self.is_over else self._agreed

    def begin_step(self) -> None:
        """See :class:`Clock`."""
        super().begin_step()
        if self.rules:
            self._agreed, self.is_over = self._team.share((super().part_done, self.is_over))

    @property
    def may_validate(self) -> bool:
        """See :class:`Clock`; every process has to ask."""
        return self._team.share(super().may_validate) if self.rules else True
