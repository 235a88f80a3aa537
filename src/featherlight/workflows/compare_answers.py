"""What several models say of the same images, classes numbered alike for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featherlight.comparison import Answers
from featherlight.engines import Engine
from featherlight.errors import DataError
from featherlight.metrics import Evaluation, evaluate_logits, most_likely
from featherlight.sources.base import Split, take
from featherlight.workflows.compare_images import SharedImages
from featherlight.workflows.evaluate import align_classes, report_unreadable, run_split


@dataclass(frozen=True)
class Asked:
    """What all models answered.

    Attributes:
        images: that all models could read (N).
        evaluations: of each model.
        classes: the images' classes, then further ones that models know.
        named: the class that each model names, (models, N).
        probability: how sure it is of it, (models, N).
        right: whether it is the true one, (models, N).
    """

    images: Split
    evaluations: tuple[Evaluation, ...]
    classes: tuple[str, ...]
    named: NDArray[np.int64]
    probability: NDArray[np.float64]
    right: NDArray[np.bool_]

    def disagreements(self) -> NDArray[np.int64]:
        """Places of images not all name alike: those that some name rightly first, the surest answers first."""
        different = np.flatnonzero((self.named != self.named[0]).any(axis=0))
        decided = self.right[:, different].any(axis=0)
        sure = self.probability[:, different].mean(axis=0)
        return different[np.lexsort((-sure, ~decided))]

    def about(self, place: int) -> Answers:
        """What each model says of an image."""
        return Answers(
            self.images.paths[place],
            self.classes[self.images.labels[place]],
            tuple(self.classes[number] for number in self.named[:, place]),
            tuple(self.probability[:, place].tolist()),
        )


def ask_all(engines: Sequence[Engine], names: Sequence[str], shared: SharedImages) -> Asked:
    """Asks every model about every image.

    Raises:
        DataError: a model does not know a class of the images, or not one image can be read.
    """
    aligned = [_align(engine, name, shared.classes) for engine, name in zip(engines, names, strict=True)]
    found = [run_split(engine, shared.images, f"asking {name}") for engine, name in zip(engines, names, strict=True)]
    report_unreadable(found[0][2], strict=False)
    kept = found[0][1]
    for _, positions, _ in found[1:]:  # the same, unless files went away meanwhile
        kept = np.intersect1d(kept, positions)
    if not len(kept):
        raise DataError("not one image could be read for all models; images must not change meanwhile")
    images = take(shared.images, kept)
    numbers = {name: number for number, name in enumerate(shared.classes)}
    evaluations, named, probability = list[Evaluation](), list[NDArray[np.int64]](), list[NDArray[np.float64]]()
    for engine, labels_of, (logits, positions, _) in zip(engines, aligned, found, strict=True):
        card = engine.card
        chosen = logits[np.searchsorted(positions, kept)]
        evaluations.append(
            evaluate_logits(
                chosen, labels_of[images.labels], card.classes, model=card.model, data=shared.data, split=shared.split,
                engine=engine.name, temperature=card.temperature,
            )
        )  # fmt: skip
        answer, sure = most_likely(chosen, card.temperature)
        named.append(np.array([numbers.setdefault(name, len(numbers)) for name in card.classes])[answer])
        probability.append(sure)
    right = np.stack(named) == images.labels
    return Asked(images, tuple(evaluations), tuple(numbers), np.stack(named), np.stack(probability), right)


def _align(engine: Engine, name: str, classes: Sequence[str]) -> NDArray[np.int64]:
    try:
        return align_classes(classes, engine.card.classes)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
