"""Reading a stream by the gateway's own code, to its end: the same for every format."""

from __future__ import annotations

from collections.abc import Iterable

from ai_gateway.protocols.conversation import Answer
from ai_gateway.protocols.events import Event
from ai_gateway.protocols.protocol import Protocol
from ai_gateway.protocols.transcript import Collector


def events_of_pieces(protocol: Protocol, pieces: Iterable[bytes]) -> list[Event]:
    """Read a stream that comes in pieces, to its end."""
    splitter, reader = protocol.splitter(), protocol.stream_reader()
    events: list[Event] = []
    for piece in pieces:
        for name, data in splitter.feed(piece):
            events += reader.read(name, data)
    for name, data in splitter.flush():
        events += reader.read(name, data)
    return events + reader.end()


def cut(stream: bytes, size: int) -> list[bytes]:
    """Cut a stream into pieces of a size."""
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def collected(events: Iterable[Event]) -> Answer:
    """Put the events of a stream together. Raises the error of one that failed, or that was not whole."""
    collector = Collector()
    collector.add(events)
    return collector.answer()
