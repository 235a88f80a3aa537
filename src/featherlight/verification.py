"""Two models on the same images: does the exported one give the same answers?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featherlight.errors import DataError
from featherlight.phrases import phrase

TIE_MARGIN = 1e-3  # of logits: closer than this, either class is right
MIN_AGREEMENT = 0.999
MAX_ACCURACY_DROP = 0.005  # of an int8 file
FEW_IMAGES = 200


@dataclass(frozen=True)
class Disagreement:
    """An image that the two models name differently.

    Attributes:
        path: the image.
        exported: class that the exported file names.
        reference: class that the model it was made of names.
        margin: the reference's best logit minus its second best.
    """

    path: str
    exported: str
    reference: str
    margin: float


@dataclass(frozen=True)
class Verification:
    """How an exported file compares with its reference: the fields of ``verify --json``.

    Attributes:
        agreement: fraction of images that both name alike; near ties of the reference (logits closer than 0.001) count
            as agreeing.
        max_diff: largest difference of a logit.
        mean_diff: mean difference of all logits.
        accuracy: of the exported file; None where the images have no labels that the model knows.
        reference_accuracy: of the reference.
        num_images: compared.
        disagreements: images named differently, near ties included; the surest first.
        passed: the gate holds.
        problems: why it does not, each with numbers.
        thin: there are too few images to prove much.
        precision: ``float`` or ``int8``, which says what the gate asks.
        data: the images.
        split: of them.
        engine: what ran the exported file.
    """

    agreement: float
    max_diff: float
    mean_diff: float
    accuracy: float | None
    reference_accuracy: float | None
    num_images: int
    disagreements: tuple[Disagreement, ...]
    passed: bool
    problems: tuple[str, ...] = ()
    thin: bool = False
    precision: str = "float"
    data: str = ""
    split: str = ""
    engine: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def summary(self) -> dict[str, Any]:
        """What the exported file's metadata holds: all but the single images."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {"disagreements": len(self.disagreements), "problems": list(self.problems)}


def compare_outputs(
    reference: ArrayLike,
    exported: ArrayLike,
    labels: NDArray[np.int64] | None,
    paths: Sequence[str],
    classes: Sequence[str],
    *,
    precision: str = "float",
    **origin: str,
) -> Verification:
    """Compares logits (N, K) with those of the reference, and decides.

    The gate. Float: at least 99.9 % agree; an image whose two best classes lie within 0.001 in the reference does not
    count as a disagreement. int8: accuracy drops by at most 0.5 points. One image is always allowed.

    Args:
        reference: logits of the model that the file was made of.
        exported: logits of the file.
        labels: true classes (N,); None: unknown, then int8 is held to the reference's answers.
        paths: names of the images.
        classes: names in the order of the logits.
        precision: ``float`` or ``int8``.
        origin: ``data``, ``split`` and ``engine`` of the result.

    Raises:
        DataError: there are no images.
    """
    expected, found = np.asarray(reference, np.float64), np.asarray(exported, np.float64)
    if not len(expected):
        raise DataError("there is not one image to compare the exported file on")
    wanted, named = expected.argmax(axis=1), found.argmax(axis=1)
    margins = _margins(expected)
    different = np.flatnonzero(wanted != named)
    counted = int(np.sum(margins[different] >= TIE_MARGIN))
    problems = _find_problems(found, counted, labels if labels is not None else wanted, wanted, named, precision)
    difference = np.abs(found - expected)
    order = different[np.argsort(-margins[different], kind="stable")]
    return Verification(
        agreement=1 - counted / len(expected),
        max_diff=_finite(difference.max()),
        mean_diff=_finite(difference.mean()),
        accuracy=None if labels is None else float(np.mean(named == labels)),
        reference_accuracy=None if labels is None else float(np.mean(wanted == labels)),
        num_images=len(expected),
        disagreements=tuple(
            Disagreement(paths[k], classes[named[k]], classes[wanted[k]], float(margins[k])) for k in order
        ),
        passed=not problems,
        problems=tuple(problems),
        thin=len(expected) < FEW_IMAGES,
        precision=precision,
        **origin,
    )


def explain_verification(result: Verification) -> list[str]:
    """The result in lines for people."""
    lines = [
        f"{result.agreement:.2%} of {result.num_images:,} images named alike; logits differ by at most "
        f"{result.max_diff:.2g}, {result.mean_diff:.2g} on average"
    ]
    if result.accuracy is not None and result.reference_accuracy is not None:
        lines.append(f"accuracy {result.accuracy:.2%}, before {result.reference_accuracy:.2%}")
    if result.thin:
        lines.append(f"thin evidence: fewer than {FEW_IMAGES} images; more prove more: --data")
    return lines + [f"failed: {problem}" for problem in result.problems]


def _margins(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Best minus second best, (N,); of a single class infinite."""
    if logits.shape[1] < 2:
        return np.full(len(logits), np.inf)
    best = np.partition(logits, -2, axis=1)
    return np.asarray(best[:, -1] - best[:, -2])


def _find_problems(
    logits: NDArray[np.float64],
    disagreeing: int,
    labels: NDArray[np.int64],
    wanted: NDArray[np.int64],
    named: NDArray[np.int64],
    precision: str,
) -> list[str]:
    count = len(labels)
    broken = int(np.sum(~np.isfinite(logits).all(axis=1)))
    if broken:
        return [
            phrase(
                "the exported file gives NaN or infinite outputs for {broken} of {number} images",
                broken=f"{broken:,}",
                number=f"{count:,}",
            )
        ]
    if precision == "int8":
        lost = int(np.sum(wanted == labels)) - int(np.sum(named == labels))
        if lost > 1 and lost / count > MAX_ACCURACY_DROP:
            return [
                phrase(
                    "{lost} more of {number} images are wrong, {share}; {allowed} may be",
                    lost=f"{lost:,}",
                    number=f"{count:,}",
                    share=f"{lost / count:.2%}",
                    allowed=f"{MAX_ACCURACY_DROP:.1%}",
                )
            ]
        return []
    if disagreeing > 1 and 1 - disagreeing / count < MIN_AGREEMENT:
        return [
            phrase(
                "{different} of {number} images are named differently: {agree} agree, {needed} must",
                different=f"{disagreeing:,}",
                number=f"{count:,}",
                agree=f"{1 - disagreeing / count:.2%}",
                needed=f"{MIN_AGREEMENT:.1%}",
            )
        ]
    return []


def _finite(value: np.floating[Any]) -> float:
    """JSON has no infinity; a difference that is none is as large as can be."""
    return float(value) if np.isfinite(value) else float(np.finfo(np.float64).max)
