"""Distillation: a small network learns what a larger one answers (Hinton et al. 2015, arXiv 1503.02531).

Both see the same augmented view of an image in every step, mixed alike: a "consistent teacher" (Beyer et al. 2021,
arXiv 2106.05237). The teacher is patient: it answers for as many epochs as training lasts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from featherlight.errors import DataError, quote_names
from featherlight.images import Preprocessing
from featherlight.models.engine import infer, normalized


class Teacher:
    """A trained network that answers for training images.

    Args:
        network: the teacher.
        classes: of its outputs.
        preprocessing: its own: size, channels, mean and deviation; images come cut and augmented for the student.
        student_classes: in the order of the student's outputs.
        device: where to compute.

    Raises:
        DataError: teacher and student know different classes.
    """

    def __init__(
        self,
        network: nn.Module,
        classes: Sequence[str],
        preprocessing: Preprocessing,
        student_classes: Sequence[str],
        device: torch.device,
    ) -> None:
        self._order = _order(classes, student_classes, device)
        self.fingerprint = _fingerprint(network)
        self._network = network.to(device).to(memory_format=torch.channels_last).eval()
        self._preprocessing = preprocessing

    def __call__(self, images: Tensor, mix: Callable[[Tensor], Tensor]) -> Tensor:
        """Logits in the student's order of classes, float32 (N, K), without gradients.

        Args:
            images: augmented, uint8 (N, S, S, 3), on the device.
            mix: mixes normalised images (N, C, S, S) as the student's are mixed.
        """
        size = self._preprocessing.input_size
        seen = mix(normalized(images, self._preprocessing))
        if seen.shape[-1] != size:
            seen = F.interpolate(seen, (size, size), mode="bilinear", antialias=size < seen.shape[-1])
        logits = infer(self._network, seen.contiguous(memory_format=torch.channels_last))
        return logits[:, self._order].clone()  # a clone made outside inference mode can take part in a gradient


def _order(classes: Sequence[str], wanted: Sequence[str], device: torch.device) -> Tensor:
    """Positions among the teacher's outputs of the student's classes."""
    unknown = [name for name in wanted if name not in set(classes)]
    further = [name for name in classes if name not in set(wanted)]
    if unknown:
        raise DataError(
            f"the teacher does not know {quote_names(unknown, 5)}; it knows {quote_names(classes, 5)}. "
            "A teacher must have been trained on the same classes"
        )
    if further:
        raise DataError(
            f"the teacher also knows {quote_names(further, 5)}, which these images do not show. "
            "A teacher must have been trained on the same classes"
        )
    place = {name: number for number, name in enumerate(classes)}
    return torch.tensor([place[name] for name in wanted], device=device)


def _fingerprint(network: nn.Module) -> str:
    """Of names, shapes and values of all weights and running statistics."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def distill(losses: Tensor, logits: Tensor, taught: Tensor, weight: float, temperature: float) -> Tensor:
    """Loss of labels and teacher together, an image.

    ``(1 - w) * losses + w * T^2 * KL(softmax(taught / T) || softmax(logits / T))``; the factor keeps the size of the
    gradients whatever the temperature.

    Args:
        losses: of the labels, (N,).
        logits: of the student, (N, K).
        taught: of the teacher, (N, K).
        weight: w, the teacher's part.
        temperature: T.

    Returns:
        (N,).
    """
    student = F.log_softmax(logits / temperature, dim=1)
    teacher = F.log_softmax(taught / temperature, dim=1)
    divergence = F.kl_div(student, teacher, reduction="none", log_target=True).sum(1)
    return (1 - weight) * losses + weight * temperature**2 * divergence
