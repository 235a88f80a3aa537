from __future__ import annotations

import pytest
import torch
from test_trainer import AUGMENTATION, PREPROCESSING, colour_images
from torch.nn import functional as F

from featherlight.errors import DataError
from featherlight.images import Preprocessing
from featherlight.loading.batches import Batch
from featherlight.models.engine import infer, normalized
from featherlight.models.registry import create_model
from featherlight.training.learner import Learner
from featherlight.training.recipe import Recipe
from featherlight.training.teacher import Teacher, distill

CPU = torch.device("cpu")
BATCH = Batch(0, *colour_images(8, seed=0))


class Watched(torch.nn.Module):
    """Answers with the mean colours of what it is shown, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.shown: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        self.shown.append(images.clone())
        return images.mean((2, 3))[:, :2] * self.scale


def same(images: torch.Tensor) -> torch.Tensor:
    return images


def test_distilled_loss_is_hintons_formula():
    generator = torch.Generator().manual_seed(0)
    logits, taught = (torch.randn(6, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.arange(6) % 4
    losses = F.cross_entropy(logits, labels, reduction="none")
    p, q = (taught / 3).softmax(1), (logits / 3).softmax(1)
    expected = 0.3 * losses + 0.7 * 9 * (p * (p / q).log()).sum(1)
    torch.testing.assert_close(distill(losses, logits, taught, 0.7, 3.0), expected)


def test_the_gradient_at_high_temperature_is_that_of_matching_logits():
    """Hinton et al. 2015, section 2.1: with zero-mean logits it tends to (z - v) / K for the T^2-weighted term."""
    generator = torch.Generator().manual_seed(0)
    logits, taught = (torch.randn(1, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    logits, taught = logits - logits.mean(), taught - taught.mean()
    logits.requires_grad_()
    distill(torch.zeros(1, dtype=torch.float64), logits, taught, 1.0, 1e4).sum().backward()
    torch.testing.assert_close(logits.grad, (logits.detach() - taught) / 5, rtol=1e-3, atol=1e-4)


def test_a_teacher_sees_images_at_its_own_size_mean_and_deviation():
    network = Watched()
    own = Preprocessing(24, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    Teacher(network, ("a", "b"), own, ("a", "b"), CPU)(BATCH.images, same)
    (shown,) = network.shown
    assert shown.shape == (8, 3, 24, 24)
    pixels = F.interpolate(BATCH.images.permute(0, 3, 1, 2).float() / 255, (24, 24), mode="bilinear")
    expected = (pixels - torch.tensor(own.mean).view(3, 1, 1)) / torch.tensor(own.std).view(3, 1, 1)
    torch.testing.assert_close(shown, expected, rtol=1e-4, atol=1e-4)


def test_a_grey_teacher_answers_for_a_coloured_student():
    network = create_model("mobilenet_v1_x0_25", 2, in_channels=1, input_size=16)
    teacher = Teacher(network, ("a", "b"), Preprocessing(16, mean=(0.5,), std=(0.25,)), ("a", "b"), CPU)
    assert teacher(BATCH.images, same).shape == (8, 2)


def test_classes_in_another_order_are_put_in_order():
    network = create_model("mobilenet_v1_x0_25", 3, input_size=16)
    teacher = Teacher(network, ("c", "a", "b"), PREPROCESSING, ("a", "b", "c"), CPU)
    expected = infer(network, normalized(BATCH.images, PREPROCESSING))
    torch.testing.assert_close(teacher(BATCH.images, same), expected[:, [1, 2, 0]])


@pytest.mark.parametrize(
    ("known", "says"), [(("a", "x"), "does not know 'b'"), (("a", "b", "x"), "also knows 'x'"), (("a",), "know 'b'")]
)
def test_other_classes_are_refused(known, says):
    with pytest.raises(DataError, match=says):
        Teacher(Watched(), known, PREPROCESSING, ("a", "b"), CPU)


def test_both_see_the_same_mixture():
    network = Watched()
    student = create_model("mobilenet_v1_x0_25", 2, input_size=16)
    seen: list[torch.Tensor] = []
    student.register_forward_pre_hook(lambda _, images: seen.append(images[0].clone()))
    teacher = Teacher(network, ("a", "b"), PREPROCESSING, ("a", "b"), CPU)
    learner = Learner(student, Recipe("x", teacher="t"), PREPROCESSING, AUGMENTATION, teacher=teacher)
    learner.gather(BATCH, seed=5)
    assert torch.equal(seen[0], network.shown[0])
    assert not torch.equal(seen[0], normalized(BATCH.images, PREPROCESSING))  # it was mixed


def test_a_teacher_changes_nothing_but_the_loss():
    """With no weight in the loss, training is bit for bit what it is without a teacher."""
    gradients = []
    for taught in (False, True):
        torch.manual_seed(0)
        student = create_model("mobilenet_v1_x0_25", 2, input_size=16, dropout=0.3)
        teacher = Teacher(Watched(), ("a", "b"), PREPROCESSING, ("a", "b"), CPU) if taught else None
        recipe = Recipe("x", teacher="t", distill_weight=0.0)
        learner = Learner(student, recipe, PREPROCESSING, AUGMENTATION, teacher=teacher)
        learner.gather(BATCH, seed=5)
        gradients.append([parameter.grad for parameter in student.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_teacher_is_not_trained():
    network = Watched()
    teacher = Teacher(network, ("a", "b"), PREPROCESSING, ("a", "b"), CPU)
    before = teacher.fingerprint
    student = create_model("mobilenet_v1_x0_25", 2, input_size=16)
    learner = Learner(student, Recipe("x", teacher="t"), PREPROCESSING, AUGMENTATION, teacher=teacher)
    learner.gather(BATCH, seed=0)
    learner.update()
    assert network.scale.grad is None
    assert Teacher(network, ("a", "b"), PREPROCESSING, ("a", "b"), CPU).fingerprint == before


def test_fingerprints_tell_weights_apart():
    prints = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = create_model("mobilenet_v1_x0_25", 2, input_size=16)
        prints.add(Teacher(network, ("a", "b"), PREPROCESSING, ("a", "b"), CPU).fingerprint)
    assert len(prints) == 2
