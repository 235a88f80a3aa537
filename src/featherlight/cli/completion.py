"""``featherlight completion``."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from featherlight.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
EXAMPLES = """\b
Examples:
  featherlight completion bash >> ~/.bashrc
  featherlight completion zsh >> ~/.zshrc
  featherlight completion fish > ~/.config/fish/completions/featherlight.fish
  eval "$(featherlight completion bash)"    only in this shell

\b
Then Tab completes commands, options and what they take: networks, data sets, runs,
recipes, engines, devices, files. It needs bash 4.4 or newer (macOS brings 3.2); zsh
needs compinit before it in ~/.zshrc.
"""


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.pass_context
def command(context: click.Context, shell: str | None) -> None:
    """Print the script that makes SHELL complete `featherlight`; by default the shell in $SHELL."""
    name = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(name) if name in SHELLS else None
    if kind is None:
        raise UsageError(f"which shell is meant cannot be seen from $SHELL; write one of: {', '.join(SHELLS)}")
    program = context.find_root()
    made = kind(program.command, {}, "featherlight", "_FEATHERLIGHT_COMPLETE")
    click.echo(made.source_template % made.source_vars())
