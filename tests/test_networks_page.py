from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from featherlight.models.catalogue import list_models

ROOT = Path(__file__).parents[1]
GOLDEN = json.loads((ROOT / "tests" / "reference" / "networks.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def maker(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(ROOT / "docs" / "make_networks.py")


def test_the_page_of_networks_is_what_the_registry_makes(maker: ModuleType) -> None:
    macs = {name: row["macs"] for part in ("networks", "variants") for name, row in GOLDEN[part].items()}
    assert maker.PAGE.read_text(encoding="utf-8") == maker.make_page(macs.__getitem__)


def test_accuracies_belong_to_networks_that_exist(maker: ModuleType) -> None:
    assert {*maker.PAPER_TOP1, *maker.REPRODUCED} <= set(list_models())


def test_the_maker_counts_what_the_golden_numbers_say(maker: ModuleType) -> None:
    for name in ("shufflenet_v1_g3_x0_5", "mobilenet_v1_x1_0.ascend"):
        row = GOLDEN["networks"].get(name) or GOLDEN["variants"][name]
        assert maker.count_macs(name) == row["macs"]
