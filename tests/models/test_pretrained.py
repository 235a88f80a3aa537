from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision.models
from torch import nn

from featherlight import create_model, load_model, save_model
from featherlight.errors import DownloadError, ModelFileError, UsageError
from featherlight.models import published
from featherlight.models.pretrained import classifier, fetch_pretrained, first_convolution
from featherlight.models.published import find_published
from file_server import FileServer, break_off, hang_up

NAME = "mobilenet_v3_small"


@pytest.fixture
def theirs(publish: Callable[..., None]) -> nn.Module:
    network = torchvision.models.mobilenet_v3_small(weights=None).eval()
    publish(NAME, network.state_dict())
    return network


def images(channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(0))


def test_network_gives_the_published_ones_logits(theirs: nn.Module) -> None:
    ours = create_model(NAME, pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(ours(images()), theirs(images()))


def test_pretrained_network_can_be_saved_with_its_classes_and_preprocessing(theirs: nn.Module, tmp_path: Path) -> None:
    ours = create_model(NAME, pretrained="torchvision")
    assert ours.classes[:2] == ("tench", "goldfish")
    again = load_model(save_model(ours, tmp_path / "m.safetensors", ours.classes, ours.preprocessing))
    assert len(again.classes) == 1000
    assert again.preprocessing == find_published(NAME).preprocessing


def test_converted_file_tells_origin_and_licence(theirs: nn.Module) -> None:
    card = load_model(fetch_pretrained(find_published(NAME))).card
    assert card.provenance["url"] == find_published(NAME).url
    assert card.provenance["licence"] == "BSD-3-Clause"


def test_other_classes_keep_a_fresh_classifier_on_the_published_body(theirs: nn.Module) -> None:
    torch.manual_seed(0)
    ours = create_model(NAME, num_classes=5, pretrained=True)
    torch.manual_seed(0)
    fresh = create_model(NAME, num_classes=5)
    state = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        expected = fresh.state_dict()[name] if name.startswith("classifier.3.") else state[name]
        assert torch.equal(tensor, expected), name
    assert not hasattr(ours, "classes")


def test_grey_network_sees_in_a_grey_image_what_the_published_one_sees(theirs: nn.Module) -> None:
    ours = create_model(NAME, in_channels=1, pretrained=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(images(1)), theirs(images(1).expand(-1, 3, -1, -1)), rtol=1e-5, atol=1e-5)
    assert not hasattr(ours, "preprocessing")


def test_second_network_needs_no_network(theirs: nn.Module, file_server: FileServer) -> None:
    create_model(NAME, pretrained=True)
    file_server.files.clear()
    create_model(NAME, num_classes=7, pretrained=True)
    assert len(file_server.ranges) == 1


def test_damaged_converted_file_is_made_again(theirs: nn.Module) -> None:
    file = fetch_pretrained(find_published(NAME))
    file.write_bytes(file.read_bytes()[:-1000])
    load_model(fetch_pretrained(find_published(NAME)))


def test_interrupted_download_goes_on_where_it_ended(theirs: nn.Module, file_server: FileServer) -> None:
    content = next(iter(file_server.files.values()))
    file_server.answers += [break_off(content[:100_000], len(content)), hang_up]
    with pytest.raises(DownloadError, match=r"mobilenet_v3_small-047dcff4\.pth .*broke off .*the same command goes on"):
        create_model(NAME, pretrained=True)
    create_model(NAME, pretrained=True)
    assert file_server.ranges[-1] == "bytes=100000-"


def test_file_with_another_checksum_is_not_used(
    theirs: nn.Module, file_server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "PUBLISHED", (replace(find_published(NAME), sha256="047dcff4"),))
    with pytest.raises(DownloadError, match=rf"{file_server.url}.*not 047dcff4; nothing is kept as .*cache"):
        create_model(NAME, pretrained=True)


def test_file_put_into_the_cache_by_hand_needs_no_network(
    theirs: nn.Module, file_server: FileServer, tmp_path: Path
) -> None:
    (path, content), _ = file_server.files.popitem(), file_server.answers
    with pytest.raises(DownloadError, match="put it there: ") as caught:
        create_model(NAME, pretrained=True)
    target = Path(str(caught.value).rpartition("put it there: ")[2])
    assert target.name == path[1:]
    target.write_bytes(content)
    create_model(NAME, pretrained=True)


def test_weights_of_another_network_are_refused(publish: Callable[..., None], file_server: FileServer) -> None:
    publish(NAME, torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict())
    with pytest.raises((ModelFileError, UsageError), match=r"do not fit|of no layout|weights of shufflenet_v2"):
        create_model(NAME, pretrained=True)


def test_zip_around_the_weights_is_verified_by_what_is_inside(publish: Callable[..., None]) -> None:
    network = torchvision.models.shufflenet_v2_x0_5(weights=None).eval()
    publish("shufflenet_v2_x0_5", network.state_dict(), zipped=True)
    with torch.no_grad():
        assert torch.equal(create_model("shufflenet_v2_x0_5", pretrained=True).eval()(images()), network(images()))


def test_zip_with_other_content_is_refused(
    publish: Callable[..., None], file_server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("shufflenet_v2_x0_5", torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict(), zipped=True)
    weights = replace(find_published("shufflenet_v2_x0_5"), sha1_inside="0" * 40)
    monkeypatch.setattr(published, "PUBLISHED", (weights,))
    with pytest.raises(DownloadError, match=r"the SHA-1 of what is inside is .*, not 0000"):
        create_model("shufflenet_v2_x0_5", pretrained=True)
    file_server.files[f"/{weights.file_name}"] = b"no zip"
    with pytest.raises(DownloadError, match="no zip around one file"):
        create_model("shufflenet_v2_x0_5", pretrained=True)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("shufflenet_v1_g3_x0_5", "conv1.0", "fc"),
        ("mobilenet_v2_x1_0", "features.0.0", "classifier.1"),
        ("mobilenet_v3_large", "features.0.0", "classifier.3"),
    ],
)
def test_first_and_last_layer_are_known(name: str, first: str, last: str) -> None:
    network = create_model(name, num_classes=3)
    assert (first_convolution(network), classifier(network)) == (first, last)
