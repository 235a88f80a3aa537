from __future__ import annotations

import pytest

from featherlight.report.facts import MAX_EPOCHS_LISTED, epochs_table, training_facts
from featherlight.report.texts import texts


def history(epochs: int) -> list[dict[str, float]]:
    return [{"epoch": k, "train_loss": 1 / k, "val_loss": 2 / k, "val_top1": 0.5, "learning_rate": 0.1 / k,
             "seconds": 61.0 * k, "images_per_s": 1234.5} for k in range(1, epochs + 1)]  # fmt: skip


@pytest.mark.parametrize("epochs", [1, 99, 100, 101, 5000])
def test_epochs_are_listed_up_to_a_number_and_the_last_is_always_there(epochs: int) -> None:
    rows = epochs_table(history(epochs), texts()).rows
    assert (
        len(rows) == epochs if epochs <= MAX_EPOCHS_LISTED else MAX_EPOCHS_LISTED / 2 <= len(rows) <= MAX_EPOCHS_LISTED
    )
    assert rows[-1][0] == str(epochs)


def test_numbers_that_a_row_lacks_are_dashes() -> None:
    (row,) = epochs_table([{"epoch": 1, "train_loss": 0.25, "val_loss": None}], texts()).rows
    assert row == ["1", "0.2500", "–", "–", "–"]


def test_facts_are_said_in_both_languages() -> None:
    assert training_facts(history(2), texts()) == "2 epochs · 2 min 2 s · 1,234 images/s"
    assert training_facts(history(2), texts("zh")) == "2 轮 · 2 分 2 秒 · 每秒 1,234 张图片"
    assert training_facts(history(60), texts()).split(" · ")[1] == "1 h 1 min"
    assert training_facts([], texts()) == ""
