"""Files about the project say the same as the project."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import metadata, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
yaml = pytest.importorskip("yaml")


def test_citation_says_what_the_package_says() -> None:
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert said.keys() >= {"cff-version", "message", "title", "authors", "type", "license", "version"}
    assert said["cff-version"] == "1.2.0"
    assert said["version"] == version("featherlight")
    assert said["license"] == metadata("featherlight")["License-Expression"]
    for work in (said, *said["references"]):
        assert work["title"]
        assert all(person.keys() & {"family-names", "name"} for person in work["authors"])


def test_hooks_are_the_commands_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = makefile.partition("lint: $(INSTALLED)\n")[2].partition("\n\n")[0]
    tools = {re.sub(r"^.*/", "", hook["entry"].split()[0]) for hook in hooks}
    assert tools == set(re.findall(r"\$\(BIN\)/([\w-]+)", lint))
    assert all(hook["language"] == "system" for hook in hooks)


def test_minimum_versions_are_those_of_the_project() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "minimum_versions.py"], capture_output=True, text=True, check=True
    )
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = done.stdout.splitlines()
    assert len(lines) > 20
    assert all(f'"{line.replace("==", ">=")}' in project for line in lines)


def test_pythons_that_are_declared_begin_at_the_least_that_is_allowed() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pythons = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    assert f'requires-python = ">={pythons[0]}"' in project
    assert pythons == sorted(pythons, key=lambda name: int(name.partition(".")[2]))


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_to_files(name: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", (ROOT / name).read_text(encoding="utf-8")):
        assert (ROOT / target).is_file(), target
