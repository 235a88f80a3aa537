from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from featherlight.training.balance import MAX_WEIGHT, class_weights, describe_weights, weigh

LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=80).map(lambda values: np.array(values, np.int64))


@given(LABELS)
def test_weights_are_those_of_scikit_learn_up_to_the_limit(labels: np.ndarray) -> None:
    present = np.unique(labels)
    expected = np.zeros(7)
    expected[present] = np.minimum(compute_class_weight("balanced", classes=present, y=labels), MAX_WEIGHT)
    np.testing.assert_allclose(class_weights(labels, 7), expected, rtol=1e-6)


def test_a_tiny_class_has_a_limited_weight() -> None:
    weights = class_weights(np.array([0] * 9999 + [1]), 2)
    assert weights[1] == MAX_WEIGHT


@pytest.mark.parametrize("mixed", [False, True])
def test_weighted_loss_is_that_of_pytorch_before_its_division(mixed: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (8,), generator=generator)
    weights = torch.tensor([0.5, 1.0, 2.5], dtype=torch.float64)
    targets = F.one_hot(labels, 3).double() if mixed else labels
    losses = F.cross_entropy(logits, targets, reduction="none")
    expected = F.cross_entropy(logits, labels, weight=weights, reduction="sum") / 8
    torch.testing.assert_close(weigh(losses, targets, weights, None), expected)
    per_image = torch.arange(8, dtype=torch.float64)
    torch.testing.assert_close(weigh(losses, targets, None, per_image), (losses * per_image).mean())


def test_without_weights_the_loss_is_the_mean_bit_for_bit() -> None:
    logits, labels = torch.randn(64, 10), torch.arange(64) % 10
    losses = F.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    assert weigh(losses, labels, None, None).item() == losses.mean().item()


def test_weights_are_shown_in_class_order_and_the_extremes_of_many() -> None:
    assert describe_weights(np.array([0.5, 2], np.float32), ["cats", "dogs"]) == "cats 0.5, dogs 2"
    many = describe_weights(np.arange(100, 0, -1).astype(np.float32), [f"c{k}" for k in range(100)])
    assert many.startswith("c99 1, ")
    assert many.endswith("c0 100")
    assert len(many) < 100
