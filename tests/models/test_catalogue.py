from __future__ import annotations

import subprocess
import sys

import pytest

from featherlight.errors import UsageError
from featherlight.models.catalogue import list_models, model_info


def test_names_are_listed_by_family_groups_and_width() -> None:
    names = list_models()
    assert names[:3] == ["shufflenet_v1_g1_x0_25", "shufflenet_v1_g1_x0_5", "shufflenet_v1_g1_x0_75"]
    assert names[-3:] == ["mobilenet_v2_x1_0", "mobilenet_v3_small", "mobilenet_v3_large"]
    order = [tuple(model_info(name).arguments.values()) for name in list_models("shufflenet_v1*")]
    assert order == sorted(order)
    assert len(set(names)) == len(names) == 31


def test_pattern_selects_names() -> None:
    assert list_models("mobilenet_v1_x?_?") == ["mobilenet_v1_x0_5", "mobilenet_v1_x1_0"]
    assert list_models("*_g2_*") == ["shufflenet_v1_g2_x1_0", "shufflenet_v1_g2_x2_0"]
    assert list_models("resnet*") == []


def test_every_network_says_what_it_is() -> None:
    for name in list_models():
        info = model_info(name)
        assert info.name == name
        assert name.startswith(info.family)
        assert "\n" not in info.description
        assert "arXiv" in info.source


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
