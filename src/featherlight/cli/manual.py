"""How the help of every command ends: its exit codes, and where to read on."""

from __future__ import annotations

NEGATIVE = {  # what exit code 1 says, where it can say more than that somebody stopped the command
    "check": "something of the severity of --fail-on or above was found",
    "choose": "no network keeps the limits, or --min-accuracy is not reached, and what came nearest is told",
    "doctor": "something that is installed does not work, or there is no runtime to run a model with",
    "export": "the file gives other answers than its model, and an earlier export stays as it was",
    "predict": "an image could not be read, and the others are answered",
    "train": "interrupted or diverged, and what was reached is saved",
    "verify": "the file gives other answers than its model",
}
SEE_ALSO = {
    "benchmark": ("compare", "profile", "docs/deployment.md"),
    "check": ("train", "docs/check.md", "docs/data.md"),
    "choose": ("train", "benchmark", "docs/choosing.md"),
    "compare": ("evaluate", "benchmark", "docs/comparing.md"),
    "completion": ("doctor", "README.md"),
    "convert": ("models", "evaluate", "docs/weights.md"),
    "doctor": ("completion", "docs/devices.md", "CONTRIBUTING.md"),
    "evaluate": ("compare", "predict", "docs/evaluation.md"),
    "explain": ("profile", "docs/light-networks.md"),
    "export": ("verify", "benchmark", "predict", "docs/deployment.md", "docs/web.md"),
    "find-rate": ("train", "docs/training.md"),
    "models": ("profile", "train", "convert", "docs/networks.md"),
    "predict": ("evaluate", "export", "serve", "docs/evaluation.md"),
    "profile": ("benchmark", "explain", "models", "docs/light-networks.md"),
    "runs": ("compare", "train", "docs/comparing.md"),
    "serve": ("export", "predict", "docs/serving.md"),
    "toolchain": ("export", "doctor", "docs/deployment.md"),
    "train": ("check", "find-rate", "evaluate", "docs/training.md", "docs/recipes.md"),
    "verify": ("export", "docs/deployment.md"),
}


def closing(command: str) -> str:
    """The last two paragraphs of a command's help."""
    commands = [f"featherlight {name}" for name in SEE_ALSO[command] if "." not in name]
    pages = [name for name in SEE_ALSO[command] if "." in name]
    return (
        f"Exit codes: 0 done; 1 {NEGATIVE.get(command, 'interrupted')}; "
        "2 could not run, and standard error says what, where and what to do.\n\n"
        f"See also: {', '.join((*commands, *pages))}\n"
    )
