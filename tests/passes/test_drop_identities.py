"""What changes nothing goes; what is written twice runs once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from comparing import after, assert_same
from torch import Tensor, nn

from featherlight.passes import simplify
from featherlight.passes.graph import count_operators


class Idle(nn.Module):
    """Much ado about nothing."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(x.contiguous().clone(), 0.5, self.training)
        return F.relu(x.view(x.shape)[:, 0:3].expand(-1, -1, -1, -1).detach())


def test_operators_without_effect_go() -> None:
    network = nn.Sequential(nn.Identity(), Idle(), nn.Dropout2d(0.3), nn.AlphaDropout(0.1))
    assert after(network, "drop_identities")[0] == {"relu": 1}


class RandomInEvaluation(nn.Module):
    """Dropout that never rests."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x * 0, 0.5, training=True) + F.dropout(x * 0, 0.5, training=True)


def test_randomness_that_belongs_to_the_network_stays() -> None:
    assert after(RandomInEvaluation(), "drop_identities", "remove_duplicates")[0]["dropout"] == 2


class Repeats(nn.Module):
    """Computes the same twice, and something that nobody needs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.b.load_state_dict(self.a.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        torch.sigmoid(x).mean()
        return F.relu(self.a(x)) * F.relu(self.b(x)) + F.leaky_relu(self.a(x), 1) + F.leaky_relu(self.a(x), 0.5)


def test_repeats_run_once_and_what_is_unused_goes() -> None:
    counts, step = after(Repeats(), "remove_duplicates")
    assert counts == {"add": 2, "conv2d": 1, "leaky_relu": 2, "mul": 1, "relu": 1}
    assert step.applied == 4


class Decomposed(nn.Module):
    """A reshape as PyTorch itself takes it apart: a copy in one piece, and another look at its memory."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        moved = x.reshape(n, 3, c // 3, h, w).transpose(1, 2).clone(memory_format=torch.contiguous_format)
        return torch.ops.aten._unsafe_view(moved, [n, c, h, w])


def test_a_move_whose_copy_is_dropped_still_runs() -> None:
    x = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    result = simplify(Decomposed(), x, passes=("drop_identities",), dtype=torch.float64)
    assert result.problem is None
    assert "clone" not in count_operators(result.module)
    assert_same(result.module, Decomposed(), x)
