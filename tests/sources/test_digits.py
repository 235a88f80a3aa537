from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from featherlight.sources import Source, open_source


@pytest.fixture(scope="module")
def digits() -> Source:
    return open_source("digits")


def test_digits_have_ten_classes_and_three_splits(digits: Source) -> None:
    assert digits.name == "digits"
    assert digits.classes == tuple("0123456789")
    assert set(digits.splits) == {"train", "val", "test"}
    assert sum(len(split) for split in digits.splits.values()) == 1797
    assert not digits.flip_safe
    for split, share in {"train": 0.7, "val": 0.1, "test": 0.2}.items():
        assert len(digits.splits[split]) == pytest.approx(1797 * share, rel=0.15)
        assert set(digits.splits[split].labels) == set(range(10))
        assert digits.splits[split].labels.dtype == np.int64


def test_every_digit_is_in_one_split_and_named(digits: Source) -> None:
    paths = [path for split in digits.splits.values() for path in split.paths]
    assert sorted(paths) == [f"digits/{i:04d}" for i in range(1797)]


def test_digits_are_rgb_32_and_bright_on_black(digits: Source) -> None:
    from sklearn.datasets import load_digits

    original = load_digits()
    train = digits.splits["train"]
    for i in range(0, len(train), 97):
        image = train.read(i)
        number = int(train.paths[i].split("/")[1])
        assert image.shape == (32, 32, 3)
        assert image.dtype == np.uint8
        assert train.labels[i] == original.target[number]
        blocks = image[..., 0].reshape(8, 4, 8, 4).mean(axis=(1, 3))  # shrunk again it is the original
        assert np.corrcoef(blocks.ravel(), original.images[number].ravel())[0, 1] > 0.97
        assert image.max() > 200


def test_reading_gives_a_copy(digits: Source) -> None:
    read = digits.splits["val"].read
    read(0)[:] = 7
    assert not (read(0) == 7).all()


def test_split_can_be_pickled(digits: Source) -> None:
    split = pickle.loads(pickle.dumps(digits.splits["test"]))
    np.testing.assert_array_equal(split.read(3), digits.splits["test"].read(3))


def test_fingerprint_is_the_same_every_time(digits: Source) -> None:
    assert open_source("digits").fingerprint == digits.fingerprint
    assert len(digits.fingerprint) == 16


def test_sources_do_not_import_torch() -> None:
    code = (
        "import sys\n"
        "from featherlight.sources import open_source\n"
        "assert len(open_source('digits').splits['train']) > 1000\n"
        "assert not {'torch', 'torchvision'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
