"""How far a command has come: a bar on a terminal, lines elsewhere, nothing of what is quick, and no trace after."""

from __future__ import annotations

import io

import pytest
from django.core.management.base import BaseCommand

from ai_gateway.management.progress import Progress, Total, duration


class Clock:
    """A clock that stands still until it is set forward."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """What is written, and what stands on the screen's last line then."""

    encoding = "utf-8"

    def __init__(self, *, is_terminal: bool = True) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal

    @property
    def line(self) -> str:
        shown = ""
        for piece in self.getvalue().rpartition("\n")[2].split("\r"):
            shown = piece + shown[len(piece) :]
        return shown.rstrip()


@pytest.fixture(autouse=True)
def _size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def begin(stream: io.StringIO, clock: Clock, total: Total = 200, verbosity: int = 1) -> Progress:
    command = BaseCommand(stderr=stream)
    return Progress(command, "rows read", total, verbosity=verbosity, clock=clock)


def test_on_a_terminal__a_bar_with_count_rate_and_what_is_left(clock: Clock) -> None:
    screen = Terminal()
    with begin(screen, clock) as progress:
        clock.now += 2
        progress.add(50)
        assert screen.line == "rows read  ██████░░░░░░░░░░░░░░░░░░  50 of 200 (25 %)  25/s  6 s left"
        clock.now += 2
        progress.add(150)
        assert screen.line == "rows read  ████████████████████████  200 of 200 (100 %)  50/s"
    assert not screen.line


def test_a_total_that_nobody_knows_is_not_shown(clock: Clock) -> None:
    screen = Terminal()
    progress = begin(screen, clock, total=None)
    clock.now += 2
    progress.add(5)
    assert screen.line == "rows read  5  2.5/s"


def test_a_total_that_costs_something_is_asked_for_once__if_it_is_shown(clock: Clock) -> None:
    asked = []

    def count() -> int:
        asked.append(1)
        return 200

    screen = Terminal()
    progress = begin(screen, clock, total=count)
    progress.add(10)
    assert not asked
    for _ in range(2):
        clock.now += 2
        progress.add(20)
    assert "50 of 200" in screen.line
    assert len(asked) == 1


def test_more_than_were_counted_at_first_is_not_more_than_all(clock: Clock) -> None:
    screen = Terminal()
    progress = begin(screen, clock, total=4)
    clock.now += 2
    progress.add(5)
    assert screen.line == "rows read  ████████████████████████  5 of 4 (100 %)  2.5/s"


def test_what_is_done_within_a_second_is_not_spoken_of(clock: Clock) -> None:
    for screen in (Terminal(), Terminal(is_terminal=False)):
        with begin(screen, clock) as progress:
            clock.now += 0.9
            progress.add(200)
        assert not screen.getvalue()


def test_the_bar_is_drawn_ten_times_a_second_at_most(clock: Clock) -> None:
    screen = Terminal()
    progress = begin(screen, clock, total=100_000)
    clock.now += 1
    for _ in range(2000):
        clock.now += 0.001
        progress.add()
    assert 15 <= screen.getvalue().count("\r") <= 21


def test_elsewhere__a_line_now_and_then(clock: Clock) -> None:
    log = Terminal(is_terminal=False)
    with begin(log, clock) as progress:
        for _ in range(25):
            clock.now += 1
            progress.add(8)
    assert log.getvalue().splitlines() == [
        "rows read: 8 of 200 (4 %)",
        "rows read: 88 of 200 (44 %)",
        "rows read: 168 of 200 (84 %)",
    ]


def test_a_dumb_terminal_gets_lines(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen = Terminal()
    progress = begin(screen, clock)
    clock.now += 1
    progress.add()
    assert screen.getvalue() == "rows read: 1 of 200 (0 %)\n"


def test_it_writes_no_colours_and_no_escapes(clock: Clock) -> None:
    screen = Terminal()
    with begin(screen, clock) as progress:
        clock.now += 2
        progress.add(50)
    assert "\x1b" not in screen.getvalue()


def test_verbosity_0_is_silence(clock: Clock) -> None:
    screen = Terminal()
    progress = begin(screen, clock, verbosity=0)
    clock.now += 60
    progress.add(100)
    assert not screen.getvalue()


def test_ctrl_c_leaves_an_empty_line(clock: Clock) -> None:
    screen = Terminal()

    def interrupt() -> None:
        with begin(screen, clock) as progress:
            clock.now += 2
            progress.add(50)
            assert screen.line
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert not screen.line
    assert screen.getvalue().endswith("\r")


def test_a_narrow_terminal_is_not_written_over(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    screen = Terminal()
    progress = begin(screen, clock)
    clock.now += 2
    progress.add(50)
    assert len(screen.line) < 30


def test_a_terminal_without_those_letters_gets_plain_ones(clock: Clock) -> None:
    screen = Terminal()
    screen.encoding = "ascii"
    progress = begin(screen, clock)
    clock.now += 2
    progress.add(50)
    assert "######.................." in screen.line


def test_loops_are_counted__each_by_itself(clock: Clock) -> None:
    screen = Terminal()
    progress = begin(screen, clock)
    shown = []
    for label in ("one", "other"):
        for _ in progress.over(range(3), label):
            shown.append(screen.line)
            clock.now += 1
    assert shown[2] == "one  ████████████████░░░░░░░░  2 of 3 (66 %)  1.0/s  1 s left"
    assert shown[4] == "other  ████████░░░░░░░░░░░░░░░░  1 of 3 (33 %)  1.0/s  2 s left"


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (59, "59 s"), (65, "1:05 min"), (7800, "2:10 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
