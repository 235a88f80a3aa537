"""Folds for cross-validation: every class in every fold, and what hangs together in one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def deal_folds(labels: NDArray[np.int64], roots: NDArray[np.int64], folds: int, seed: int = 0) -> NDArray[np.int64]:
    """Deals images into folds; unlike scikit-learn's StratifiedGroupKFold in time that grows with N alone.

    Args:
        labels: class of each image (N,).
        roots: images that hang together (copies, a group) share a number (N,).
        folds: how many.
        seed: of the order in which they are dealt.

    Returns:
        The fold of each image, int64 (N,). Each class is spread as evenly as what hangs together allows.
    """
    names, component, sizes = np.unique(roots, return_inverse=True, return_counts=True)
    first = np.full(len(names), len(labels))
    np.minimum.at(first, component, np.arange(len(labels)))
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]  # the large ones first: the small ones even them out
    classes = np.arange(int(labels.max(initial=-1)) + 1)
    filled = (classes[:, None] + np.arange(folds)) % folds / folds  # each class begins with another fold
    chosen = np.zeros(len(names), np.int64)
    for name in order.tolist():
        row = filled[labels[first[name]]]  # of a component in several classes, the first image's speaks for all
        chosen[name] = row.argmin()
        row[chosen[name]] += sizes[name]
    return chosen[component]
