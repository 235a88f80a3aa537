"""Take only the networks, train them by a loop of your own, and have a Featherlight model all the same.

    python examples/own_training_loop.py --epochs 5 --out digits.safetensors

What ``save_model`` writes knows its classes and its preprocessing, so ``predict``, ``evaluate``, ``export`` and
``serve`` take it like any other model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import featherlight

SIDE = 32
PREPROCESSING = featherlight.Preprocessing(input_size=SIDE)
CLASSES = tuple("0123456789")
NUM_TEST = 360


def load_images() -> tuple[np.ndarray, np.ndarray]:
    """All digits as a camera would give them: uint8 (N, 32, 32, 3), and what they show."""
    digits = load_digits()
    grey = (digits.images * (255 / 16)).astype(np.uint8).repeat(SIDE // 8, 1).repeat(SIDE // 8, 2)
    return np.stack([grey] * 3, axis=3), digits.target


def normalise(images: np.ndarray) -> Tensor:
    """What the network is given; predictors do the same with what stands in the model file."""  # (N, 3, 32, 32)
    scaled = (images / 255 - np.array(PREPROCESSING.mean)) / np.array(PREPROCESSING.std)
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2)).float()


def train(network: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    """A plain loop: what you have already, or need, in place of ``featherlight.train``."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    network.train()
    for epoch in range(1, epochs + 1):
        for batch in torch.split(torch.randperm(len(images)), 64):
            loss = F.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    network.eval()


def main(out: Path, epochs: int) -> None:
    """Trains, saves, and asks the saved model."""
    torch.manual_seed(0)
    images, labels = load_images()
    network = featherlight.create_model("shufflenet_v2_x0_5", num_classes=len(CLASSES), input_size=SIDE)
    train(network, normalise(images[NUM_TEST:]), torch.from_numpy(labels[NUM_TEST:]), epochs)
    featherlight.save_model(network, out, CLASSES, PREPROCESSING, provenance={"data": "scikit-learn's digits"})

    answers = featherlight.Predictor(out).predict(images[:NUM_TEST], top=1)
    right = np.mean([answer.label == CLASSES[label] for answer, label in zip(answers, labels, strict=False)])
    print(f"{out}: {right:.1%} of {NUM_TEST} images that training never saw are right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("digits.safetensors"))
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    main(given.out, given.epochs)
