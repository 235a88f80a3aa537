from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from corpus import make_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import FREE_OF_FORMAT, make_mutants, mutate
from processes import Outcome, run_command, run_python, skipped_in

from reference import decode_plainly, find_difference

SEED = int(os.environ.get("FEATHERLIGHT_FUZZ_SEED", "0"))  # another number looks at other images
COUNT = 2200
MEMORY_MIB = 3072  # of a command, torch included; a damaged header may claim 100 million pixels
SUFFIXES = {"jpeg": "jpg", "tiff": "tif"}
CORPUS = make_corpus()


def show(data: bytes) -> str:
    """A failing image, to be kept as a test: ``zlib.decompress(base64.b85decode(...))``."""
    return base64.b85encode(zlib.compress(data, 9)).decode()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "image"


@pytest.mark.parametrize("name", CORPUS)
def test_every_variant_is_shown_as_pillow_shows_it(name: str, scratch: Path) -> None:
    assert decode_plainly(CORPUS[name]) is not None
    assert find_difference(CORPUS[name], scratch) is None


@settings(deadline=None, max_examples=250)
@given(st.sampled_from(sorted(CORPUS)), st.lists(st.sampled_from(FREE_OF_FORMAT), min_size=1), st.integers(0, 2**32))
def test_image_damaged_repeatedly_is_shown_as_pillow_shows_it_or_reported(
    scratch: Path, name: str, kinds: list[str], seed: int
) -> None:
    data, rng = CORPUS[name], np.random.default_rng(seed)
    for kind in kinds:
        data = mutate(data, name, kind, rng)
    assert find_difference(data, scratch) is None, show(data)


COMPARE = """
import pathlib
from mutations import make_mutants
from reference import find_difference
for name, data in make_mutants(int(sys.argv[1]), int(sys.argv[2])):
    print(name, flush=True)  # the last one is what a crash was about
    if difference := find_difference(data, pathlib.Path(sys.argv[3])):
        print("DIFFERS", name, difference, flush=True)
"""


def test_damaged_images_are_shown_as_pillow_shows_them_or_reported(scratch: Path) -> None:
    outcome = run_python(COMPARE, COUNT, SEED, scratch)
    lines = outcome.out.splitlines()
    bad = [line for line in lines if line.startswith("DIFFERS")]
    images = dict(make_mutants(COUNT, SEED))
    assert not bad, f"{bad[0]}: {show(images[bad[0].split()[1]])}"
    assert outcome.code == 0, f"crash: {lines[-1]}: {show(images[lines[-1]])}\n{outcome.err[-2000:]}"
    assert len(lines) == COUNT
    assert outcome.peak_mib < MEMORY_MIB
    assert outcome.err == ""  # neither libtiff nor Pillow's log has a say


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A folder with ``train/``, ``val/`` and two classes of damaged images, and those that show nothing."""
    root, unreadable = tmp_path_factory.mktemp("damaged"), set()
    for number, (name, data) in enumerate(make_mutants(COUNT, SEED)):
        kind = name.split("-")[1]
        path = root / ("val" if number % 5 == 4 else "train") / "ab"[number % 2] / f"{name}.{SUFFIXES.get(kind, kind)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if decode_plainly(data) is None:
            unreadable.add(str(path))
    return root, unreadable


@pytest.fixture(scope="module")
def trained(damaged: tuple[Path, set[str]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The run directory of one epoch on the damaged images, and how training ended."""
    run = tmp_path_factory.mktemp("runs") / "run"
    settings = ("--epochs", 1, "--allow-leaks", "--set", "input_size=16", "--set", "batch_size=64", "--device", "cpu")
    return run, run_command("train", damaged[0], "--out", run, *settings)


def assert_sound(outcome: Outcome, code: int) -> None:
    assert outcome.code == code, outcome.err[-3000:]
    assert "Traceback" not in outcome.err
    assert 0 < outcome.peak_mib < MEMORY_MIB


def test_training_skips_what_shows_nothing_and_says_why(
    damaged: tuple[Path, set[str]], trained: tuple[Path, Outcome]
) -> None:
    run, outcome = trained
    assert_sound(outcome, 0)
    skipped = skipped_in(outcome.err)
    assert set(skipped) == damaged[1]
    assert all(0 < len(reason) < 100 for reason in skipped.values())
    assert (run / "model.safetensors").is_file()


def test_prediction_answers_for_what_shows_something(
    damaged: tuple[Path, set[str]], trained: tuple[Path, Outcome]
) -> None:
    outcome = run_command("predict", trained[0], damaged[0], "--json", "--device", "cpu")
    assert_sound(outcome, 1)
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    assert {row["path"] for row in rows if "error" in row} == damaged[1]
    assert len(rows) == sum(path.is_file() for path in damaged[0].rglob("*"))
    assert all(row["label"] in "ab" for row in rows if "error" not in row)


def test_check_finds_what_shows_nothing(damaged: tuple[Path, set[str]], tmp_path: Path) -> None:
    outcome = run_command("check", damaged[0], "--out", tmp_path / "checked", "--json")
    assert_sound(outcome, 1)
    findings = json.loads(outcome.out)["findings"]
    assert {path for row in findings if row["kind"] == "unreadable" for path in row["paths"]} == damaged[1]
