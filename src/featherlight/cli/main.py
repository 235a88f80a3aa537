"""The command line: finds the command's file, and turns errors into one line and an exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from featherlight.cli.manual import closing
from featherlight.errors import FeatherlightError, did_you_mean, explain_missing

COMMANDS = {
    "check": "Find what is wrong with images before training.",
    "train": "Train a light network on images.",
    "find-rate": "Find the learning rate for a network on images.",
    "evaluate": "Measure a model on images it was not trained on.",
    "predict": "Name what is in images.",
    "export": "Make a file that runs without PyTorch, and prove its answers.",
    "verify": "Compare an exported file with the model it was made of.",
    "serve": "Answer images over HTTP, with a page to try it.",
    "convert": "Make a model of weights from elsewhere.",
    "models": "List the networks.",
    "profile": "Count what a network costs, and measure how fast it is here.",
    "benchmark": "Measure how fast, large and right models are, in every engine.",
    "compare": "Compare models on the same images: which is better, and is it real.",
    "runs": "List training runs.",
    "choose": "Find and train the best network for a task within limits of speed and size.",
    "toolchain": "Make the environment of a converter that needs a PyTorch of its own.",
    "doctor": "Say what is installed, what works, what is missing and how to get it.",
    "completion": "Print the script that makes a shell complete commands, options and names.",
    "explain": "Show how an idea works, in text and as a picture.",
}


class _LazyCommands(click.Group):
    """Loads a command's file when it is called, so that ``--help`` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"featherlight.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        command.epilog = f"{module.EXAMPLES}\n{closing(cmd_name)}"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and (hint := did_you_mean(args[0], COMMANDS)):
            ctx.fail(f"No such command {args[0]!r};{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


EXAMPLES = """\b
Examples:
  featherlight train                       train on built-in handwritten digits
  featherlight check photos/               find what is wrong with a folder of images
  featherlight train photos/ --out runs/a  train on a folder with a folder a class
  featherlight evaluate runs/a             measure it on held-out images
  featherlight predict runs/a new.jpg      name what is in an image

Every command explains itself, with examples: featherlight COMMAND --help

Exit codes: 0 done; 1 ran, and the answer is negative, or interrupted; 2 could not run.

See also: README.md; docs/index.md; docs/reference.md for exit codes, streams and environment variables
"""


@click.group(
    cls=_LazyCommands,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="featherlight", message="%(version)s")
def featherlight() -> None:
    """Small, fast image classifiers: point it at images, get a light network that runs anywhere."""


def run(arguments: Sequence[str]) -> int:
    """Runs one command.

    Returns:
        The exit code: 0 done; 1 ran, and the answer is negative; 2 could not run.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding lacks is escaped, not a crash
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        result = featherlight.main(list(arguments), prog_name="featherlight", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (BrokenPipeError, SystemExit):  # click exits on a closed pipe: whoever read our output has had enough
        return 0
    except Exception as error:
        if os.environ.get("FEATHERLIGHT_DEBUG") == "1":
            raise
        return _explain(error)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        _drop_unwritable_output()


def _explain(error: Exception) -> int:
    """One or two lines on standard error, and the exit code."""
    if isinstance(error, ModuleNotFoundError):
        error = explain_missing(error, "this command")
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return 2
    from featherlight.console import printable  # not at the top: it takes longer than --help

    print(f"error: {printable(_message(error))}", file=sys.stderr)  # noqa: T201
    if isinstance(error, click.UsageError) and error.ctx is not None:
        print(f"See: {error.ctx.command_path} --help", file=sys.stderr)  # noqa: T201
    if isinstance(error, click.Abort):
        return 1
    return error.exit_code if isinstance(error, FeatherlightError) else 2


def _drop_unwritable_output() -> None:
    """Output that could not be written is let go: Python would try once more at its end, and complain."""
    stream = sys.__stdout__
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _message(error: Exception) -> str:
    if isinstance(error, click.Abort):
        return "interrupted"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, FeatherlightError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:  # a full disk, a lost drive: nothing of ours is broken
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}. This is a bug of Featherlight; FEATHERLIGHT_DEBUG=1 shows where"
