"""``featherlight toolchain``."""

from __future__ import annotations

import click

from featherlight.console import note, printable

EXAMPLES = """\b
Examples:
  featherlight toolchain
  featherlight toolchain litert
  featherlight toolchain executorch --remove

\b
Some converters only work with certain versions of PyTorch. Each gets a Python
environment of its own in the cache folder, and leaves this installation alone.
uv makes it where it is installed, else venv and pip.
"""


@click.command("toolchain", epilog=EXAMPLES)
@click.argument("name", required=False)
@click.option("--remove", is_flag=True, help="Delete it again.")
def command(name: str | None, remove: bool) -> None:
    """Make the environment that exporting to NAME needs; without NAME, list them."""
    from featherlight.errors import UsageError
    from featherlight.toolchain import make_toolchain, remove_toolchain, toolchain_of

    if name is None:
        if remove:
            raise UsageError("name the toolchain to remove")
        _list()
    elif remove:
        click.echo(f"{name} {'removed' if remove_toolchain(name) else 'was not there'}")
    else:
        note(f"making the toolchain {toolchain_of(name).name}; about {toolchain_of(name).download} to download")
        click.echo(printable(f"{name} is ready in {make_toolchain(name)}"))


def _list() -> None:
    from featherlight.toolchain import TOOLCHAINS, is_made, toolchain_folder

    for name, toolchain in TOOLCHAINS.items():
        state = f"ready in {toolchain_folder(name)}" if is_made(name) else "not made"
        click.echo(printable(f"{name:<12} {toolchain.purpose}; {state}"))
