"""A comparison and an answer to ``check --enough``, made up, for pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from featherlight.comparison import Answers, ComparedModel, Comparison, compare_pairs, explain_comparison
from featherlight.phrases import joined, phrase
from featherlight.report.compare_page import write_compare_page
from featherlight.sources.findings import Enough
from featherlight.sources.findings.enough import ClassNeed, CurvePoint, Gain, LearningCurve

CLASSES = ("airplane", "bird", "cat", "deer")


def make_comparison(names: tuple[str, ...], classes: tuple[str, ...] = CLASSES, num_images: int = 600) -> Comparison:
    rng = np.random.default_rng(0)
    labels, hard = np.arange(num_images) % len(classes), rng.random(num_images)
    accuracy = np.linspace(0.8, 0.9, len(names))
    right = np.stack([hard + rng.normal(0, 0.03, num_images) < value for value in accuracy])
    named = np.where(right, labels, (labels + 1) % len(classes))
    models = tuple(
        ComparedModel(
            f"runs/{name}", name, "shufflenet_v2_x0_5", "torch", "float32", 32, float(right[k].mean()), (0.75, 0.95),
            0.01 * k, 0.3, 1_400_000 * (k + 1), 350_000, 41_000_000, 1.5 * k + 1, (1.0, 9.0),
            {label: float(right[k][labels == n].mean()) for n, label in enumerate(classes)},
        )
        for k, name in enumerate(names)
    )  # fmt: skip
    pairs = compare_pairs(names, right, named)
    answers = tuple(
        Answers(f"photos/{classes[labels[place]]}/{place}.png", classes[labels[place]],
                tuple(classes[number] for number in named[:, place]), (0.9,) * len(names))
        for place in np.flatnonzero((named != named[0]).any(axis=0))
    )  # fmt: skip
    return Comparison(
        "photos", "test", num_images, classes, 2, "a processor, 2 cores", models, pairs,
        explain_comparison(models, pairs), ("a note",), answers,
    )  # fmt: skip


def make_history(epochs: int) -> list[dict[str, Any]]:
    return [
        {"epoch": k, "seconds": 30.0 * k, "val_top1": 0.9 - 0.5 / k, "val_loss": 2 / k} for k in range(1, epochs + 1)
    ]


def write_comparison(path: Path, comparison: Comparison, lang: str = "en") -> Path:
    images = np.random.default_rng(0).integers(0, 256, (len(comparison.disagreements), 32, 32, 3), np.uint8)
    pictures = list(zip(comparison.disagreements, images, strict=True))[:12]
    histories = {model.name: make_history(12) for model in comparison.models[:-1]}
    command = "featherlight compare runs/a runs/b --data photos"
    write_compare_page(path, comparison, histories, pictures, command, lang)
    return path


def make_enough(classes: tuple[str, ...] = CLASSES) -> Enough:
    curves = tuple(
        LearningCurve(
            name, 200_000, macs,
            tuple(CurvePoint(n, 0.9 - e / n, 0.85 - e / n, 0.93 - e / n, 0.99) for n in (100, 200, 400)), 0.5,
            CurvePoint(800, 0.9 - e / 800, 0.8, 0.95),
        )
        for name, macs, e in (("mobilenet_v1_x0_25", 9_000_000, 30), ("mobilenet_v1_x0_5", 33_000_000, 25))
    )  # fmt: skip
    gains = {
        "more_photos": Gain(0.06, 0.04, 0.08), "bigger_network": Gain(0.008, -0.005, 0.02), "cleaner_labels": None
    }  # fmt: skip
    needs = tuple(ClassNeed(name, 100, 0.8, 0.07 - 0.01 * k) for k, name in enumerate(classes))
    points = phrase("{points} points ({low} to {high})", points="6.0", low="4.0", high="8.0")
    sentence = phrase(
        "{more}: twice as many would bring {points}; {others}.",
        more=phrase("More photos, most of all of {classes}", classes=joined(classes[:2])), points=points,
        others=phrase("a network with {times}x the MACs brings {points}", times="3.6", points=points),
    )  # fmt: skip
    evidence = phrase(
        "{name} names {own} % of its training images rightly, {new} % of others", name="a", own=99, new=80
    )
    return Enough(
        "more_photos", sentence, gains, curves, needs, (evidence,), (phrase("networks saw the images at {side} px",
        side=32),), 1000, 2, 32, 40, 40, 60.0, 600.0,
    )  # fmt: skip
