"""Server-sent events as bytes. No I/O, no dialect.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. A line ends with LF, CR
or CRLF and with nothing else (U+2028 and its like are text); an event ends with an empty line; a line that starts with
a colon is a comment. Splitting happens on bytes: a character of several bytes may straddle two reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ai_gateway.errors import UpstreamProtocolError

BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n|\r\n\n")
"""Where an event ends: the end of a line and an empty line, in any mixture of line ends."""

BLANKS = (b"\n\n", b"\n\r\n", b"\r\r")
"""The shortest byte strings that contain the end of a line and an empty line; CRLF CRLF contains the second."""

LINE_END = re.compile(rb"\r\n|\r|\n")

BOM = b"\xef\xbb\xbf"
"""What a stream may begin with, and whoever reads it leaves out."""

_DATA = re.compile(rb"^data: ?(.*)$", re.MULTILINE)

MAX_EVENT = 64 * 1024 * 1024
"""Bytes that one event may have. Images come in one, in base64."""


def whole_events(buffer: bytes | bytearray, start: int = 0) -> int:
    """Count the bytes up to the end of the last whole event in a buffer; 0 if none ends after `start`."""
    if buffer.endswith((b"\n\n", b"\r\n\r\n")):
        return len(buffer)
    ends = (buffer.rfind(blank, start) + len(blank) for blank in BLANKS if blank in buffer[start:])
    return max(ends, default=0)


def first_event(buffer: bytes) -> tuple[str | None, bytes] | None:
    """Find the first event with data in a buffer of whole events: its name (None if it has none) and its data."""
    return next(read_events(buffer), None)


def _read(block: bytes) -> tuple[str | None, bytes | None]:
    name: str | None = None
    lines: list[bytes] = []
    for line in block.removeprefix(BOM).splitlines():  # Of bytes: at LF, CR and CRLF only.
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return name, b"\n".join(lines) if lines else None


def payloads(whole: bytes) -> list[bytes]:
    """List the data of the events in a buffer of whole events; a quick way for those who need nothing else of them."""
    found = _DATA.findall(whole)
    if b"\r" in whole or len(found) > whole.count(b"\n\n") + 1:  # Other line ends, or events of several lines.
        return [data for _, data in read_events(whole)]
    return found


class EventSplitter:
    """Takes a stream of server-sent events apart, event by event, however its bytes are cut.

    An event without data (a comment, a bare name) is skipped. Time is linear in the bytes: what was looked through is
    not looked through again. Memory is bounded: an event of more than MAX_EVENT bytes is no event.
    """

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[tuple[str | None, bytes]]:
        """Take bytes; give the events that are whole now, each as its name (None if it has none) and its data."""
        held = self._held
        if not held and data.endswith(b"\n\n"):
            return list(read_events(data))  # As most streams come: nothing has to be held, or copied.
        start = max(0, len(held) - 3)
        held += data
        end = whole_events(held, start)
        if not end:
            if len(held) > MAX_EVENT:
                raise UpstreamProtocolError(f"The provider's stream has an event of more than {MAX_EVENT} bytes.")
            return []
        whole = bytes(held[:end])
        del held[:end]
        return list(read_events(whole))

    def flush(self) -> list[tuple[str | None, bytes]]:
        """The bytes are over; give the last event, whose blank line the upstream may have left out."""
        rest = bytes(self._held)
        self._held.clear()
        return list(read_events(rest))


def read_events(whole: bytes) -> Iterator[tuple[str | None, bytes]]:
    """Read the events in a buffer that ends where an event ends."""
    # A pattern takes many times as long, and hardly anybody writes other line ends.
    for block in BLANK_LINE.split(whole) if b"\r" in whole else whole.split(b"\n\n"):
        if block:
            name, data = _read(block)
            if data is not None:
                yield name, data
