"""The site builds without a warning, asks nothing of other servers, and says what is true."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import click
import pytest

import featherlight
from featherlight.cli.main import featherlight as group

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}  # what a browser fetches
NOT_FETCHED = {"canonical", "next", "prev"}  # links that only say something


class Resources(HTMLParser):
    """Addresses of other servers that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(LOADED.get(tag, ""), "") or ""
        if address.startswith(("http:", "https:", "//")) and given.get("rel") not in NOT_FETCHED:
            self.found.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(list(DOCS.glob("*.md")))
    for page in pages:
        resources = Resources()
        resources.feed(page.read_text(encoding="utf-8"))
        assert resources.found == [], page
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"url\([\"']?(?:https?:)?//[^)]*\)", styles) == []
    assert not list(site.rglob("*.py"))


def test_page_on_python_has_every_public_name_with_its_docstring(site: Path) -> None:
    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    headings = set(re.findall(r'<h3 id="featherlight\.[\w.]*?\.?(\w+)"', text))
    assert set(featherlight.__all__) - {"__version__"} == headings
    assert "Measures models beside each other" in text


def _load(name: str) -> ModuleType:
    spec = spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("language", ["", ".zh-CN"])
def test_page_on_light_networks_counts_as_the_code_does(language: str) -> None:
    page = (DOCS / f"light-networks{language}.md").read_text(encoding="utf-8")
    maker = _load("make_light_networks")
    for name, counted in maker.cost_rows().items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert row.startswith(counted)
        assert re.fullmatch(r" [1-9][\d.]* \|", row.removeprefix(counted)), "a latency is missing"
    for unit in maker.unit_macs():
        assert f"| {unit} |" in page


def test_picture_of_the_shuffle_is_the_one_that_explain_draws(tmp_path: Path) -> None:
    from featherlight.workflows.explain import explain_channel_shuffle

    explain_channel_shuffle(3, 12, tmp_path / "shuffle.svg")
    assert (tmp_path / "shuffle.svg").read_bytes() == (DOCS / "images" / "channel-shuffle.svg").read_bytes()


@pytest.mark.parametrize("name", ["tutorial", "light-networks"])
def test_chinese_page_has_the_same_commands_and_pictures(name: str) -> None:
    english, chinese = ((DOCS / f"{name}{part}.md").read_text(encoding="utf-8") for part in ("", ".zh-CN"))
    for pattern in (r"^\$ featherlight .+$", r"\]\((images/[^)]+)\)", r"^\| `.+$"):
        assert re.findall(pattern, chinese, re.MULTILINE) == re.findall(pattern, english, re.MULTILINE)
    assert len(re.findall(r"[一-鿿]", chinese)) > 1000


@pytest.mark.parametrize("name", ["tutorial", "light-networks"])
def test_commands_in_pages_parse(name: str) -> None:
    root = click.Context(group, info_name="featherlight")
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\$ featherlight (.+)$", text, re.MULTILINE)
    assert lines
    for line in lines:
        called, *arguments = shlex.split(line)
        command = group.get_command(root, called)
        assert command is not None, line
        command.make_context(called, arguments, parent=root)
