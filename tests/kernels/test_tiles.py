"""Products by the matrix unit (AMX). Few machines have one, so a test compiles the kernels with one in plain C."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_chain import build, parameters_of

from featherlight.kernels.chain import run_chain
from featherlight.kernels.library import compile_kernels, has_bfloat16, load_kernels, open_kernels
from featherlight.kernels.links import Link

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not has_bfloat16(), reason="no bfloat16 here")]


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    flags = ("-O1", "-DBFLOAT16", "-include", str(Path(__file__).with_name("emulated_tiles.h")))
    return open_kernels(compile_kernels(tmp_path_factory.mktemp("tiles"), flags))


@pytest.mark.parametrize(
    ("links", "channels", "sizes"),
    [
        ([Link("pointwise", "relu")], (58, 58), (1,)),
        ([Link("pointwise", "relu6")], (37, 5), (1,)),
        ([Link("pointwise", "relu", groups=3), Link("pointwise", "none", groups=3, shuffle=3)], (240, 60, 240), (1, 1)),
        ([Link("stem", "hardswish", stride=2, padding=1), Link("pointwise", "relu")], (3, 24, 100), (3, 1)),
    ],
)
def test_tiles_give_the_other_instructions_results(links, channels, sizes, emulated):
    assert emulated.try_tiles() == 1
    plain = load_kernels(bfloat16=True)
    assert plain is not None
    found = []
    for library in (plain, emulated):
        torch.manual_seed(0)
        layers = build(links, channels, sizes)
        x = torch.randn(3, channels[0], 9, 7).requires_grad_()
        result = run_chain(library, links, x, parameters_of(layers))
        # Not the sum of squares: that of a norm's outputs is constant, and its gradient only rounding.
        (result.float() * torch.randn(result.shape)).sum().backward()
        found.append(
            [result.detach(), x.grad, *(p.grad for conv, norm, _ in layers for p in (conv.weight, norm.weight))]
        )
    for mine, theirs in zip(*found, strict=True):
        error = float((mine.double() - theirs.double()).norm() / theirs.double().norm())
        assert error < 2**-8  # sums in another order, so some numbers are rounded to a neighbour
