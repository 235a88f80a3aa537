"""What a comparison finds, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


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
