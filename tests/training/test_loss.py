from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from featherlight.training.loss import compute_losses
from featherlight.training.recipe import Recipe

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_pytorchs(smoothing):
    losses = compute_losses(LOGITS, LABELS, Recipe("x", label_smoothing=smoothing))
    torch.testing.assert_close(losses.mean(), nn.CrossEntropyLoss(label_smoothing=smoothing)(LOGITS, LABELS))


def test_label_smoothing_is_megviis():
    target = torch.full((6, 4), 0.1 / 4).scatter_(1, LABELS[:, None], 1 - 0.1 + 0.1 / 4)
    expected = -(target * F.log_softmax(LOGITS, 1)).sum(1)
    torch.testing.assert_close(compute_losses(LOGITS, LABELS, Recipe("x", label_smoothing=0.1)), expected)


def test_double_softmax_is_a_network_with_softmax_before_a_cross_entropy():
    recipe = Recipe("x", loss="double-softmax", label_smoothing=0.0)
    expected = F.cross_entropy(nn.Softmax(dim=1)(LOGITS), LABELS, reduction="none")
    torch.testing.assert_close(compute_losses(LOGITS, LABELS, recipe), expected)


def test_double_softmax_cannot_fall_below_its_floor():
    sure = torch.tensor([[1000.0] + 9 * [0.0]])
    loss = compute_losses(sure, torch.tensor([0]), Recipe("x", loss="double-softmax", label_smoothing=0.0))
    assert loss.item() == pytest.approx(math.log(math.e + 9) - 1, rel=1e-6)


def test_mixed_targets_are_weighed_by_their_probabilities():
    targets = torch.tensor([[0.3, 0.7, 0.0, 0.0]]).expand(6, 4)
    recipe = Recipe("x", loss="double-softmax", label_smoothing=0.0)
    first, second = (compute_losses(LOGITS, torch.full((6,), label), recipe) for label in (0, 1))
    torch.testing.assert_close(compute_losses(LOGITS, targets, recipe), 0.3 * first + 0.7 * second)
