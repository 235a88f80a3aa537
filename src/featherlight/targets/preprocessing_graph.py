"""Resize, crop and normalisation as ONNX operators: what ``images.py`` does, inside the exported file.

Pillow resizes in two passes: along rows, then along columns, each rounded to whole values. Each output is a weighted
mean of neighbours, with weights that fall linearly from its centre ("bilinear" with antialiasing: the triangle is as
wide as the reduction). So a pass is a matrix that height and width determine, and the graph builds it. Source: Pillow's
``src/libImaging/Resample.c``. Engines' own antialiased resizes round elsewhere and differ by several values.

The matrix is nearly all zeros: outputs are taken in blocks, and each block is multiplied with the stretch of the image
that it needs. Positions are fractions with one denominator, so their arithmetic is exact in whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from featherlight.images import Preprocessing
from featherlight.images.preprocess import CROP_GRID
from featherlight.targets.graph_writer import GraphWriter

BLOCK = 16  # outputs that share a stretch of the image
_LIMB = 2**11  # Pillow's weights have 22 bits; in two halves their products with pixels are exact
_LUMA = np.array([19595, 38470, 7471], np.float32).reshape(1, 3, 1, 1)  # Pillow's mode "L", of 65536


@dataclass(frozen=True)
class _Pass:
    """Where the outputs of one pass lie: the centre of output ``i`` is ``(offset + (2 i + 1) * step) / (2 * unit)``.

    All are int64 (1,). ``length`` is the image's side. ``covers``: the first output that the image reaches, and the one
    after the last; the others stay empty. None: it reaches all.
    """

    length: ir.Value
    offset: ir.Value
    step: ir.Value
    unit: ir.Value
    covers: tuple[ir.Value, ir.Value] | None = None


def write_preprocessing(write: GraphWriter, image: ir.Value, preprocessing: Preprocessing) -> ir.Value:
    """Writes what turns uint8 (N, height, width, 3) into the network's float32 (N, C, S, S).

    Within one value of 255 of :func:`featherlight.images.resize_image`, nearly everywhere equal.
    """
    size = preprocessing.input_size
    height, width = (write("Shape", image, start=axis, end=axis + 1) for axis in (1, 2))
    down, across = _plan(write, height, width, preprocessing)
    # Plain transpositions of two axes: runtimes are ten times slower at moving three channels at once.
    planes = write("Transpose", image, perm=[0, 3, 1, 2])
    columns = _turn(write, planes, width)  # (W, N * 3 * H)
    rows = _turn(write, _resample(write, columns, across, size), height)  # (H, S * N * 3)
    pixels = _turn(write, _resample(write, rows, down, size), write.constant(-1), size * size)  # (N * 3, S * S)
    pixels = write("Reshape", pixels, np.array([-1, 3, size, size], np.int64))
    if preprocessing.resize == "pad":
        pixels = write("Add", pixels, _margins(write, down, across, preprocessing))
    return _normalise(write, pixels, preprocessing)


def _plan(write: GraphWriter, height: ir.Value, width: ir.Value, preprocessing: Preprocessing) -> tuple[_Pass, _Pass]:
    """The passes along height and width that the policy asks for."""
    size = preprocessing.input_size
    if preprocessing.resize == "stretch":
        down, across = (_Pass(side, write.constant(0), side, write.constant(size)) for side in (height, width))
    elif preprocessing.resize == "pad":
        longer = write("Max", height, width)
        down, across = (_padded(write, side, longer, size) for side in (height, width))
    else:
        shorter = write("Min", height, width)
        down, across = (_cropped(write, side, shorter, preprocessing) for side in (height, width))
    return down, across


def _cropped(write: GraphWriter, side: ir.Value, shorter: ir.Value, preprocessing: Preprocessing) -> _Pass:
    """The middle of the image, a square of the size that ``featherlight.images.preprocess.crop_side`` says."""
    size = preprocessing.input_size
    scaled = round(size / preprocessing.crop_fraction)
    twice = write("Add", write("Mul", shorter, 2 * CROP_GRID * size), scaled)
    kept = write("Max", write("Div", twice, 2 * scaled), 1)  # in parts of 1 / CROP_GRID pixel
    offset = write("Mul", write("Sub", write("Mul", side, CROP_GRID), kept), size)
    return _Pass(side, offset, kept, write.constant(CROP_GRID * size))


def _padded(write: GraphWriter, side: ir.Value, longer: ir.Value, size: int) -> _Pass:
    """The whole side becomes ``n = max(1, round(side * S / longer))`` outputs in the middle of S."""
    outputs = write("Max", _rounded_ratio(write, write("Mul", side, size), longer), 1)
    first = write("Div", write("Sub", size, outputs), 2)
    # Output i of all S is output i - first of the n.
    offset = write("Mul", write("Mul", first, side), -2)
    return _Pass(side, offset, side, outputs, (first, write("Add", first, outputs)))


def _rounded_ratio(write: GraphWriter, above: ir.Value, below: ir.Value) -> ir.Value:
    """Whole numbers divided and rounded as Python's ``round`` does: halves to the even neighbour."""
    twice = write("Mul", below, 2)
    numerator = write("Add", write("Mul", above, 2), below)
    up = write("Div", numerator, twice)
    is_half = write("Equal", write("Mul", up, twice), numerator)
    odd = write("Mod", up, 2)
    return write("Sub", up, write("Mul", odd, write("Cast", is_half, to=ir.DataType.INT64)))


def _resample(write: GraphWriter, values: ir.Value, plan: _Pass, size: int) -> ir.Value:
    """One pass along the first axis: uint8 or whole numbers (L, M) become whole numbers, float32 (S, M)."""
    places, coarse, fine = _weights(write, plan, size)  # (G, K), twice (G, BLOCK, K)
    stretches = _as_float(write, write("Gather", values, places, axis=0))  # (G, K, M)
    # Each product sum stays below 2**24, so float32 holds it exactly.
    rest = write("Floor", write("Mul", write("MatMul", fine, stretches), np.float32(1 / _LIMB)))
    total = write("Add", write("Add", write("MatMul", coarse, stretches), rest), np.float32(_LIMB / 2))
    result = write("Floor", write("Mul", total, np.float32(1 / _LIMB)))  # (G, BLOCK, M)
    result = write("Reshape", result, np.array([-(-size // BLOCK) * BLOCK, -1], np.int64))
    return write("Slice", result, 0, size, 0) if size % BLOCK else result


def _turn(write: GraphWriter, values: ir.Value, last: ir.Value, first: int = -1) -> ir.Value:
    """Values in rows of ``last``, turned: float32 or uint8 (last, first)."""
    rows = write("Concat", write.constant(first), last, axis=0)
    return write("Transpose", write("Reshape", values, rows), perm=[1, 0])


def _weights(write: GraphWriter, plan: _Pass, size: int) -> tuple[ir.Value, ir.Value, ir.Value]:
    """For each of G blocks: the K places that it reads, and the weights of its BLOCK outputs on them.

    A weight is a whole number of 2**-22, as in Pillow, given as ``coarse / 2**11 + fine / 2**22``.
    """
    outputs = np.arange(-(-size // BLOCK) * BLOCK, dtype=np.int64).reshape(-1, BLOCK, 1)
    centres = write("Add", plan.offset, write("Mul", plan.step, 2 * outputs + 1))  # (G, BLOCK, 1), of 2 * unit
    reach = write("Mul", write("Max", plan.step, plan.unit), 2)  # half of the triangle's base, of 2 * unit
    places = _places(write, plan, reach, centres)  # (G, 1, K)
    distance = write("Sub", write("Mul", write("Add", write("Mul", places, 2), 1), plan.unit), centres)
    height = write("Max", write("Sub", reach, write("Abs", distance)), 0)  # (G, BLOCK, K)
    if plan.covers is not None:
        height = write("Mul", height, _covered(write, plan.covers, outputs))
    total = write("Max", write("ReduceSum", height, -1), 1)
    scaled = write("Mul", height, _LIMB)
    coarse = write("Div", scaled, total)
    rest = write("Sub", scaled, write("Mul", coarse, total))
    fine = _divide_rest(write, rest, total)
    return write("Squeeze", places, 1), _as_float(write, coarse), _as_float(write, fine)


def _divide_rest(write: GraphWriter, rest: ir.Value, total: ir.Value) -> ir.Value:
    """``rest * 2**11 / total`` to nearest, in two steps: OpenVINO computes in 32 bits, which one step would leave."""
    scaled = write("Mul", rest, 64)
    high = write("Div", scaled, total)
    rest = write("Sub", scaled, write("Mul", high, total))
    low = write("Div", write("Add", write("Mul", rest, 64), total), write("Mul", total, 2))
    return write("Add", write("Mul", high, 32), low)


def _places(write: GraphWriter, plan: _Pass, reach: ir.Value, centres: ir.Value) -> ir.Value:
    """The stretch of K neighbours that each block reads, within the image: int64 (G, 1, K)."""
    whole = write("Mul", plan.unit, 2)
    span = write("Add", write("Mul", plan.step, 2 * (BLOCK - 1)), write("Mul", reach, 2))
    count = write("Min", write("Add", write("Div", span, whole), 4), plan.length)
    begin = write("Sub", write("Div", write("Sub", write("Slice", centres, 0, 1, 1), reach), whole), 1)
    begin = write("Min", write("Max", begin, 0), write("Sub", plan.length, count))
    steps = write("Range", *(write("Squeeze", number, 0) for number in (write.constant(0), count, write.constant(1))))
    return write("Add", begin, steps)


def _covered(write: GraphWriter, covers: tuple[ir.Value, ir.Value], outputs: NDArray[np.int64]) -> ir.Value:
    """1 for the outputs that the image reaches, else 0: int64 in the shape of ``outputs``."""
    first, end = covers
    covered = write("And", write("GreaterOrEqual", outputs, first), write("Less", outputs, end))
    return write("Cast", covered, to=ir.DataType.INT64)


def _margins(write: GraphWriter, down: _Pass, across: _Pass, preprocessing: Preprocessing) -> ir.Value:
    """The mean colour where the image does not reach, else 0: (1, 3, S, S), or one channel for all."""
    places = np.arange(preprocessing.input_size, dtype=np.int64)
    columns, rows = places, places.reshape(-1, 1)
    parts = [
        _covered(write, plan.covers, outputs)
        for plan, outputs in ((down, rows), (across, columns))
        if plan.covers is not None
    ]
    covered = write("Mul", *parts)
    free = _as_float(write, write("Sub", 1, covered))
    colour = np.rint(np.clip(np.asarray(preprocessing.mean) * 255, 0, 255)).astype(np.float32).reshape(1, -1, 1, 1)
    return write("Mul", free, colour)


def _normalise(write: GraphWriter, pixels: ir.Value, preprocessing: Preprocessing) -> ir.Value:
    if preprocessing.in_channels == 1:
        luma = write("ReduceSum", write("Mul", pixels, _LUMA), 1)
        pixels = write("Floor", write("Div", write("Add", luma, np.float32(0x8000)), np.float32(0x10000)))
    mean, std = (
        np.asarray(values, np.float32).reshape(1, -1, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    return write("Mul", write("Sub", pixels, mean * 255), 1 / (std * 255))


def _as_float(write: GraphWriter, values: ir.Value) -> ir.Value:
    return write("Cast", values, to=ir.DataType.FLOAT)
