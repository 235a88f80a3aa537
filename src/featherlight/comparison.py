"""Several models on the same images: which is better, by how much, and whether that is real or luck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.metrics.intervals import LEVEL, RESAMPLES

REAL_BELOW = 0.05  # a p-value, after Holm's correction


@dataclass(frozen=True)
class ComparedModel:
    """One model: what it reaches and what it costs.

    Attributes:
        model: as the person named it.
        name: shorter, and still different from the others'.
        network: registered name.
        engine: what ran it.
        precision: in which it computes.
        input_size: side of the image, pixels.
        accuracy: fraction of images named rightly.
        accuracy_interval: of it, 95 %.
        ece: expected calibration error of its probabilities.
        nll: mean negative log-likelihood in nats.
        size_bytes: on disk.
        params: of the network; None where it cannot be built here.
        macs: multiply-adds an image; likewise.
        latency_ms: of one image, median; None when it was not measured.
        latency_range: lowest and highest median of a round.
        recall: class -> fraction of its images named rightly.
    """

    model: str
    name: str
    network: str
    engine: str
    precision: str
    input_size: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    ece: float
    nll: float
    size_bytes: int
    params: int | None
    macs: int | None
    latency_ms: float | None
    latency_range: tuple[float, float] | None
    recall: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """Two models on the same images.

    Attributes:
        first: name of one.
        second: name of the other.
        difference: accuracy of the second minus that of the first.
        interval: of the difference, 95 %, from resampled images.
        only_first: images that only the first names rightly.
        only_second: images that only the second names rightly.
        disagreements: images that they name differently, both wrong included.
        p: of McNemar's exact test; without a difference, chance gives one so large this often.
        p_corrected: by Holm for the number of pairs.
        real: ``p_corrected`` is below 0.05.
    """

    first: str
    second: str
    difference: float
    interval: tuple[float, float]
    only_first: int
    only_second: int
    disagreements: int
    p: float
    p_corrected: float
    real: bool


@dataclass(frozen=True)
class Answers:
    """What the models say of an image that they do not all name alike.

    Attributes:
        path: the image.
        true: its class.
        answers: the class that each model names, in the order of the models.
        probabilities: how sure each is.
    """

    path: str
    true: str
    answers: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """The fields of ``compare --json``.

    Attributes:
        data: the images.
        split: of them.
        num_images: that all models were asked about.
        classes: names, those of the images.
        threads: that each model computed with.
        machine: what computed.
        models: in the order in which they were named.
        pairs: each with each.
        sentence: the answer.
        notes: what to know about it.
        disagreements: images not all models name alike: those that some name rightly first, the surest first.
    """

    data: str
    split: str
    num_images: int
    classes: tuple[str, ...]
    threads: int
    machine: str
    models: tuple[ComparedModel, ...]
    pairs: tuple[Pair, ...]
    sentence: str
    notes: tuple[str, ...]
    disagreements: tuple[Answers, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        names = [model.name for model in self.models]
        values["disagreements"] = [
            {
                "path": one.path,
                "true": one.true,
                "answers": dict(zip(names, one.answers, strict=True)),
                "probabilities": dict(zip(names, one.probabilities, strict=True)),
            }
            for one in self.disagreements
        ]
        return values

    def to_rows(self) -> list[dict[str, Any]]:
        """A row a model, for CSV."""
        rows = []
        for model in self.models:
            row = asdict(model)
            del row["recall"]
            for key in ("accuracy_interval", "latency_range"):
                row[f"{key}_low"], row[f"{key}_high"] = row.pop(key) or (None, None)
            rows.append(row)
        return rows


def compare_pairs(names: Sequence[str], right: NDArray[np.bool_], named: NDArray[np.int64]) -> tuple[Pair, ...]:
    """Compares each model with each.

    Args:
        names: of the models.
        right: whether each names each image rightly, (models, N).
        named: the class that each names, (models, N), numbered alike for all.
    """
    places = list(combinations(range(len(names)), 2))
    only = [(int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())) for a, b in places]
    tests = [mcnemar(*counts) for counts in only]
    count = right.shape[1]
    return tuple(
        Pair(
            first=names[a],
            second=names[b],
            difference=(only_b - only_a) / count,
            interval=difference_interval(only_a, only_b, count),
            only_first=only_a,
            only_second=only_b,
            disagreements=int((named[a] != named[b]).sum()),
            p=p,
            p_corrected=p_corrected,
            real=p_corrected < REAL_BELOW,
        )
        for (a, b), (only_a, only_b), p, p_corrected in zip(places, only, tests, holm(tests), strict=True)
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The p-value of McNemar's exact test (McNemar 1947): are two models right equally often on the same images?

    Only images that one of the two names rightly tell; without a difference each model has half of them, so their
    number is binomial. The exact test holds at any number of images, and so no other is needed.
    """
    count, fewer = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) - count * math.log(2)
        for k in range(fewer + 1)
    ]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for their number (Holm 1979): the smallest by all, the next by one less, never falling."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def difference_interval(only_first: int, only_second: int, count: int, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the paired difference of two accuracies: percentiles over resampled images.

    A resample of the images has multinomial counts, so those are drawn: it takes no time at any number of images. Where
    no image tells the models apart, a resample has none either; there the bound stands below which such images are
    that rare (Clopper and Pearson 1934).
    """
    if only_first + only_second == 0:
        doubt = 1 - ((1 - LEVEL) / 2) ** (1 / count)
        return -doubt, doubt
    shares = np.array([only_first, only_second, count - only_first - only_second]) / count
    drawn = np.random.default_rng(seed).multinomial(count, shares, RESAMPLES)
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile((drawn[:, 1] - drawn[:, 0]) / count, [tail, 100 - tail])
    return float(low), float(high)


def explain_comparison(models: Sequence[ComparedModel], pairs: Sequence[Pair]) -> str:
    """The answer in one sentence."""
    best = min(models, key=lambda model: (-model.accuracy, model.latency_ms or 0, model.size_bytes))
    others = {model.name: model for model in models if model is not best}
    against = [(others[name], pair) for name, pair in _pairs_of(best.name, pairs)]
    if len(models) == 2:
        return _two(best, *against[0])
    beaten = [other.name for other, pair in against if pair.real]
    equals = [(other, pair) for other, pair in against if not pair.real]
    parts = [f"{best.name} is the most accurate, {_percent(best.accuracy)}"]
    if beaten:
        parts.append(f"and really better than {_join(beaten)}")
    text = ", ".join(parts)
    if not equals:
        return f"{text}."
    cheapest = min((other for other, _ in equals), key=_cost)
    told = _join([f"{other.name}, {_behind(best, pair)}" for other, pair in equals])
    choice = f"; of these {_costs(cheapest, best)}" if _cost(cheapest) < _cost(best) else ""
    return f"{text}; it cannot be told apart from {told}{choice}."


def _two(best: ComparedModel, other: ComparedModel, pair: Pair) -> str:
    if pair.disagreements == 0:
        return f"{best.name} and {other.name} name every image alike; {_costs(best, other)}."
    if pair.real:
        return f"{best.name} is better than {other.name} by {_gap(best, pair)}; {_costs(best, other)}."
    if pair.difference == 0:
        return f"{best.name} and {other.name} are right equally often; {_costs(best, other)}."
    cheap, dear = sorted((best, other), key=_cost)
    return (
        f"No real difference: {best.name} is ahead of {other.name} by {_gap(best, pair)}, which may be luck; "
        f"{_costs(cheap, dear)}."
    )


def _pairs_of(name: str, pairs: Sequence[Pair]) -> list[tuple[str, Pair]]:
    """The pairs in which a model is, each with the other's name."""
    return [
        (pair.second if pair.first == name else pair.first, pair) for pair in pairs if name in (pair.first, pair.second)
    ]


def _gap(best: ComparedModel, pair: Pair) -> str:
    """``1.2 points (0.4 to 2.0), p = 0.003``, as seen from the better one."""
    points, interval = _seen_from(best, pair)
    return f"{points} ({interval}), {p_text(pair.p_corrected)}"


def _behind(best: ComparedModel, pair: Pair) -> str:
    """``1.2 points behind (0.4 to 2.0, p = 0.003)``."""
    points, interval = _seen_from(best, pair)
    return f"{points} behind ({interval}, {p_text(pair.p_corrected)})"


def _seen_from(best: ComparedModel, pair: Pair) -> tuple[str, str]:
    sign = 1 if pair.second == best.name else -1
    low, high = sorted(100 * sign * end for end in pair.interval)
    return f"{100 * sign * pair.difference:.1f} points", f"{low:.1f} to {high:.1f}"


def p_text(p: float) -> str:
    """``p = 0.03``, ``p < 0.0001``."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def _cost(model: ComparedModel) -> float:
    return model.latency_ms if model.latency_ms is not None else float(model.size_bytes)


def _costs(model: ComparedModel, other: ComparedModel) -> str:
    """What one costs in comparison with the other."""
    parts = []
    if model.latency_ms is not None and other.latency_ms is not None:
        parts.append(f"{_times(model.latency_ms / other.latency_ms)} the latency")
    parts.append(f"{_times(model.size_bytes / max(1, other.size_bytes))} the size")
    return f"{model.name} has {' and '.join(parts)}"


def _times(ratio: float) -> str:
    return f"{ratio:.2g}x"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
