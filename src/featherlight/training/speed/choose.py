"""Which plan trains fastest: a few steps of each are measured, and the time they take is weighed against the run."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from featherlight.console import note
from featherlight.cost.latency import garbage_collector_paused
from featherlight.kernels import accelerate
from featherlight.training.speed.memory import Memory
from featherlight.training.speed.plan import SpeedPlan, candidates, cannot_compile
from featherlight.training.speed.step import TrainingStep, plan_threads

TRIAL_SHARE = 0.03  # of the run may be spent on finding out how to run it
TOO_SHORT_S = 10.0  # a run of less is not worth any trial, and so always computed in the same way
NEARLY = 0.97  # the usual plan stays unless another takes less than this part of its time: noise must not decide
ROUNDS = 3
HOPELESS = 1.3  # times the fastest; is not measured again
COMPILING_S = 60.0  # what torch.compile takes for a light network on two cores, if nothing is known
COMPILE_WORTH_TRYING = 20  # times that; compiled code is seldom more than a fifth faster
WORTH_SAYING_S = 5.0
STEADY = 0.25  # a spread of more than this part says that the machine had other work: not worth remembering


@dataclass(frozen=True)
class Trial:
    """What a plan costs.

    Attributes:
        plan: what was measured.
        step_s: seconds of a step forwards and backwards; the median.
        start_s: seconds that it takes longer the first time, mostly compiling.
        steady: whether the machine was quiet.
    """

    plan: SpeedPlan
    step_s: float
    start_s: float = 0.0
    steady: bool = True

    def run_s(self, steps: float) -> float:
        """Seconds of a run of so many steps."""
        return self.start_s + steps * self.step_s

    def describe(self, batch_size: int) -> str:
        """As a person reads it."""
        start = f" after {self.start_s:.0f} s" if self.start_s > WORTH_SAYING_S else ""
        return f"{self.plan}: {batch_size / self.step_s:.0f}{start}"


@dataclass(frozen=True)
class RunLength:
    """How long training will be: a number of steps, or a budget of seconds; the other is 0."""

    steps: int = 0
    budget_s: float = 0.0

    def steps_at(self, step_s: float) -> float:
        """Steps of the run if one takes ``step_s``."""
        return float(self.steps) if self.steps else self.budget_s / step_s


def choose_plan(
    network: nn.Module,
    input_shape: tuple[int, int, int, int],
    num_classes: int,
    pinned: Mapping[str, Any],
    length: RunLength,
    memory: Memory | None = None,
) -> tuple[SpeedPlan, list[Trial]]:
    """Measures the sensible plans on a copy of ``network`` and chooses the one that ends first.

    Args:
        network: as it will be trained, on its device; it is left as it is.
        input_shape: of a batch, (N, C, S, S).
        num_classes: K.
        pinned: fields of the plan that are not to be chosen.
        length: of the run.
        memory: what former runs measured; None: nothing is remembered.

    Returns:
        The plan, and what is known of each plan.
    """
    device = next(network.parameters()).device
    pixels = input_shape[0] * input_shape[2] * input_shape[3]
    wanted = pinned.get("kernels", device.type == "cpu")
    plans = candidates(pinned, device, pixels, kernels=wanted and accelerate(network) is not None)
    eager = [plan for plan in plans if not plan.compile]
    compiled = [plan for plan in plans if plan.compile]
    if len(plans) == 1:
        return plans[0], []
    bench = _Bench(network, input_shape, num_classes, memory)
    with garbage_collector_paused(), torch.random.fork_rng(devices=[]):
        trials = bench.measure(eager, length)
        best = min(trials, key=lambda trial: trial.step_s, default=None)
        trials += bench.measure_compiled(compiled, best, length)
    return _best(trials, length).plan, trials


def _best(trials: list[Trial], length: RunLength) -> Trial:
    steps = length.steps_at(min(trial.step_s for trial in trials))
    usual, best = trials[0], min(trials, key=lambda trial: trial.run_s(steps))
    return best if best.run_s(steps) < NEARLY * usual.run_s(steps) else usual


def explain_choice(plan: SpeedPlan, trials: list[Trial], batch_size: int) -> str:
    """One line: what was chosen, and beside what."""
    measured = "; ".join(trial.describe(batch_size) for trial in sorted(trials, key=lambda trial: trial.step_s))
    return f"speed: {plan}. Images/s, forwards and backwards alone: {measured}"


class _Bench:
    """Measures plans, each once, and remembers."""

    def __init__(
        self, network: nn.Module, input_shape: tuple[int, int, int, int], num_classes: int, memory: Memory | None
    ) -> None:
        self._network, self._memory = network, memory
        device = next(network.parameters()).device
        random = torch.Generator().manual_seed(0)
        self._images = torch.randn(input_shape, generator=random).to(device)
        self._labels = torch.randint(num_classes, (input_shape[0],), generator=random).to(device)

    def measure(self, plans: list[SpeedPlan], length: RunLength) -> list[Trial]:
        """The first plan sets the time that the others may take; a plan that is far behind is dropped."""
        known = self._recall(plans)
        if known:  # a short run is computed in the same way whatever longer runs have found out
            return known if length.steps_at(known[0].step_s) * known[0].step_s > TOO_SHORT_S else known[:1]
        steps: dict[SpeedPlan, Callable[[], float]] = {}
        times: dict[SpeedPlan, list[float]] = {}
        started, allowed = time.monotonic(), math.inf
        for plan in plans:
            if time.monotonic() - started > allowed:
                break
            steps[plan] = self._step(plan)
            steps[plan]()
            times[plan] = [steps[plan]()]
            if allowed == math.inf:
                run_s = length.steps_at(times[plan][0]) * times[plan][0]
                allowed = TRIAL_SHARE * run_s if run_s > TOO_SHORT_S else 0.0
        for _ in range(ROUNDS - 1):
            fastest = min(map(median, times.values()))
            for plan in [plan for plan, seconds in times.items() if median(seconds) < HOPELESS * fastest]:
                if time.monotonic() - started < allowed:
                    times[plan].append(steps[plan]())
        trials = [_summarize(plan, seconds) for plan, seconds in times.items()]
        self._remember(trials if len(trials) == len(plans) else [])
        return trials

    def measure_compiled(self, plans: list[SpeedPlan], best: Trial | None, length: RunLength) -> list[Trial]:
        """Compiling takes as long as thousands of steps, so it is tried for long runs, in the best layout only."""
        if best is not None:
            plans = [plan for plan in plans if plan == replace(best.plan, compile=True, kernels=False)]
            known = self._recall(plans)
            if known or length.steps_at(best.step_s) * best.step_s < COMPILE_WORTH_TRYING * COMPILING_S:
                return known
        trials = []
        for plan in plans:
            try:
                trials.append(self._try_compiled(plan))
            except Exception as error:  # the compiler's own errors are of many kinds
                note(f"speed: torch.compile does not work here ({type(error).__name__}); training goes on without it")
        self._remember(trials)
        return trials

    def _try_compiled(self, plan: SpeedPlan) -> Trial:
        why = cannot_compile(self._images.device)
        if why:
            raise RuntimeError(why)
        step = self._step(plan)
        first = step()
        seconds = [step() for _ in range(ROUNDS + 2)][1:]
        return replace(_summarize(plan, seconds), start_s=max(0.0, first - median(seconds)))

    def _step(self, plan: SpeedPlan) -> Callable[[], float]:
        step = TrainingStep(copy.deepcopy(self._network).train(), plan)

        def run() -> float:
            start = time.perf_counter()
            with plan_threads(plan):
                step.model.zero_grad(set_to_none=True)
                loss = F.cross_entropy(step.forward(self._images), self._labels)
                step.backward(loss)
                loss.item()  # waits for accelerators
            return time.perf_counter() - start

        return run

    def _recall(self, plans: list[SpeedPlan]) -> list[Trial]:
        """What is known of the plans; nothing, if one is missing."""
        known = self._memory.read() if self._memory else {}
        found = [Trial(plan, *known[str(plan)]) for plan in plans if str(plan) in known]
        return found if len(found) == len(plans) else []

    def _remember(self, trials: list[Trial]) -> None:
        if self._memory and all(trial.steady for trial in trials):
            self._memory.add({str(trial.plan): (trial.step_s, trial.start_s) for trial in trials})


def _summarize(plan: SpeedPlan, seconds: list[float]) -> Trial:
    typical = median(seconds)
    return Trial(plan, typical, steady=(max(seconds) - min(seconds)) / typical < STEADY)
