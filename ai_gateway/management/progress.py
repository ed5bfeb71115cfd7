"""How far a command has come: a bar that moves on a terminal, a line now and then anywhere else.

It goes to the error stream, so that what a command prints can be piped and parsed, and it says nothing at all of what
is done within a second. It has no colours and needs no control but the carriage return, so there is nothing to switch
off for those who want neither (`NO_COLOR`, `--no-color`). `--verbosity 0` keeps it quiet.

    with Progress(self, "records deleted", total, verbosity=verbosity) as progress:
        for batch in batches:
            progress.add(len(batch))

`over` is for loops, and is what the gateway's own modules take as a `Watch`.

On leaving, by an error or by Ctrl-C as well, the bar is wiped away and the cursor is where a line begins.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from types import TracebackType
from typing import Self, TypeVar

from django.core.management.base import BaseCommand

T = TypeVar("T")
Total = int | Callable[[], int] | None

BEGINS = 1.0
"""Seconds for which nothing is shown: most runs are over by then."""

REDRAWS = 0.1
"""Seconds between two drawings of the bar."""

LINES = 10.0
"""Seconds between two plain lines."""

WIDTH = 24
"""Characters of the bar itself."""

SHAPES = ("█", "░")
PLAIN_SHAPES = ("#", ".")
"""For terminals whose encoding does not have the others."""


class Progress:
    """Tells of something that is done piece by piece. `total` is how many pieces there are, or what counts them once
    that is to be shown; None if nobody knows."""

    def __init__(
        self,
        command: BaseCommand,
        label: str = "",
        total: Total = None,
        *,
        verbosity: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = command.stderr
        self._clock = clock
        self._is_quiet = verbosity == 0
        self._is_bar = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._shapes = SHAPES if _has(self._stream, "".join(SHAPES)) else PLAIN_SHAPES
        self.begin(label, total)
        self._next_at = self._began_at + BEGINS
        self._drawn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hide()

    def begin(self, label: str, total: Total = None) -> None:
        """Begin with something else."""
        self._label, self._counts, self._done, self._began_at = label, total, 0, self._clock()

    def add(self, count: int = 1) -> None:
        """Note that so many more are done."""
        self._done += count
        now = self._clock()
        if self._is_quiet or now < self._next_at:
            return
        if callable(self._counts):
            self._counts = self._counts()
        if self._is_bar:
            self._next_at = now + REDRAWS
            self._draw(self._bar(now - self._began_at))
        else:
            self._next_at = now + LINES
            self._write(f"{self._label}: {self._counted()}\n")

    def over(self, pieces: Collection[T], label: str) -> Iterator[T]:
        """Give pieces, and note that each is done when the next one is asked for. Counts anew."""
        self.begin(label, len(pieces))
        for piece in pieces:
            yield piece
            self.add()

    def hide(self) -> None:
        """Wipe the bar away, for something else to be written. It comes again by itself."""
        if self._drawn:
            self._write(f"\r{' ' * self._drawn}\r")
            self._drawn = 0

    def _draw(self, text: str) -> None:
        text = text[: shutil.get_terminal_size().columns - 1]  # In the last column some terminals begin a new line.
        self._write(f"\r{text.ljust(self._drawn)}")
        self._drawn = len(text)

    def _write(self, text: str) -> None:
        self._stream.write(text, style_func=str, ending="")
        self._stream.flush()

    def _bar(self, seconds: float) -> str:
        rate = self._done / seconds if seconds else 0.0
        parts = [self._label, self._counted(), f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"]
        if self._total:
            done, rest = self._shapes
            filled = min(WIDTH * self._done // self._total, WIDTH)
            parts.insert(1, done * filled + rest * (WIDTH - filled))
            if self._done < self._total and rate:
                parts.append(f"{duration((self._total - self._done) / rate)} left")
        return "  ".join(parts)

    @property
    def _total(self) -> int | None:
        return None if callable(self._counts) else self._counts

    def _counted(self) -> str:
        if not self._total:
            return f"{self._done:,}"
        return f"{self._done:,} of {self._total:,} ({min(self._done * 100 // self._total, 100)} %)"


def duration(seconds: float) -> str:
    """Write how long something takes: 8 s, 1:05 min, 2:10 h."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours}:{minutes_left:02} h" if hours else f"{minutes}:{rest:02} min"


def _has(stream: object, text: str) -> bool:
    """Whether a stream can write a text."""
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
