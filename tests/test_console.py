from __future__ import annotations

import threading

import pytest

from featherlight.console import bar, counting, duration, note, silence


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (0.4, "0:00"), (59.6, "1:00"), (75, "1:15"), (3599, "59:59"), (4000, "1:06:40"), (-3, "0:00")],
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("text", ["plain", "[red]a[/red].png", "photos/:cat:/1.png", "x" * 500, "猫.png: truncated"])
def test_notes_stand_on_standard_error_as_they_are(capsys: pytest.CaptureFixture[str], text: str) -> None:
    note(text)
    assert capsys.readouterr() == ("", text + "\n")


def test_without_a_terminal_a_bar_is_silent_and_its_lines_stay(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("training") as shown:
        shown.update(0.5, "half")
        shown.line("epoch 1")
    assert capsys.readouterr() == ("", "epoch 1\n")


def test_counting_nothing_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with counting("reading", 0) as advance:
        advance(0)
    assert capsys.readouterr().out == ""


def test_silence_is_in_its_thread_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with silence():
        note("hidden")
        with counting("counting", 2) as advance:
            advance(1)
        thread = threading.Thread(target=note, args=("from another thread",))
        thread.start()
        thread.join()
    note("after")
    assert capsys.readouterr().err == "from another thread\nafter\n"
