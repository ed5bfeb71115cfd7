"""What stood for something that a format cannot say becomes that thing again, whole or streamed."""

from __future__ import annotations

import pytest

from ai_gateway.errors import UpstreamClosed
from ai_gateway.protocols.conversation import (
    Answer,
    Citation,
    Part,
    Refusal,
    State,
    Stop,
    Text,
    Thinking,
    ToolCall,
)
from ai_gateway.protocols.emulation import Undoing, free_text, undo
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.protocol import Emulation
from ai_gateway.protocols.transcript import Collector, replay

EMULATION = Emulation(
    json_tool="json_output",
    custom_tools=frozenset(("apply_patch",)),
    names={"a_b": "a.b", "apply_patch": "apply.patch"},
)


def answer(*parts: Part, stop: Stop = Stop.TOOL_USE) -> Answer:
    return Answer(id="a", model="m", parts=list(parts), stop=stop)


JSON_CALL = ToolCall(id="1", name="json_output", arguments='{"x":1}')
OTHER_CALL = ToolCall(id="2", name="other", arguments="{}")

CASES = [
    (answer(ToolCall(id="1", name="json_output", arguments='{"x":1}')), answer(Text(text='{"x":1}'), stop=Stop.END)),
    (
        answer(ToolCall(id="1", name="json_output", arguments='{"x"'), stop=Stop.MAX_TOKENS),
        answer(Text(text='{"x"'), stop=Stop.MAX_TOKENS),
    ),
    (
        answer(ToolCall(id="1", name="apply_patch", arguments='{"input":"*** Begin"}')),
        answer(ToolCall(id="1", name="apply.patch", arguments="*** Begin", is_custom=True)),
    ),
    (
        answer(Text(text="Let me"), ToolCall(id="1", name="a_b", arguments="{}")),
        answer(Text(text="Let me"), ToolCall(id="1", name="a.b", arguments="{}")),
    ),
    (answer(ToolCall(id="1", name="json_output")), answer(Text(text="{}"), stop=Stop.END)),
    (
        answer(Thinking(text="Hm"), Text(text="Sure:"), Thinking(text="So"), JSON_CALL, Text(text="There."), JSON_CALL),
        answer(Thinking(text="Hm"), Thinking(text="So"), Text(text='{"x":1}'), stop=Stop.END),
    ),
    (
        answer(Text(text="Let me"), OTHER_CALL, Text(text="Sure:"), Refusal(text="no"), JSON_CALL, OTHER_CALL),
        answer(Text(text="Let me"), OTHER_CALL, Refusal(text="no"), Text(text='{"x":1}'), OTHER_CALL),
    ),
    (
        answer(Text(text="I will not."), Thinking(text="So"), Text(text="No."), stop=Stop.END),
        answer(Text(text="I will not."), Thinking(text="So"), Text(text="No."), stop=Stop.END),
    ),
    (answer(ToolCall(id="1", name="other", arguments="{}")), answer(ToolCall(id="1", name="other", arguments="{}"))),
]


@pytest.mark.parametrize(("given", "expected"), CASES)
def test_a_whole_answer(given: Answer, expected: Answer) -> None:
    assert undo(given, EMULATION) == expected


def events_of(given: Answer) -> list[Event]:
    """Give the events of an answer with the arguments of its calls in pieces of one character."""
    events: list[Event] = []
    for event in replay(given):
        if isinstance(event, Opened) and isinstance(event.part, ToolCall):
            call = event.part
            events.append(Opened(key=event.key, part=ToolCall(id=call.id, name=call.name)))
            events += [Grown(key=event.key, text=character) for character in call.arguments]
        else:
            events.append(event)
    return events


@pytest.mark.parametrize(("given", "expected"), CASES)
def test_a_stream_says_the_same(given: Answer, expected: Answer) -> None:
    undoing, collector = Undoing(EMULATION), Collector()
    for event in events_of(given):
        collector.add(undoing.feed(event))
    assert collector.answer() == expected


def test_text_beside_the_json_is_left_out_though_both_are_open() -> None:
    undoing, collector = Undoing(EMULATION), Collector()
    for event in (
        Started(id="a", model="m"),
        Opened(key=0, part=Text()),
        Grown(key=0, text="Sure:"),
        Opened(key=1, part=ToolCall(id="1", name="json_output")),
        Grown(key=0, text=" here it is"),
        Grown(key=1, text="{}"),
        Cited(key=0, citation=Citation(url="https://example.org")),
        Closed(key=0),
        Closed(key=1),
        Finished(stop=Stop.TOOL_USE),
    ):
        collector.add(undoing.feed(event))
    assert collector.answer() == answer(Text(text="{}"), stop=Stop.END)


def test_text_is_not_lost_where_the_stream_breaks() -> None:
    undoing = Undoing(EMULATION)
    said = [Opened(key=0, part=Text()), Grown(key=0, text="Sure:")]
    assert [list(undoing.feed(event)) for event in said] == [[], []]
    failed = Failed(error=UpstreamClosed("gone"))
    assert list(undoing.feed(failed)) == [*said, failed]


def test_text_before_a_call_of_the_callers_comes_with_the_call() -> None:
    undoing = Undoing(EMULATION)
    said = [Opened(key=0, part=Text()), Grown(key=0, text="Let me"), Closed(key=0)]
    assert [list(undoing.feed(event)) for event in said] == [[], [], []]
    called = Opened(key=1, part=OTHER_CALL)
    assert list(undoing.feed(called)) == [*said, called]


def test_without_a_tool_for_json_text_streams_as_it_comes() -> None:
    undoing = Undoing(Emulation(names={"a_b": "a.b"}))
    opened = Opened(key=0, part=Text(text="Let"))
    assert list(undoing.feed(opened)) == [opened]


def test_json_that_was_asked_for_streams_as_it_comes() -> None:
    undoing = Undoing(EMULATION)
    undoing.feed(Started(id="a", model="m"))
    opened = Opened(key=0, part=ToolCall(id="1", name="json_output"))
    assert list(undoing.feed(opened)) == [Opened(key=0, part=Text(text=""))]
    assert list(undoing.feed(Grown(key=0, text="{"))) == [Grown(key=0, text="{")]
    assert list(undoing.feed(Signed(key=0, state=State(format="gemini", kind="signature", value="s")))) == []
    assert list(undoing.feed(Closed(key=0))) == [Closed(key=0)]
    assert list(undoing.feed(Finished(stop=Stop.TOOL_USE))) == [Finished(stop=Stop.END)]


@pytest.mark.parametrize(
    ("arguments", "text"), [('{"input":"x"}', "x"), ("", ""), ('{"other":1}', '{"other":1}'), ('{"inp', '{"inp')]
)
def test_free_text_is_the_input_or_what_there_is(arguments: str, text: str) -> None:
    assert free_text(arguments) == text
