"""How an image looks, in few bytes: a 64-bit perceptual hash and a tiny picture, both compared without decoding again.

Two images are near duplicates when both agree: copies of other size, format or quality, and shots a moment apart.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featherlight.sources.base import RGBImage

NEAR_BITS = 6  # of the 64 bits that may differ
NEAR_CORRELATION = 0.95  # of the tiny pictures, at least
THUMB_SIZE = 16

_GRID, _KEPT = 32, 8  # the hash keeps the 8 x 8 lowest frequencies of 32 x 32 grey pixels
_COSINES = np.cos(np.outer(np.arange(_KEPT), 2 * np.arange(_GRID) + 1) * math.pi / (2 * _GRID))  # DCT-II, (8, 32)
_PIECES = 8  # of 8 bits; six differing bits leave at least two pieces whole
_MAX_NEIGHBOURS = 1000  # compared at most, where very many images share two pieces: those are as good as blank


def perceptual_hash(image: RGBImage) -> int:
    """The pHash of Zauner 2010, bit for bit as the library imagehash computes it (that one needs SciPy).

    Args:
        image: RGB uint8 (H, W, 3).

    Returns:
        64 bits, each telling whether one of the lowest frequencies lies above their median.
    """
    grey = Image.fromarray(image).convert("L").resize((_GRID, _GRID), Image.Resampling.LANCZOS)
    low = _COSINES @ np.asarray(grey, np.float64) @ _COSINES.T
    return int.from_bytes(np.packbits(low.ravel() > np.median(low)).tobytes(), "big")


def tiny_picture(image: RGBImage) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3) -> grey (16, 16), each pixel the mean of its part; copies may have lost their colour."""
    return np.array(Image.fromarray(image).convert("L").resize((THUMB_SIZE, THUMB_SIZE), Image.Resampling.BOX))


def near_pairs(hashes: NDArray[np.uint64], thumbs: NDArray[np.uint8]) -> NDArray[np.int64]:
    """All pairs of near duplicates.

    Args:
        hashes: perceptual hashes (N,).
        thumbs: tiny pictures (N, 16, 16).

    Returns:
        Pairs of positions, int64 (P, 2), the smaller first, sorted.
    """
    pairs = _hash_pairs(hashes)
    return pairs[_correlation(thumbs, pairs) >= NEAR_CORRELATION]


def _hash_pairs(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs whose hashes differ in at most ``NEAR_BITS`` bits: they share at least two of eight bytes."""
    pieces = np.ascontiguousarray(hashes)[:, None].view(np.uint8).astype(np.uint32)  # (N, 8)
    found = [np.zeros((0, 2), np.int64)]
    for first, second in combinations(range(_PIECES), 2):
        found.append(_pairs_sharing(pieces[:, first] << np.uint32(8) | pieces[:, second], hashes))
    return np.unique(np.concatenate(found), axis=0)


def _pairs_sharing(keys: NDArray[np.uint32], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs of equal key whose hashes are close: in sorted order, each with its next, next but one, ... neighbour."""
    order = np.argsort(keys, kind="stable")
    keys, hashes = keys[order], hashes[order]
    found = [np.zeros((0, 2), np.int64)]
    active = np.arange(len(keys))
    for distance in range(1, _MAX_NEIGHBOURS + 1):
        active = active[active < len(keys) - distance]
        active = active[keys[active] == keys[active + distance]]
        if not len(active):
            break
        close = active[np.bitwise_count(hashes[active] ^ hashes[active + distance]) <= NEAR_BITS]
        found.append(np.sort(np.stack((order[close], order[close + distance]), axis=1), axis=1))
    return np.concatenate(found)


def _correlation(thumbs: NDArray[np.uint8], pairs: NDArray[np.int64], block: int = 4096) -> NDArray[np.float64]:
    """Pearson correlation of the tiny pictures of each pair."""
    result = np.zeros(len(pairs))
    for start in range(0, len(pairs), block):
        one, other = (_centred(thumbs[pairs[start : start + block, side]]) for side in (0, 1))
        result[start : start + block] = (one * other).sum(axis=1)
    return result


def _centred(thumbs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Rows of length one whose mean is zero; what hardly varies becomes zero, so that it resembles nothing."""
    flat = thumbs.reshape(len(thumbs), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.sqrt((flat**2).sum(axis=1, keepdims=True))
    flat[length[:, 0] < math.sqrt(flat.shape[1])] = 0  # a standard deviation under one grey level
    return np.asarray(flat / np.maximum(length, 1e-9))
