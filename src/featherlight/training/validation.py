"""A network measured on images that it was not trained on."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from operator import itemgetter
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
from featherlight.training.team import ALONE, Team
from featherlight.training.trainer import Validation

BATCH_SIZE = 256

_Part = tuple[int, NDArray[np.float32], NDArray[np.int64]]  # number of a batch, logits, labels


class ValidationSet:
    """The validation split, decoded once where memory or the cache holds it; by the one definition, to the last bit.

    Args:
        split: labelled images.
        preprocessing: of the model.
        device: of the networks that will be measured.
        strict: an unreadable image is an error where images are read anew each time.
        team: processes that share the work.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        device: torch.device,
        *,
        strict: bool = False,
        team: Team = ALONE,
    ) -> None:
        self._strict, self._team = strict, team
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
        """Loss (mean cross-entropy), top-1 accuracy and macro F1; in a team every process has to call."""
        shares = self._team.collect(self._infer(model, self._team))
        logits, labels = _joined([part for share in shares for part in share])
        predicted = logits.argmax(1)
        macro_f1 = macro_scores(labels, predicted, logits.shape[1])["macro_f1"]
        return Validation(cross_entropy(logits, labels), float((predicted == labels).mean()), macro_f1)

    def logits(self, model: nn.Module) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Logits (N, num_classes) and labels (N,) of every image that can be read.

        Raises:
            DataError: there are none.
        """
        return _joined(self._infer(model, ALONE))

    def _infer(self, model: nn.Module, team: Team) -> list[_Part]:
        parts = []
        for number, images, labels in self._batches(team):
            batch = normalized(torch.from_numpy(images).to(self._device), self._preprocessing)
            parts.append((number, infer(model, batch).cpu().numpy(), labels))
        return parts

    def _batches(self, team: Team) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[Any]]]:
        """This process's batches with their numbers; the same batches however many processes there are."""
        if self._stored is not None:
            positions = self._stored.positions[: self._limit]
            for number in range(team.rank, math.ceil(len(positions) / BATCH_SIZE), team.world):
                members = positions[number * BATCH_SIZE : (number + 1) * BATCH_SIZE]
                yield number, np.stack(self._stored.take(members)), self._split.labels[members]
            return
        positions = np.arange(min(self._limit, len(self._split)))
        mine = positions[positions // BATCH_SIZE % team.world == team.rank]
        split = self._split if len(mine) == len(self._split) else take(self._split, mine)
        for turn, batch in enumerate(prepared_batches(split, self._preprocessing, BATCH_SIZE)):
            note_unreadable(batch.unreadable, self.unreadable, strict=self._strict)
            yield turn * team.world + team.rank, batch.images, split.labels[batch.positions]


def _joined(parts: list[_Part]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if not parts:
        raise DataError("not one validation image can be read; see the messages above")
    _, logits, labels = zip(*sorted(parts, key=itemgetter(0)), strict=True)
    return np.concatenate(logits), np.concatenate(labels)
