"""Operator -> formula: how many multiply-adds each operator takes, from the shapes alone.

An operator that is not in the table does no multiply-adds by the convention of the papers, or is made of some that are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch

Shape = tuple[int, ...]
# Arguments of the operator, a tensor as its shape; then the shape of what it gives.
Formula = Callable[[Sequence[Any], Shape], int]


def convolution_macs(arguments: Sequence[Any], output: Shape) -> int:
    """Each weight meets every position once: of the output, or of the input where the convolution is transposed."""
    given, weight, is_transposed = arguments[0], arguments[1], arguments[6]
    batch, _, *positions = given if is_transposed else output
    return int(batch * prod(positions) * prod(weight))


def matmul_macs(arguments: Sequence[Any], output: Shape) -> int:
    """(..., n, k) by (k, m) or (..., k, m): k for each output."""
    return prod(output) * int(arguments[0][-1])


def added_matmul_macs(arguments: Sequence[Any], output: Shape) -> int:
    """The same with a bias as first argument."""
    return matmul_macs(arguments[1:], output)


def attention_macs(arguments: Sequence[Any], output: Shape) -> int:
    """Query (..., T, D), key (..., S, D), value (..., S, E): scores, then their sum of values."""
    query, key, value = arguments[:3]
    return int(prod(output[:-1]) * key[-2] * (query[-1] + value[-1]))


def recurrent_macs(arguments: Sequence[Any], output: Shape) -> int:
    """Steps (T, N, C) through weights of the input and of the state."""
    return int(prod(output[:2]) * (prod(arguments[1]) + prod(arguments[2])))


_aten = torch.ops.aten

MACS: dict[Any, Formula] = {
    _aten.convolution: convolution_macs,
    _aten.mm: matmul_macs,
    _aten.bmm: matmul_macs,
    _aten.mv: matmul_macs,
    _aten.addmm: added_matmul_macs,
    _aten.baddbmm: added_matmul_macs,
    _aten.addmv: added_matmul_macs,
    _aten._scaled_dot_product_flash_attention_for_cpu: attention_macs,
    _aten._scaled_dot_product_flash_attention: attention_macs,
    _aten._scaled_dot_product_efficient_attention: attention_macs,
    _aten._scaled_dot_product_cudnn_attention: attention_macs,
    _aten._scaled_dot_product_fused_attention_overrideable: attention_macs,
    _aten.mkldnn_rnn_layer: recurrent_macs,
}
