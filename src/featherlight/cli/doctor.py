"""``featherlight doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from featherlight.cli.options import json_option, print_json
from featherlight.console import printable

if TYPE_CHECKING:
    from featherlight.workflows.doctor import Cache, Diagnosis, Extra, Runtime

EXAMPLES = """\b
Examples:
  featherlight doctor
  featherlight doctor --json > doctor.json
  featherlight doctor || echo "something does not work"

\b
Every runtime is started once, in a process of its own. An extra that is not installed
is no problem, but told, with the command to get it. Put the output into a report of
a mistake.
"""


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Say what is installed here, what works, what is missing and the command to get it."""
    from featherlight.workflows.doctor import diagnose

    found = diagnose()
    if as_json:
        print_json(found.to_dict())
    else:
        click.echo("\n".join(printable(line) for line in _lines(found)))
    return int(bool(found.problems))


def _lines(found: Diagnosis) -> list[str]:
    packages = [f"  {name} {version}" for name, version in found.packages.items()]
    return [
        f"featherlight {found.featherlight}, Python {found.python} ({found.executable})",
        f"machine   {found.machine}",
        f"devices   {', '.join(found.devices)}",
        f"compiler  {found.compiler or 'none: training computes with PyTorch alone; install gcc or clang'}",
        *_section("engines", [_engine(engine) for engine in found.engines]),
        *_section("extras", [_extra(extra) for extra in found.extras]),
        *_section("packages", packages),
        *_section(
            f"caches in {found.cache_folder} ({_size(found.cache_free_bytes)} free; what is there can be deleted)",
            [_cache(cache) for cache in found.caches],
        ),
        *_section("environment", [f"  {name}={value}" for name, value in found.environment.items()]),
        *_section("problems", [f"  {one.message}\n    {one.command}" for one in found.problems]),
        "",
        "all that is installed works" if not found.problems else f"problems: {len(found.problems)}",
    ]


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", title, *(part for line in lines for part in line.split("\n"))] if lines else []


def _engine(engine: Runtime) -> str:
    if engine.version is None:
        return f"  {engine.name:<12} not installed: {engine.command}"
    return f"  {engine.name:<12} {engine.version}  {engine.problem or 'works'}"


def _extra(extra: Extra) -> str:
    missing = ", ".join(requirement.partition(">=")[0] for requirement in extra.missing)  # versions are pip's business
    state = f"needs {missing}\n    {extra.command}" if missing else "installed"
    return f"  {extra.name:<12} {extra.purpose}\n    {state}"


def _cache(cache: Cache) -> str:
    size = f"{'more than ' if cache.at_least else ''}{_size(cache.size_bytes)}"
    return f"  {cache.name:<20} {size:>10}  {cache.purpose}".rstrip()


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.1f} MB"
