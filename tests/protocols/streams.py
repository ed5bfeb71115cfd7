"""Reading a stream by the gateway's own code, to its end: the same for every format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ai_gateway.protocols.conversation import Answer
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
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


def check_grammar(events: Sequence[Event], *, may_fail: bool = False) -> None:
    """Hold events against the rules that all streams keep to: one beginning and one end, parts that are opened in
    order, and nothing of a part before it is opened or after it was closed. One that ends well leaves none open."""
    *begun, end = events
    assert isinstance(end, Finished | Failed if may_fail else Finished)
    if begun or not may_fail:
        assert isinstance(begun[0], Started)
    opened, is_open = 0, set[int]()
    for event in begun[1:]:
        if isinstance(event, Opened):
            assert event.key == opened
            opened += 1
            is_open.add(event.key)
        else:
            assert isinstance(event, Grown | Signed | Cited | Closed)
            assert event.key in is_open
            assert not isinstance(event, Grown) or event.text
            if isinstance(event, Closed):
                is_open.remove(event.key)
    assert isinstance(end, Failed) or not is_open


def collected(events: Iterable[Event]) -> Answer:
    """Put the events of a stream together. Raises the error of one that failed, or that was not whole."""
    collector = Collector()
    collector.add(events)
    return collector.answer()
