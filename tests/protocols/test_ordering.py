"""Parts one after the other, whatever order they came in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_gateway.errors import UpstreamClosed
from ai_gateway.protocols.conversation import Stop, Text, ToolCall
from ai_gateway.protocols.events import Closed, Event, Failed, Finished, Grown, Opened, Started
from ai_gateway.protocols.ordering import InOrder

FINISHED = Finished(stop=Stop.END)


def call(key: int) -> Opened:
    return Opened(key=key, part=ToolCall(id=f"call_{key}", name="f"))


def ordered(*events: Event) -> list[Event]:
    order = InOrder()
    return [passed for event in events for passed in order.feed(event)]


def test_what_is_in_order_passes_at_once() -> None:
    order = InOrder()
    events: list[Event] = [
        Started(id="a", model="m"),
        Opened(key=0, part=Text(text="H")),
        Grown(key=0, text="i"),
        Closed(key=0),
        call(1),
        Closed(key=1),
        FINISHED,
    ]
    for event in events:
        assert list(order.feed(event)) == [event]


def test_the_first_call_streams_and_the_second_waits_for_its_end() -> None:
    order = InOrder()
    for event in (call(0), call(1), Grown(key=1, text="b"), Grown(key=0, text="a"), Closed(key=1)):
        passed = list(order.feed(event))
        assert passed == ([event] if getattr(event, "key", None) == 0 else [])
    assert list(order.feed(Closed(key=0))) == [Closed(key=0), call(1), Grown(key=1, text="b"), Closed(key=1)]


def test_a_part_that_waited_streams_once_it_is_first() -> None:
    order = InOrder()
    for event in (call(0), call(1), Grown(key=1, text="b")):
        order.feed(event)
    assert list(order.feed(Closed(key=0))) == [Closed(key=0), call(1), Grown(key=1, text="b")]
    assert list(order.feed(Grown(key=1, text="c"))) == [Grown(key=1, text="c")]


def test_the_end_lets_everything_out_and_closes_what_was_open() -> None:
    failed = Failed(error=UpstreamClosed("gone"))
    assert ordered(call(0), call(1), failed) == [call(0), Closed(key=0), call(1), Closed(key=1), failed]


def test_what_belongs_to_no_open_part_is_dropped() -> None:
    assert ordered(Grown(key=7, text="x"), Closed(key=7), FINISHED) == [FINISHED]


@given(st.data())
def test_any_interleaving_comes_out_as_whole_parts_with_nothing_lost(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 5))
    waiting: list[list[Event]] = [
        [call(key), *(Grown(key=key, text=f"{key}.{n}") for n in range(data.draw(st.integers(0, 4)))), Closed(key=key)]
        for key in range(count)
    ]
    expected = [event for part in waiting for event in part]
    stream: list[Event] = []
    opened = 0
    while any(waiting):
        ready = [part for key, part in enumerate(waiting) if part and key <= opened]
        part = data.draw(st.sampled_from(ready))
        if isinstance(part[0], Opened):
            opened = part[0].key + 1
        stream.append(part.pop(0))
    assert ordered(*stream, FINISHED) == [*expected, FINISHED]
