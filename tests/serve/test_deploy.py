"""What is shipped to run the server elsewhere, looked at as far as that goes without Docker and systemd."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from featherlight.cli.serve import command

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "featherlight.service"
OPTIONS = {name for parameter in command.params for name in parameter.opts}


def dockerfile() -> list[tuple[str, str]]:
    """Instructions and what they say, of the last stage and those before."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.strip().partition(" ") for line in lines)]


def test_image_is_built_of_files_that_are_sent_and_exist() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = [line[1:] for line in ignored if line.startswith("!")]
    copied = [
        word for name, rest in dockerfile() if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]
    ]
    assert "*" in ignored
    assert set(copied) == set(sent)
    assert all((ROOT / name).exists() for name in copied)


def test_image_has_the_extras_of_the_server_and_no_torch() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    installed = re.findall(r"\.\[([a-z,]+)\]", " ".join(rest for name, rest in dockerfile() if name == "RUN"))
    assert [set(found.split(",")) for found in installed] == [{"serve", "onnxruntime"}]
    packages = [package for extra in ("serve", "onnxruntime") for package in extras[extra]]
    assert not any(fnmatch(package, pattern) for package in packages for pattern in ("torch*", "featherlight*"))


def test_image_runs_serve_without_privileges_and_stops_gracefully() -> None:
    told = dict(dockerfile())  # of what is said more than once, the last
    assert told["USER"] == "featherlight"
    assert told["STOPSIGNAL"] == "SIGTERM"
    entry = re.findall(r'"([^"]+)"', told["ENTRYPOINT"])
    assert entry[:2] == ["featherlight", "serve"]
    assert {word for word in entry if word.startswith("--")} <= OPTIONS
    assert "/healthz" in told["HEALTHCHECK"]


def unit_values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)


def test_unit_runs_serve_with_options_that_exist() -> None:
    (start,) = unit_values("ExecStart")
    program, name, *arguments = start.split()
    assert (Path(program).name, name) == ("featherlight", "serve")
    assert {word for word in arguments if word.startswith("--")} <= OPTIONS
    assert int(unit_values("TimeoutStopSec")[0]) > 35  # request timeout, and what a stop waits beyond
    assert unit_values("DynamicUser") == unit_values("NoNewPrivileges") == ["yes"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_unit_is_understood_by_systemd_and_exposes_little(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/featherlight/bin/featherlight", sys.executable))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert rated.returncode == 0, rated.stdout[-500:]
