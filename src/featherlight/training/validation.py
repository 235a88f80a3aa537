"""A network measured on images that it was not trained on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from featherlight.errors import DataError
from featherlight.images import Preprocessing
from featherlight.loading.batches import fits_in_memory, note_unreadable
from featherlight.loading.decoding import Decoder
from featherlight.loading.loaded import load_from_disk, load_images
from featherlight.metrics import cross_entropy, macro_scores
from featherlight.models.engine import infer, normalized
from featherlight.sources.base import Split, Unreadable, take
from featherlight.sources.reading import prepared_batches
from featherlight.training.trainer import Validation

BATCH_SIZE = 256


class ValidationSet:
    """The validation split, decoded once where memory or the cache holds it; by the one definition, to the last bit.

    Args:
        split: labelled images.
        preprocessing: of the model.
        device: of the networks that will be measured.
        strict: an unreadable image is an error where images are read anew each time.

    """

    def __init__(
        self, split: Split, preprocessing: Preprocessing, device: torch.device, *, strict: bool = False
    ) -> None:
        self._strict = strict
        self._split, self._preprocessing, self._device = split, preprocessing, device
        exact = Decoder(split, preprocessing, scaled=False)
        fits = fits_in_memory(len(split), preprocessing)
        self._stored = load_images(exact) if fits else load_from_disk(exact)
        self._limit = len(split)
        self.unreadable: list[Unreadable] = [] if self._stored is None else self._stored.unreadable(split)

    def __len__(self) -> int:
        return len(self._split)

    def part(self, count: int) -> ValidationSet:
        """The first images only."""
        result = copy.copy(self)
        result._limit = count
        return result

    def __call__(self, model: nn.Module) -> Validation:
        """Loss (mean cross-entropy), top-1 accuracy and macro F1."""
        logits, labels = self.logits(model)
        predicted = logits.argmax(1)
        macro_f1 = macro_scores(labels, predicted, logits.shape[1])["macro_f1"]
        return Validation(cross_entropy(logits, labels), float((predicted == labels).mean()), macro_f1)

    def logits(self, model: nn.Module) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Logits (N, num_classes) and labels (N,) of every image that can be read.

        Raises:
            DataError: there are none.
        """
        logits, labels = [], []
        for images, truth in self._batches():
            batch = normalized(torch.from_numpy(images).to(self._device), self._preprocessing)
            logits.append(infer(model, batch).cpu().numpy())
            labels.append(truth)
        if not logits:
            raise DataError("not one validation image can be read; see the messages above")
        return np.concatenate(logits), np.concatenate(labels)

    def _batches(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[Any]]]:
        if self._stored is not None:
            positions = self._stored.positions[: self._limit]
            for start in range(0, len(positions), BATCH_SIZE):
                members = positions[start : start + BATCH_SIZE]
                yield np.stack(self._stored.take(members)), self._split.labels[members]
            return
        split = self._split if self._limit >= len(self._split) else take(self._split, np.arange(self._limit))
        for batch in prepared_batches(split, self._preprocessing, BATCH_SIZE):
            note_unreadable(batch.unreadable, self.unreadable, strict=self._strict)
            yield batch.images, split.labels[batch.positions]
