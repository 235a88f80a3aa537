from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from featherlight.models.catalogue import list_models, model_info

Cli = Callable[..., Any]


def test_table_has_a_row_a_network(cli: Cli) -> None:
    answer = cli("models")
    assert (answer.code, answer.err) == (0, "")
    head, *rows = answer.out.splitlines()
    assert head.split() == ["name", "family", "params", "source"]
    assert [row.split()[0] for row in rows] == list_models()
    assert all(f"{model_info(row.split()[0]).params:,}" in row.split() for row in rows)
    assert len({row.index(model_info(row.split()[0]).source) for row in rows}) == 1  # columns are straight


def test_json_is_a_list_of_rows_and_nothing_else(cli: Cli) -> None:
    answer = cli("models", "--json")
    assert (answer.code, answer.err) == (0, "")
    rows = json.loads(answer.out)
    assert [row["name"] for row in rows] == list_models()
    fields = {"name", "family", "params", "source"}
    assert all(set(row) == fields for row in rows if "." not in row["name"])
    assert all(set(row) == fields | {"differs", "alias_of"} for row in rows if "." in row["name"])


def test_pattern_chooses(cli: Cli) -> None:
    rows = json.loads(cli("models", "shufflenet_v2_x?_?", "--json").out)
    assert [row["name"] for row in rows] == [f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0")]


def test_pattern_that_fits_nothing_is_an_error(cli: Cli) -> None:
    answer = cli("models", "resnet*")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: no network is called 'resnet*'; `featherlight models` lists all\n"


def test_aliases_say_whose_weights_they_take(cli: Cli) -> None:
    _, *rows = cli("models", "*.mmpretrain").out.splitlines()
    assert rows
    assert all(row.endswith(f"(= {row.split()[0].partition('.')[0]})") for row in rows)
    assert "(= " not in cli("models", "*.jaxony").out
