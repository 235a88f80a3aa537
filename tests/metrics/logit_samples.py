"""Logits for the tests of metrics."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


def logits_that_say(predicted: list[int], num_classes: int) -> np.ndarray:
    return 3.0 * np.eye(num_classes)[predicted]


@st.composite
def logits_and_labels(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rows, classes = draw(st.integers(1, 40)), draw(st.integers(2, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.integers(0, classes, rows)
    if draw(st.booleans()):  # few distinct values: ties
        return rng.integers(0, 3, (rows, classes)).astype(np.float32), labels
    return rng.normal(0, draw(st.sampled_from([0.1, 1, 30])), (rows, classes)).astype(np.float32), labels
