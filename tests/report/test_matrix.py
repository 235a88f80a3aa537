from __future__ import annotations

import numpy as np
import pytest

from featherlight.metrics import Evaluation, evaluate_logits
from featherlight.report import matrix as matrix_module
from featherlight.report.matrix import confused_pairs, make_matrix


def evaluate(labels: list[int], predicted: list[int], num_classes: int) -> Evaluation:
    names = [f"class {k}" for k in range(num_classes)]
    where = {"model": "m", "data": "d", "split": "test", "engine": "torch"}
    return evaluate_logits(np.eye(num_classes)[predicted], np.array(labels), names, **where)


def test_table_has_counts_and_shares_of_the_row() -> None:
    rows = make_matrix(evaluate([0, 0, 0, 0, 1], [0, 0, 0, 1, 1], 3)).rows
    assert [[cell.count for cell in row.cells] for row in rows] == [[3, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert [cell.share for cell in rows[0].cells] == [0.75, 0.25, 0]
    assert [cell.kind for cell in rows[0].cells] == ["y", "n", "n"]
    assert rows[0].cells[0].strength == 1
    assert rows[0].cells[1].strength == pytest.approx((1 / 3) ** 0.5)


def test_largest_cells_are_drawn_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_module, "MAX_CELLS", 40)
    labels, predicted = list(range(35)) * 2, [*range(35), 1, *[0] * 34]
    labels, predicted = [*labels, 3, 3], [*predicted, 0, 0]  # 3 is taken for 0 most often
    drawn = make_matrix(evaluate(labels, predicted, 35))
    cells = {(i, row[k]): row[k + 1] for i, row in enumerate(drawn.data["cells"]) for k in range(0, len(row), 2)}
    assert cells[3, 0] == 3
    assert all((k, k) in cells for k in range(35))
    assert 40 <= len(cells) < 70
    wrong = sum(count for (i, j), count in cells.items() if i != j)
    assert drawn.hidden == sum(a != b for a, b in zip(labels, predicted, strict=True)) - wrong


def test_pairs_are_counted_and_the_most_frequent_comes_first() -> None:
    assert confused_pairs(evaluate([0, 0, 0, 1, 2], [1, 1, 0, 2, 2], 3)) == [(0, 1, 2, 2 / 3), (1, 2, 1, 1.0)]
    assert confused_pairs(evaluate([0, 1], [0, 1], 2)) == []


def test_long_names_are_cut_in_a_drawing() -> None:
    where = {"model": "m", "data": "d", "split": "test", "engine": "torch"}
    names = [f"{'x' * 100}{k}" for k in range(40)]
    drawn = make_matrix(evaluate_logits(np.eye(40), np.arange(40), names, **where))
    assert {len(name) for name in drawn.data["names"]} == {60}
