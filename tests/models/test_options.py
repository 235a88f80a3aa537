from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from featherlight.errors import UsageError
from featherlight.models.catalogue import list_models, model_info
from featherlight.models.options import (
    MobileNetV1Options,
    ShuffleNetV1Options,
    ShuffleNetV2Options,
    change_options,
)

FAMILIES = (ShuffleNetV1Options, ShuffleNetV2Options, MobileNetV1Options)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_value_of_every_option_is_documented(family: Any) -> None:
    for name in asdict(family()):
        assert f"\n        {name}: " in family.__doc__


@pytest.mark.parametrize("family", FAMILIES)
def test_options_are_those_that_published_variants_need(family: Any) -> None:
    plain = family()
    used = set()
    for name in list_models("*.*"):
        options = model_info(name).options
        if isinstance(options, family):
            used |= {field for field, value in asdict(options).items() if value != getattr(plain, field)}
    unused = {"output", "norm_eps"} if family is ShuffleNetV1Options else {"output"}
    unused = {"padding", "norm_eps"} if family is MobileNetV1Options else unused
    assert used == set(asdict(plain)) - unused


@pytest.mark.parametrize("name", [name for name in list_models() if model_info(name).options])
def test_options_survive_being_written_down(name: str) -> None:
    options = model_info(name).options
    assert change_options(type(options)(), asdict(options)) == options


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shuffle": "backwards"}, "option shuffle is 'backwards'; give paper or inverse"),
        ({"shuffle": None}, "option shuffle is None"),
        ({"stem_kernel": 5}, "option stem_kernel is 5; give 3 or 1"),
        ({"stem_kernel": True}, "option stem_kernel is True; give 3 or 1"),
        ({"conv_bias": 1}, "option conv_bias is 1; give true or false"),
        ({"norm_eps": 0.0}, r"option norm_eps is 0\.0; give a positive number"),
        ({"norm_eps": -1.0}, "option norm_eps"),
        ({"norm_eps": float("nan")}, "option norm_eps is nan"),
        ({"norm_eps": float("inf")}, "option norm_eps is inf"),
        ({"norm_eps": "0.1"}, "option norm_eps is '0.1'"),
        ({"stage4": 0}, "option stage4 is 0; give a whole number from 1 to 65,536, or nothing"),
        ({"stage4": 10**9}, "option stage4"),
        ({"stage4": True}, "option stage4 is True"),
        ({"stage4": 576.0}, r"option stage4 is 576\.0"),
        ({"width": 2}, "there is no option 'width'; these exist: shuffle, middle, "),
        ({"style": 2}, "there is no option 'style'"),
        ({"x" * 1000: 2}, "there is no option 'xxx"),
        ({"output": "x" * 1000}, "option output is 'xxx"),
    ],
)
def test_options_that_do_not_exist_are_explained(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        change_options(ShuffleNetV1Options(), changes)
    assert len(str(error.value)) < 300
