"""The kernels where memory is short, and under the compiler's sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from featherlight.errors import FeatherlightError
from featherlight.kernels.chain import run_chain
from featherlight.kernels.library import compile_kernels, load_kernels, open_kernels
from featherlight.kernels.links import PLAIN, Ending, Link

pytestmark = pytest.mark.skipif(load_kernels() is None, reason="no C compiler here")
HERE = Path(__file__).parent
UNIT = (
    Link("pointwise", "relu"),
    Link("depthwise", "none", padding=1),
    Link("pointwise", "relu"),
)


def parameters(links: tuple[Link, ...], channels: int) -> list[Tensor]:
    generator, found = torch.Generator().manual_seed(0), []
    for link in links:
        size = 1 if link.kind == "pointwise" else 3
        shape = (channels, 1 if link.kind == "depthwise" else channels, size, size)
        weight = torch.randn(shape, generator=generator)
        for tensor in (weight, torch.ones(channels), torch.zeros(channels)):
            found.append(tensor.requires_grad_())
        found += [torch.zeros(channels), torch.ones(channels)]
    return found


@pytest.fixture(scope="module")
def scarce(tmp_path_factory):
    """The kernels, compiled so that memory runs out when a test says so."""
    flags = ("-O1", "-include", str(HERE / "scarce_memory.h"))
    return open_kernels(compile_kernels(tmp_path_factory.mktemp("scarce"), flags))


@pytest.mark.parametrize(
    ("links", "ending"),
    [(UNIT, PLAIN), (UNIT, Ending("split")), ((Link("norm", "relu6"),), PLAIN), ((Link("stem", "relu"),), PLAIN)],
    ids=["chain", "unit", "norm", "stem"],
)
def test_memory_that_cannot_be_had_is_one_clear_error(links, ending, scarce):
    x = torch.randn(2, 16, 5, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    failures = 0
    for allowed in range(200):
        given = parameters(links, 8 if ending.kind == "split" else 16)
        scarce.allow(allowed)
        try:
            run_chain(scarce, links, x, given, ending).sum().backward()
            break
        except FeatherlightError as error:
            assert "smaller batch_size" in str(error)  # noqa: PT017
            failures += 1
        finally:
            scarce.allow(-1)
    assert 3 <= failures < 199
    assert torch.isfinite(given[0].grad if given[0].grad is not None else given[1].grad).all()


@pytest.mark.slow
def test_sanitizers_find_nothing_in_the_tests_of_chains(tmp_path):
    """Compiles the kernels anew for it, into a cache of its own."""
    runtimes = [_runtime(name) for name in ("libasan.so", "libubsan.so")]
    if not all(path.is_absolute() for path in runtimes):
        pytest.skip("no sanitizers here")
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\nexec gcc "$@" -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all\n')
    compiler.chmod(0o755)
    environment = {
        **os.environ, "CC": str(compiler), "FEATHERLIGHT_CACHE": str(tmp_path / "cache"),
        "LD_PRELOAD": ":".join(map(str, runtimes)), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc",
        "OMP_NUM_THREADS": "2",
    }  # fmt: skip
    tests = [str(HERE / "test_chain.py"), f"{__file__}::test_memory_that_cannot_be_had_is_one_clear_error"]
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "passed" in done.stdout


def _runtime(name: str) -> Path:
    if shutil.which("gcc") is None:
        return Path()
    command = ["gcc", f"-print-file-name={name}"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
