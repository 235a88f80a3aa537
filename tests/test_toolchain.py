from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from featherlight import toolchain
from featherlight.errors import FeatherlightError, UsageError
from featherlight.toolchain import (
    TOOLCHAINS,
    MissingToolchainError,
    Toolchain,
    find_toolchain,
    is_made,
    make_toolchain,
    remove_toolchain,
    run_tool,
    toolchain_folder,
)


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A toolchain without packages, so that making it needs no network."""
    monkeypatch.setitem(TOOLCHAINS, "empty", Toolchain("empty", "does nothing", (), "0 GB"))
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path))
    monkeypatch.delenv("FEATHERLIGHT_OFFLINE")
    return "empty"


@pytest.fixture
def made(empty: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """It is there: an environment as venv makes it, but without pip."""
    folder = toolchain_folder(empty)
    monkeypatch.setattr(
        toolchain, "_commands", lambda place, _: [[sys.executable, "-m", "venv", "--without-pip", place]]
    )
    assert make_toolchain(empty) == folder
    return empty


def test_what_has_not_been_made_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    for name in TOOLCHAINS:
        with pytest.raises(MissingToolchainError, match=f"Make it once .*: featherlight toolchain {name}$"):
            find_toolchain(name)


def test_targets_may_share_a_toolchain() -> None:
    assert toolchain_folder("coreml") == toolchain_folder("executorch") != toolchain_folder("litert")


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(UsageError, match="there is no toolchain 'rust'; choose one of litert, executorch"):
        make_toolchain("rust")


def test_nothing_is_downloaded_off_the_network() -> None:
    with pytest.raises(FeatherlightError, match="FEATHERLIGHT_OFFLINE is set"):
        make_toolchain("litert")
    assert not is_made("litert")


def test_a_tool_gets_its_job_and_gives_its_answer(made: str, tmp_path: Path) -> None:
    script = tmp_path / "tool.py"
    script.write_text(
        "import json, sys\n"
        "job = json.load(open(sys.argv[1]))\n"
        "json.dump({'prefix': sys.prefix, **job}, open(sys.argv[2], 'w'))\n"
    )
    answer = run_tool(made, script, {"out": "ä"})
    assert answer == {"prefix": str(toolchain_folder(made)), "out": "ä"}


def test_a_tool_that_fails_says_why_in_a_line(made: str, tmp_path: Path) -> None:
    script = tmp_path / "tool.py"
    script.write_text("print('much')\nraise SystemExit('this operator is not known')\n")
    with pytest.raises(UsageError, match=r"^empty's converter failed: much / this operator is not known$"):
        run_tool(made, script, {})


def test_a_broken_environment_is_made_anew(made: str, tmp_path: Path) -> None:
    folder = toolchain_folder(made)
    (folder / "ready.json").unlink()
    (folder / "left-over").touch()
    assert not is_made(made)
    make_toolchain(made)
    assert is_made(made)
    assert not (folder / "left-over").exists()
    assert json.loads((folder / "ready.json").read_text()) == {"packages": []}


def test_it_can_be_removed(made: str) -> None:
    assert remove_toolchain(made)
    assert not remove_toolchain(made)
    with pytest.raises(MissingToolchainError):
        find_toolchain(made)


@pytest.mark.slow
@pytest.mark.parametrize("with_uv", [False, True])
def test_an_environment_is_made_by_uv_or_by_venv(empty: str, monkeypatch: pytest.MonkeyPatch, with_uv: bool) -> None:
    if with_uv and shutil.which("uv") is None:
        pytest.skip("there is no uv on this machine")
    if not with_uv:
        monkeypatch.setattr(shutil, "which", lambda _: None)
    make_toolchain(empty)
    assert find_toolchain(empty).is_file()
