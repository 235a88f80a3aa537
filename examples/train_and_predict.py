"""Train a network, measure it, and ask it about images.

    python examples/train_and_predict.py photos new/1.jpg new/2.jpg
    python examples/train_and_predict.py

The first trains on a folder that has a folder of images for each class; the second on built-in handwritten digits.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import featherlight


def train_and_predict(data: str, images: Sequence[str], epochs: int | None = None) -> None:
    """From images to a run directory, to numbers, to answers; without ``epochs`` the recipe says how long."""
    run = featherlight.train(data, epochs=epochs)
    print(f"\neverything about the run: {run.path}")

    measured = featherlight.evaluate(run.path)
    low, high = measured.top1_interval or (0.0, 1.0)
    print(f"{measured.top1:.1%} of {measured.num_images} {measured.split} images are right ({low:.1%} to {high:.1%})")

    predictor = featherlight.Predictor(run.path)
    for answer in predictor.predict(images, top=2):
        if answer.error is not None:
            print(f"{answer.path}: cannot be read: {answer.error}")
        elif answer.rejected:
            print(f"{answer.path}: unlike everything that was learnt; perhaps {answer.label}")
        else:
            print(f"{answer.path}: {answer.label}, {answer.probability:.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="digits")
    parser.add_argument("images", nargs="*")
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    train_and_predict(given.data, given.images, given.epochs)
