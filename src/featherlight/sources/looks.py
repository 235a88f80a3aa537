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
_MAX_NEIGHBOURS = 1000  # compared at most, where very many images share two pieces
_MAX_PARTNERS = 100  # a still camera's frames are all alike: who has so many partners needs no more


def perceptual_hash(image: RGBImage) -> int:
    """The pHash of Zauner 2010, bit for bit as the library imagehash computes it (that one needs SciPy).

    Args:
        image: RGB uint8 (H, W, 3).

    Returns:
        64 bits, each telling whether one of the lowest frequencies lies above their median.
    """
    return _hash_grey(Image.fromarray(image).convert("L"))


def tiny_picture(image: RGBImage) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3) -> grey (16, 16), each pixel the mean of its part; copies may have lost their colour."""
    return _shrink_grey(Image.fromarray(image).convert("L"))


def describe_looks(image: RGBImage) -> tuple[int, NDArray[np.uint8], tuple[float, float, int, int]]:
    """Perceptual hash, tiny picture and grey tones of RGB uint8 (H, W, 3), turned to grey once.

    The tones are mean, standard deviation, 1st and 99th percentile of the grey levels, 0 to 255.
    """
    grey = Image.fromarray(image).convert("L")
    return _hash_grey(grey), _shrink_grey(grey), _tones(grey)


def _hash_grey(image: Image.Image) -> int:
    grey = image.resize((_GRID, _GRID), Image.Resampling.LANCZOS)
    low = _COSINES @ np.asarray(grey, np.float64) @ _COSINES.T
    return int.from_bytes(np.packbits(low.ravel() > np.median(low)).tobytes(), "big")


def _shrink_grey(grey: Image.Image) -> NDArray[np.uint8]:
    return np.array(grey.resize((THUMB_SIZE, THUMB_SIZE), Image.Resampling.BOX))


def _tones(grey: Image.Image) -> tuple[float, float, int, int]:
    counts = np.array(grey.histogram(), np.float64)
    share = counts / counts.sum()
    levels = np.arange(256)
    mean = float(share @ levels)
    deviation = math.sqrt(max(0.0, float(share @ (levels - mean) ** 2)))
    low, high = np.searchsorted(np.cumsum(counts), (0.01 * counts.sum(), 0.99 * counts.sum()))
    return mean, deviation, int(low), int(high)


def near_pairs(hashes: NDArray[np.uint64], thumbs: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pairs of near duplicates: all, or about ``_MAX_PARTNERS`` for each of many images that are all alike.

    Args:
        hashes: perceptual hashes (N,).
        thumbs: tiny pictures (N, 16, 16).

    Returns:
        Pairs of positions, int64 (P, 2), the smaller first, sorted.
    """
    shown = np.flatnonzero(np.ptp(thumbs, axis=(1, 2)) > 1)  # the rest is blank; there may be very many of them
    pairs = shown[_hash_pairs(hashes[shown])]
    return pairs[_correlation(thumbs, pairs) >= NEAR_CORRELATION]


def _hash_pairs(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs whose hashes differ in at most ``NEAR_BITS`` bits: they share at least two of eight bytes."""
    pieces = np.ascontiguousarray(hashes)[:, None].view(np.uint8).astype(np.uint32)  # (N, 8)
    # Neighbours are met in a mixed order: of many alike ones, everyone's partners come from all over the data.
    mixed = np.random.default_rng(0).permutation(len(hashes))
    found = np.zeros(0, np.uint64)  # both positions in one number
    partners = np.zeros(len(hashes), np.int64)
    for first, second in combinations(range(_PIECES), 2):
        keys = pieces[:, first] << np.uint32(8) | pieces[:, second]
        order = mixed[np.argsort(keys[mixed], kind="stable")]
        found = _distinct(np.concatenate([found, _pairs_sharing(keys[order], hashes[order], order, partners)]))
        partners = np.bincount(_unpack(found).ravel(), minlength=len(hashes))
    return _unpack(found)


def _pairs_sharing(
    keys: NDArray[np.uint32], hashes: NDArray[np.uint64], order: NDArray[np.int64], partners: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Pairs of equal key whose hashes are close: each with its next, next but one, ... neighbour in sorted order.

    Args:
        keys: ascending.
        hashes: in the order of ``keys``.
        order: position of each in the data.
        partners: how many each position in the data has already; counted on.
    """
    found = [np.zeros(0, np.uint64)]
    active = np.arange(len(keys))
    for distance in range(1, _MAX_NEIGHBOURS + 1):
        active = active[active < len(keys) - distance]
        active = active[(keys[active] == keys[active + distance]) & (partners[order[active]] < _MAX_PARTNERS)]
        if not len(active):
            break
        close = active[np.bitwise_count(hashes[active] ^ hashes[active + distance]) <= NEAR_BITS]
        one, other = order[close], order[close + distance]
        np.add.at(partners, np.concatenate([one, other]), 1)
        low, high = np.minimum(one, other).astype(np.uint64), np.maximum(one, other).astype(np.uint64)
        found.append(low << np.uint64(32) | high)
    return np.concatenate(found)


def _distinct(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sorted; ``np.unique`` hashes, which takes a minute for a million of these numbers."""
    ordered = np.sort(values)
    is_new = np.ones(len(ordered), bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_new]


def _unpack(pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.stack((pairs >> np.uint64(32), pairs & np.uint64(2**32 - 1)), axis=1).astype(np.int64)


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
