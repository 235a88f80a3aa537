from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import pytest
import torchvision.models

from featherlight.errors import UsageError
from featherlight.models.published import PUBLISHED, PublishedWeights, find_published, published_weights

TORCHVISION = [weights for weights in PUBLISHED if weights.layout == "torchvision"]
PYTORCHCV = [weights for weights in PUBLISHED if weights.layout == "pytorchcv"]
ENUMS = (
    torchvision.models.ShuffleNet_V2_X0_5_Weights, torchvision.models.ShuffleNet_V2_X1_0_Weights,
    torchvision.models.ShuffleNet_V2_X1_5_Weights, torchvision.models.ShuffleNet_V2_X2_0_Weights,
    torchvision.models.MobileNet_V2_Weights, torchvision.models.MobileNet_V3_Small_Weights,
    torchvision.models.MobileNet_V3_Large_Weights,
)  # fmt: skip


def test_torchvisions_weights_are_all_there_as_torchvision_states_them() -> None:
    stated = {weights.url: weights for enum in ENUMS for weights in enum}
    assert {weights.url for weights in TORCHVISION} == set(stated)
    for ours in TORCHVISION:
        theirs = stated[ours.url]
        transforms = theirs.transforms()
        assert ours.top1 == pytest.approx(theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100, abs=1e-9)
        assert (ours.resize, ours.preprocessing.input_size) == (transforms.resize_size[0], transforms.crop_size[0])
        assert ours.preprocessing.mean == pytest.approx(transforms.mean)
        assert ours.preprocessing.std == pytest.approx(transforms.std)
        assert round(ours.preprocessing.input_size / ours.preprocessing.crop_fraction) == transforms.resize_size[0]
        if ours.size_bytes is not None:
            assert ours.size_bytes / 2**20 == pytest.approx(theirs.meta["_file_size"], abs=5e-4)


def test_torchvisions_checksums_begin_as_the_file_names_say() -> None:
    for weights in TORCHVISION:
        stated = weights.file_name.removesuffix(".pth").rpartition("-")[2]
        assert weights.sha256.startswith(stated)
        assert len(stated) >= 8


def test_pytorchcvs_weights_are_as_its_own_table_states_them() -> None:
    with files("pytorchcv").joinpath("models/common/model_metainfos.csv").open(encoding="utf-8") as file:
        rows = {f"{row[0]}-{row[2]}-{row[3][:8]}.pth.zip": row for row in csv.reader(file) if len(row) > 4}
    for weights in PYTORCHCV:
        row = rows[weights.file_name]
        assert weights.sha1_inside == row[3]
        assert weights.url.split("/")[-2] == row[4]
        assert [row[7], row[8], row[9]] == ["in1k", "224", "0.875"]
        assert weights.preprocessing.crop_fraction == 0.875


def test_every_row_can_be_verified_and_has_a_licence() -> None:
    for weights in PUBLISHED:
        assert len(weights.sha1_inside) == 40 or len(weights.sha256) >= 8
        assert weights.url.startswith("https://")
        assert weights.licence
        assert 0.3 < weights.top1 < 0.8


def test_best_weights_come_first() -> None:
    for model in {weights.model for weights in PUBLISHED}:
        found = published_weights(model)
        assert found == sorted(found, key=lambda weights: -weights.top1)
        assert find_published(model) == found[0]
        assert len({weights.name for weights in found}) == len(found)


def test_weights_are_found_by_name() -> None:
    found: PublishedWeights = find_published("mobilenet_v2_x1_0", "torchvision-v1")
    assert found.url.endswith("mobilenet_v2-b0353104.pth")


@pytest.mark.parametrize(
    ("variant", "names"),
    [
        ("shufflenet_v1_g3_x1_0.pytorchcv", ["mmpretrain", "pytorchcv"]),
        ("shufflenet_v1_g3_x1_0.mmpretrain", ["mmpretrain", "pytorchcv"]),
        ("mobilenet_v1_x0_5.mindcv", ["pytorchcv"]),
        ("shufflenet_v1_g3_x1_0.mindspore", []),
        ("mobilenet_v1_x1_0.kuangliu", []),
    ],
)
def test_variants_that_compute_the_same_take_the_same_weights(variant: str, names: list[str]) -> None:
    assert [weights.name for weights in published_weights(variant)] == names


def test_network_without_weights_names_the_variant_that_has_some() -> None:
    with pytest.raises(UsageError, match=r"for mobilenet_v1_x0_5; there are for mobilenet_v1_x0_5\.pytorchcv"):
        find_published("mobilenet_v1_x0_5")
    with pytest.raises(UsageError, match="there are none; leave pretrained out"):
        find_published("shufflenet_v1_g8_x2_0")


def test_page_about_weights_lists_every_row() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "weights.md").read_text(encoding="utf-8")
    for weights in PUBLISHED:
        start = f"| `{weights.model}` | `{weights.name}` | {weights.top1:.1%} | {weights.licence} "
        row = next(line for line in page.splitlines() if line.startswith(start))
        assert f"]({weights.url})" in row
        assert f"`{(weights.sha256 or weights.sha1_inside)[:16]}`" in row
