"""What a person sees while something runs: a bar on a terminal, plain lines elsewhere, all on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

PLAIN_INTERVAL_S = 30.0

_SILENT = ContextVar("silent", default=False)


class _Notes(Console):
    def on_broken_pipe(self) -> None:
        """Whoever read the notes has gone; the work goes on."""
        self.quiet = True


def notes() -> Console:
    """The console for progress and notes; results for machines have standard output to themselves."""
    return _Notes(file=sys.stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


def printable(text: str) -> str:
    """One line that does not command the terminal, whatever bytes a file in it is called."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def note(text: str) -> None:
    """Tells the person something in a line, on standard error."""
    if not _SILENT.get():
        notes().print(printable(text))


@contextmanager
def silence() -> Iterator[None]:
    """Inside, this thread shows nothing: for a step of something larger that shows how it goes itself."""
    token = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(token)


class Bar:
    """Progress with a changing text; lines every half minute where there is no terminal."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress, self._task = progress, task
        self._last_line = time.monotonic()

    def update(self, part: float, text: str) -> None:
        """Shows that ``part`` in [0, 1] is done, and ``text``."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=part, text=text)
        elif time.monotonic() - self._last_line >= PLAIN_INTERVAL_S:
            self._last_line = time.monotonic()
            note(f"{part:4.0%}  {text}")

    def line(self, text: str) -> None:
        """Prints a line that stays."""
        if self._progress is not None:
            self._progress.console.print(printable(text))
        else:
            note(text)


@contextmanager
def bar(title: str) -> Iterator[Bar]:
    """Opens a progress bar on standard error."""
    console = notes()
    if _SILENT.get() or not console.is_terminal:
        yield Bar(None, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress, progress.add_task(title, total=1.0, text=""))


@contextmanager
def counting(title: str, total: int, what: str = "images") -> Iterator[Callable[[int], None]]:
    """Opens a bar that counts images or something else: call the result with how many more are done."""
    done = 0
    with bar(title) as shown:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            shown.update(done / max(1, total), f"{done:,} of {total:,} {what}")

        yield advance


def duration(seconds: float) -> str:
    """``75`` -> ``1:15``; ``4000`` -> ``1:06:40``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
