"""ImageNet weights into a network: fetched once, verified, converted, kept as our own model file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from featherlight.download import fetch
from featherlight.errors import ModelFileError, UsageError
from featherlight.files import cache_folder
from featherlight.interop.archive import open_archive, read_member
from featherlight.model_file import SHIPPED, read_card
from featherlight.models.foreign import load_weights
from featherlight.models.published import PublishedWeights, find_published
from featherlight.models.registry import create_model
from featherlight.models.weights import load_model, save_model

MAX_BYTES = 64 * 2**20  # the largest published file has 29 MB
TIMEOUT_S = 15.0  # training waits for it where the network swallows what is sent
MIRROR = "FEATHERLIGHT_MIRROR"  # an environment variable: a server that has the files under their names


def fill_pretrained(network: nn.Module, pretrained: str | bool) -> None:
    """Fills a network made by ``create_model`` with published ImageNet weights.

    Where the number of classes is not ImageNet's, the last layer stays as it is. A grey network gets the sums over
    red, green and blue of the first convolution's filters: on a grey image they see what the originals see.

    Args:
        network: in its fresh state.
        pretrained: whose weights, for example "torchvision"; True takes the best. "cifar10" are those that come with
            the package, trained on CIFAR-10.

    Raises:
        UsageError: there are none for this network, or it takes neither one nor three channels.
        DownloadError: they are not in the cache and cannot be fetched.
        ModelFileError: what was fetched is not what it should be.
    """
    arguments: dict[str, object] = network.featherlight_arguments  # type: ignore[assignment]
    if "options" in arguments:
        raise UsageError("ImageNet weights fit published networks, not one with options of its own; leave options out")
    if arguments["in_channels"] not in (1, 3):
        raise UsageError(f"ImageNet weights fit networks for 3 channels or 1, not {arguments['in_channels']}")
    source = load_model(_file(str(arguments["name"]), pretrained if isinstance(pretrained, str) else None))
    network.load_state_dict(_adapted(source.state_dict(), network))
    if arguments["num_classes"] == len(source.classes):  # type: ignore[arg-type]
        network.classes = source.classes
    if arguments["in_channels"] == source.preprocessing.in_channels:  # type: ignore[union-attr]
        network.preprocessing = source.preprocessing


def _file(model: str, pretrained: str | None) -> Path:
    if pretrained in SHIPPED:
        return find_shipped(model, str(pretrained))
    return fetch_pretrained(find_published(model, pretrained))


def find_shipped(model: str, name: str) -> Path:
    """The weights that come with the package.

    Raises:
        UsageError: they are of another network.
    """
    card = read_card(SHIPPED[name])
    if card.model != model:
        raise UsageError(f"the weights called {name} are of {card.model}, not of {model}; name that network")
    return SHIPPED[name]


def _adapted(source: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """ImageNet's weights in the shapes of ``network``; its own classifier where there are other classes."""
    state = dict(source)
    first, last = f"{first_convolution(network)}.weight", f"{classifier(network)}."
    for name, own in network.state_dict().items():
        if name == first and own.shape[1] == 1:
            state[name] = state[name].sum(1, keepdim=True)
        elif name.startswith(last) and own.shape != state[name].shape:
            state[name] = own
    return state


def fetch_pretrained(weights: PublishedWeights) -> Path:
    """The weights as our model file, from the cache folder or from the network.

    Raises:
        DownloadError: as :func:`featherlight.download.fetch`.
        ModelFileError: the file does not hold this network.
    """
    folder = cache_folder() / "weights"
    checksum = (weights.sha256 or weights.sha1_inside)[:8]
    converted = folder / f"{weights.model}-{weights.name}-{checksum}.safetensors"
    try:
        load_model(converted)
    except ModelFileError:  # absent, or damaged since
        file = fetch(
            _url(weights),
            folder / weights.file_name,
            sha256=weights.sha256 or None,
            verify=partial(_check_inside, weights.sha1_inside) if weights.sha1_inside else None,
            max_bytes=MAX_BYTES,
            timeout_s=TIMEOUT_S,
        )
        _convert(weights, file, converted)
    return converted


def classifier(network: nn.Module) -> str:
    """Name of the last layer, whose outputs are the classes."""
    return _names(network, nn.Linear)[-1]


def first_convolution(network: nn.Module) -> str:
    """Name of the layer that sees the image."""
    return _names(network, nn.Conv2d)[0]


def _names(network: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, kind)]


def _url(weights: PublishedWeights) -> str:
    mirror = os.environ.get(MIRROR)
    return f"{mirror.rstrip('/')}/{weights.file_name}" if mirror else weights.url


def _check_inside(sha1: str, file: Path) -> str | None:
    """What is wrong with a zip of pytorchcv, which states the checksum of the one file inside."""
    try:
        with file.open("rb") as stream:
            archive = open_archive(file, stream)
            members = archive.infolist() if archive else []
            if archive is None or len(members) != 1 or members[0].file_size > MAX_BYTES:
                return "it is no zip around one file of weights"
            found = hashlib.sha1(read_member(file, archive, members[0]), usedforsecurity=False).hexdigest()
    except ModelFileError as error:
        return str(error)
    return None if found == sha1 else f"the SHA-1 of what is inside is {found}, not {sha1}"


def _convert(weights: PublishedWeights, file: Path, target: Path) -> None:
    from torchvision.models import ShuffleNet_V2_X0_5_Weights  # ImageNet's classes, the same for all

    classes = ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1.meta["categories"]
    network = load_weights(create_model(weights.model), file, weights.layout)
    origin = {"url": weights.url, "licence": weights.licence, "top1": weights.top1, "data": "ImageNet-1k"}
    save_model(network, target, classes, weights.preprocessing, provenance={"pretrained": weights.name, **origin})
