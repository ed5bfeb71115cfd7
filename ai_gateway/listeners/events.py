"""Hearing a stream of events, at next to no cost: of a hundred events one tells what was used, and the others are text.

Up to the first content every event is read at once. From then on events are collected in windows. The first window,
and one in eight behind it, is kept as a sample; the others are only searched for a report of usage, and their lines are
counted. So a stream that reports its usage is hardly read at all. One that is cut, or does not report, is estimated
when it is over: the window that is not full is read, and so is the sample; and what was not read is taken to have as
much text to a line as the sample. Never more than a sample and a window are held.
"""

from __future__ import annotations

from copy import copy

from ai_gateway.calls import Call
from ai_gateway.consumption import Consumption, Listener
from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.listeners.reckoning import consumption_of, passed_tokens
from ai_gateway.protocols.bedrock_converse.framing import FrameSplitter
from ai_gateway.protocols.passing import Passing
from ai_gateway.sse import payloads

WINDOW = 2048
"""Bytes of events that make a window."""

ONE_IN = 8
"""Of so many windows one is kept as a sample."""

LINE_END = b"\n"
"""What a stream has as often in each of its events. (One whose lines end with CR alone is estimated by its samples.)"""

BIG = 2 * WINDOW
"""A window of so many bytes is read at once: it has an event of another kind than the deltas around it, a picture or
the whole answer once more."""


class EventListener(Listener):
    """Hears one stream of server-sent events."""

    __slots__ = ("_call", "_held", "_passing", "_room", "_sample", "_unread", "_windows", "has_content")

    def __init__(self, call: Call, passing: Passing) -> None:
        self._call = call
        self._passing = passing
        self._held = bytearray()
        self._room = 0
        self._windows = 0
        self._sample = b""
        self._unread = 0
        """Lines since the beginning of the sample, which as a whole were not read."""
        self.has_content = False

    def hear(self, data: bytes) -> bytes:
        """See Listener.hear()."""
        held = self._held
        held += data
        if len(held) > self._room:
            self._turn(held)
        return data

    def consumption(self) -> Consumption | None:
        """See Listener.consumption()."""
        self._read_rest()
        return consumption_of(self._passing, self._call)

    def tokens_so_far(self) -> int:
        """See Listener.tokens_so_far(). A copy reads what waits to be read."""
        twin = copy(self)
        twin._held, twin._passing = bytearray(self._held), copy(self._passing)
        twin._read_rest()
        return passed_tokens(twin._passing)

    def _read_rest(self) -> None:
        held = bytes(self._held)
        self._held.clear()
        self._read_report(held)
        if not self._passing.is_final:
            self._read_sample()
            self._read(held)

    def _turn(self, held: bytearray) -> None:
        """The window is full."""
        if not self.has_content or len(held) > BIG:
            self._read(bytes(held))
            self.has_content = self._passing.pieces > 0 or not self._passing.can_be_estimated
            self._room = WINDOW if self.has_content else 0
        else:
            self._read_report(held)
            if self._windows % ONE_IN == 0:
                self._read_sample()
                self._sample = bytes(held)
            self._unread += held.count(LINE_END)
            self._windows += 1
        held.clear()

    def _read(self, window: bytes) -> None:
        """Read all events of a window."""
        for data in filter(None, payloads(window)):
            self._passing.event(data)

    def _read_report(self, window: bytes | bytearray) -> None:
        """Read the last report of usage in a window, and what is charged apart, if there is any; but not the text that
        came with it."""
        passing = self._passing
        place = window.find(passing.apart) if passing.apart else -1
        while place >= 0:
            place = window.find(passing.apart, self._read_beside_text(window, place))
        found = window.rfind(passing.marker)
        if found >= 0:
            self._read_beside_text(window, found)

    def _read_beside_text(self, window: bytes | bytearray, found: int) -> int:
        """Read the event at a place of a window, but not its text. Gives where it ends."""
        passing = self._passing
        start = max(window.rfind(b"\n", 0, found), window.rfind(b"\r", 0, found)) + 1
        end = window.find(b"\n", found)
        end = end if end >= 0 else len(window)
        event = bytes(window[start:end])
        text, reasoning, pieces = passing.text, passing.reasoning, passing.pieces
        passing.event(event.removeprefix(b"data:"))
        passing.text, passing.reasoning, passing.pieces = text, reasoning, pieces
        return end

    def _read_sample(self) -> None:
        """Read the sample, and reckon how much text there was in what followed it and was not read."""
        passing, sample = self._passing, self._sample
        text, reasoning, pieces = passing.text, passing.reasoning, passing.pieces
        self._read(sample)
        lines = sample.count(LINE_END)
        if lines:
            rate = (self._unread - lines) / lines
            passing.text += round((passing.text - text) * rate)
            passing.reasoning += round((passing.reasoning - reasoning) * rate)
            passing.pieces += round((passing.pieces - pieces) * rate)
        self._sample, self._unread = b"", 0


class FrameListener(Listener):
    """Hears one stream of Amazon's binary frames, however it is cut. All are read: they are seldom asked for."""

    __slots__ = ("_call", "_passing", "_splitter", "has_content")

    def __init__(self, call: Call, passing: Passing) -> None:
        self._call = call
        self._passing = passing
        self._splitter: FrameSplitter | None = FrameSplitter()
        self.has_content = False

    def hear(self, data: bytes) -> bytes:
        """See Listener.hear()."""
        if self._splitter is not None:
            try:
                for _, payload in self._splitter.feed(data):
                    self._passing.event(payload)
            except UpstreamProtocolError:
                self._splitter = None  # The caller gets it as it is; nothing behind it can be read.
            self.has_content = self._passing.pieces > 0
        return data

    def tokens_so_far(self) -> int:
        """See Listener.tokens_so_far()."""
        return passed_tokens(self._passing)

    def consumption(self) -> Consumption | None:
        """See Listener.consumption()."""
        return consumption_of(self._passing, self._call)
