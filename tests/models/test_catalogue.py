from __future__ import annotations

import subprocess
import sys

import pytest

from featherlight.errors import UsageError
from featherlight.models.catalogue import list_models, model_info


def test_plain_names_are_listed_first_by_family_groups_and_width() -> None:
    names = list_models()
    plain = [name for name in names if "." not in name]
    assert names[: len(plain)] == plain
    assert plain[:3] == ["shufflenet_v1_g1_x0_25", "shufflenet_v1_g1_x0_5", "shufflenet_v1_g1_x0_75"]
    assert plain[-3:] == ["plainnet_x0_25", "plainnet_x0_5", "plainnet_x1_0"]
    order = [tuple(model_info(name).arguments.values()) for name in plain if name.startswith("shufflenet_v1")]
    assert order == sorted(order)
    assert len(set(plain)) == len(plain) == 34
    assert len(set(names)) == len(names)


def test_pattern_selects_names() -> None:
    assert list_models("mobilenet_v1_x?_?") == ["mobilenet_v1_x0_5", "mobilenet_v1_x1_0"]
    assert list_models("*_g2_*_0") == ["shufflenet_v1_g2_x1_0", "shufflenet_v1_g2_x2_0"]
    assert list_models("*.kuangliu") == [
        "shufflenet_v1_g2_x1_0.kuangliu",
        "shufflenet_v1_g3_x1_0.kuangliu",
        "mobilenet_v1_x1_0.kuangliu",
    ]
    assert list_models("resnet*") == []


def test_every_network_says_what_it_is() -> None:
    for name in list_models():
        info = model_info(name)
        assert info.name == name
        assert name.startswith(info.family)
        assert "\n" not in info.description
        assert "arXiv" in info.source


def test_every_variant_says_what_differs_and_where_it_was_published() -> None:
    for name in list_models("*.*"):
        info, plain = model_info(name), model_info(name.partition(".")[0])
        assert (info.plain, info.tag) == tuple(name.split("."))
        assert info.differs
        assert info.differs in info.description
        assert info.source.startswith(f"{plain.source}; ")
        assert (info.family, info.arguments) == (plain.family, plain.arguments)


def test_an_alias_is_the_plain_network_and_nothing_else_is() -> None:
    for name in list_models("*.*"):
        info, plain = model_info(name), model_info(name.partition(".")[0])
        same = (info.options, info.dropout, info.stem) == (plain.options, plain.dropout, plain.stem)
        assert (info.alias_of == plain.name) == same
        if info.alias_of:
            assert info.params == plain.params
            assert info.description.startswith(f"alias of {plain.name}: ")
    assert {model_info(name).tag for name in list_models("*.*") if model_info(name).alias_of} == {
        "mmpretrain",
        "pytorchcv",
        "pytorchcv_b",
        "timm",
    }


def test_unknown_tag_lists_those_there_are() -> None:
    tags = "mindspore, mindcv, megvii, jaxony, mmpretrain, pytorchcv"
    with pytest.raises(UsageError, match=f"no network named 'shufflenet_v1_g8_x1_0.x'; the published .* are: {tags}$"):
        model_info("shufflenet_v1_g8_x1_0.x")
    with pytest.raises(UsageError, match="the published variants of mobilenet_v2_x1_0 are: none"):
        model_info("mobilenet_v2_x1_0.x")


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("shuflenet_v2_x05", "shufflenet_v2_x0_5"),
        ("MobileNet_V3_Small", "mobilenet_v3_small"),
    ],
)
def test_unknown_name_gets_the_nearest_ones(wrong: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"no network named '{wrong}'; did you mean .*{nearest}"):
        model_info(wrong)


def test_shufflenet_v1_that_cannot_exist_says_why() -> None:
    with pytest.raises(UsageError, match="its channels would not divide by its groups"):
        model_info("shufflenet_v1_g2_x0_25")


def test_name_like_no_other_gets_examples() -> None:
    with pytest.raises(UsageError, match="no network named 'x'; for example shufflenet_v2_x0_5 or"):
        model_info("x")


def test_listing_works_without_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; "
        "from featherlight.models.catalogue import list_models, model_info; "
        "print(sum(model_info(name).params > 0 for name in list_models()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(list_models())
