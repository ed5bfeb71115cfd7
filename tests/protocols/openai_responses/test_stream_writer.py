"""Streams that are written for callers of Responses."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ai_gateway.errors import Overloaded
from ai_gateway.protocols.conversation import (
    Answer,
    Citation,
    Refusal,
    State,
    Stop,
    Text,
    Thinking,
    TokenUsage,
    ToolCall,
)
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.openai_responses import PROTOCOL
from ai_gateway.protocols.protocol import Head
from tests.protocols.openai_responses.wire import (
    CARRIER,
    SEALING,
    accumulated,
    asked,
    events_of,
    types,
    wire_events,
    written,
)
from tests.protocols.streams import collected

STARTED = Started(id="msg_1", model="thinker-1", created=7)
SIGNATURE = State(format="anthropic_messages", kind="signature", value="c2ln")


def stream(*events: Event, stop: Stop = Stop.END, **fields: Any) -> bytes:
    """Write a stream of these events, checked by the SDK."""
    written_stream = written([STARTED, *events, Finished(stop=stop, **fields)])
    accumulated(written_stream)
    return written_stream


def test_a_text() -> None:
    found = stream(Opened(key=0, part=Text()), Grown(key=0, text="So"), Grown(key=0, text="."), Closed(key=0))
    assert types(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert accumulated(found).output_text == "So."


def test_thinking_and_a_call_without_arguments() -> None:
    found = stream(
        Opened(key=0, part=Thinking()),
        Grown(key=0, text="Hm."),
        Signed(key=0, state=SIGNATURE),
        Closed(key=0),
        Opened(key=1, part=ToolCall(id="toolu_1", name="now")),
        Closed(key=1),
        stop=Stop.TOOL_USE,
        usage=TokenUsage(input=598, output=39, reasoning=53),
    )
    assert types(found)[2:] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    thought, call = wire_events(found)[-1]["response"]["output"]
    state = CARRIER.open(thought["encrypted_content"])
    assert state is not None
    assert (state.value, state.provider) == ("c2ln", "acme")
    assert (call["call_id"], call["arguments"], call["status"]) == ("toolu_1", "{}", "completed")


def test_thinking_that_shows_nothing_is_still_carried() -> None:
    found = stream(Opened(key=0, part=Thinking()), Signed(key=0, state=SIGNATURE), Closed(key=0))
    assert types(found)[2:-1] == ["output_item.added", "output_item.done"]


def test_calls_side_by_side_are_passed_on_as_they_come() -> None:
    found = stream(
        Opened(key=0, part=ToolCall(id="a", name="add")),
        Opened(key=1, part=ToolCall(id="b", name="say", is_custom=True)),
        Grown(key=1, text="4 "),
        Grown(key=0, text="{}"),
        Closed(key=0),
        Grown(key=1, text="+ 4"),
        Closed(key=1),
        stop=Stop.TOOL_USE,
    )
    assert types(found)[2:] == [
        "output_item.added",
        "output_item.added",
        "custom_tool_call_input.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]
    assert [event["output_index"] for event in wire_events(found)[2:-1]] == [0, 1, 1, 0, 0, 0, 1, 1, 1]


def test_text_behind_a_call_is_another_message() -> None:
    found = stream(
        Opened(key=0, part=Text(text="Before. ")),
        Opened(key=1, part=ToolCall(id="a", name="add")),
        Closed(key=0),
        Closed(key=1),
        Opened(key=2, part=Text(text="Behind.")),
        Closed(key=2),
        stop=Stop.TOOL_USE,
    )
    assert [item.type for item in accumulated(found).output] == ["message", "function_call", "message"]


def test_texts_in_a_row_are_one_message() -> None:
    found = stream(
        Opened(key=0, part=Text(text="So ")),
        Closed(key=0),
        Opened(key=1, part=Text()),
        Cited(key=1, citation=Citation(url="u", title="t")),
        Grown(key=1, text="it is"),
        Closed(key=1),
    )
    (message,) = wire_events(found)[-1]["response"]["output"]
    (note,) = message["content"][0]["annotations"]
    assert message["content"][0]["text"] == "So it is"
    assert (note["start_index"], note["end_index"]) == (3, 8)
    assert "output_text.annotation.added" in types(found)


def test_probabilities_are_passed_on() -> None:
    probability = {"token": "So", "logprob": -0.1, "bytes": [83, 111], "top_logprobs": []}
    found = stream(Opened(key=0, part=Text()), Grown(key=0, text="So", logprobs=[probability]), Closed(key=0))
    deltas = [event["logprobs"] for event in wire_events(found) if event["type"] == "response.output_text.delta"]
    assert deltas == [[probability]]


def test_an_answer_that_was_cut_off_is_incomplete() -> None:
    found = stream(Opened(key=0, part=Text(text="So")), Closed(key=0), stop=Stop.MAX_TOKENS)
    last = wire_events(found)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_empty_texts_are_not_written() -> None:
    found = stream(Opened(key=0, part=Text()), Closed(key=0))
    assert types(found) == ["created", "in_progress", "completed"]


def test_signatures_of_calls_stand_in_front_of_them_or_behind() -> None:
    signature = State(format="gemini", kind="signature", value="c2ln")
    found = stream(
        Opened(key=0, part=ToolCall(id="a", name="add", arguments="{}", state=signature)),
        Closed(key=0),
        Opened(key=1, part=ToolCall(id="b", name="add", arguments="{}")),
        Signed(key=1, state=signature),
        Closed(key=1),
        Opened(key=2, part=Text()),
        Signed(key=2, state=signature),
        Closed(key=2),
        stop=Stop.TOOL_USE,
    )
    kinds = [item.type for item in accumulated(found).output]
    assert kinds == ["reasoning", "function_call", "function_call", "reasoning", "reasoning"]


def test_half_of_a_pair_of_surrogates_survives() -> None:
    found = stream(Opened(key=0, part=Text()), Grown(key=0, text="\ud83d"), Grown(key=0, text="\ude00"), Closed(key=0))
    deltas = [event["delta"] for event in wire_events(found) if event["type"] == "response.output_text.delta"]
    assert deltas == ["\ud83d", "\ude00"]


@pytest.mark.parametrize("id", ["resp_123", "chatcmpl-1", ""])
def test_ids_are_those_of_responses(id: str) -> None:
    found = written(
        [Started(id=id, model="m"), Opened(key=0, part=Text(text="a")), Closed(key=0), Finished(stop=Stop.END)]
    )
    response = accumulated(found)
    assert response.id.startswith("resp_")
    assert response.id == id or not id.startswith("resp_")
    assert response.output[0].id is not None
    assert response.output[0].id.startswith("msg_")


# Errors on the way.


def failing(*events: Event) -> list[dict[str, Any]]:
    writer = PROTOCOL.stream_writer(asked(), SEALING, Head(model="m", stream=True))
    begun = b"".join(writer.write(event) for event in events)
    ended = writer.fail(Overloaded("Too much."), "req_1")
    assert writer.fail(Overloaded("Too much."), "req_1") == b""
    assert writer.write(Finished(stop=Stop.END)) == b""
    return wire_events(begun + ended)


@pytest.mark.parametrize(
    "begun", [[], [STARTED], [STARTED, Opened(key=0, part=Text(text="So")), Grown(key=0, text=" it")]]
)
def test_an_error_is_told_in_both_ways(begun: list[Event]) -> None:
    events = failing(*begun)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    error, failed = events[-2:]
    assert (error["type"], error["code"], error["message"], error["param"]) == (
        "error",
        "overloaded",
        "Too much.",
        None,
    )
    assert error["error"]["type"] == "service_unavailable_error"
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {"code": "server_error", "message": "Too much."}
    assert failed["response"]["id"] == events[0].get("response", failed["response"])["id"]


def test_what_was_said_before_an_error_is_kept() -> None:
    failed = failing(STARTED, Opened(key=0, part=Text(text="So")), Grown(key=0, text=" it"))[-1]
    (message,) = failed["response"]["output"]
    assert (message["status"], message["content"][0]["text"]) == ("incomplete", "So it")


def test_a_failed_stream_is_written_as_an_error() -> None:
    found = written([STARTED, Failed(error=Overloaded("Too much."))])
    assert types(found) == ["created", "in_progress", "error", "failed"]


def test_a_sign_of_life_is_a_comment() -> None:
    writer = PROTOCOL.stream_writer(asked(), SEALING, Head(model="m", stream=True))
    assert writer.keep_alive().startswith(b":")
    assert PROTOCOL.stream_type(Head(model="m", stream=True)) == b"text/event-stream; charset=utf-8"


def any_events(chance: random.Random) -> list[Event]:
    """Parts of all kinds, opened, grown and closed in any order."""
    events: list[Event] = [STARTED]
    is_open: set[int] = set()
    for _ in range(chance.randrange(20)):
        key = len([event for event in events if isinstance(event, Opened)])
        if not is_open or chance.random() < 0.4:
            kinds: list[Text | Refusal | Thinking | ToolCall] = [
                Text(),
                Text(text="a"),
                Refusal(),
                Thinking(),
                Thinking(text="h"),
                ToolCall(id=f"c{key}", name="n"),
            ]
            part = chance.choice(kinds)
            events.append(Opened(key=key, part=part))
            is_open.add(key)
            continue
        key = chance.choice(sorted(is_open))
        events.append(chance.choice([Grown(key=key, text="more"), Closed(key=key)]))
        if isinstance(events[-1], Closed):
            is_open.remove(key)
    return [*events, *(Closed(key=key) for key in is_open), Finished(stop=chance.choice(list(Stop)))]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_order_events_come_in_the_sdk_understands_them(seed: int) -> None:
    events = any_events(random.Random(seed))
    found = written(events)
    accumulated(found)
    given, back = collected(events), collected(events_of(found))
    for kind in (Text, Refusal, Thinking):
        assert letters(given, kind) == letters(back, kind)
    calls = [(part.id, part.arguments or "{}") for part in given.parts if isinstance(part, ToolCall)]
    assert calls == [(part.id, part.arguments) for part in back.parts if isinstance(part, ToolCall)]


def letters(answer: Answer, kind: type[Text] | type[Refusal] | type[Thinking]) -> list[str]:
    return sorted("".join(part.text for part in answer.parts if isinstance(part, kind)))


def test_a_stream_is_as_long_as_what_it_says() -> None:
    """A delta costs little more than itself: nothing is repeated with every one."""
    deltas = [Grown(key=0, text="word ")] * 1000
    found = stream(Opened(key=0, part=Text()), *deltas, Closed(key=0))
    assert len(found) < 1000 * 300
    assert (
        json.loads(found.rstrip().split(b"data: ")[-1])["response"]["output"][0]["content"][0]["text"] == "word " * 1000
    )
