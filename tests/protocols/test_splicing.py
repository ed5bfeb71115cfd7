"""Two answers written as one stream, and what of the second was said already."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.errors import UpstreamClosed
from ai_gateway.protocols.conversation import Message, Request, Stop, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.events import Closed, Event, Finished, Grown, Opened, Started
from ai_gateway.protocols.overlap import LONGEST, SHORTEST, Overlap
from ai_gateway.protocols.protocol import StreamWriter
from ai_gateway.protocols.splicing import INSTRUCTION, MAX_SAID, Splice, continued

SAID = "The quick brown fox jumps over the lazy dog"


def new(said: str, *pieces: str) -> str:
    """What of a text in pieces is new behind another one."""
    overlap = Overlap(said)
    return "".join(overlap.feed(piece) for piece in pieces) + ("" if overlap.is_over else overlap.rest())


@pytest.mark.parametrize("size", [1, 2, 7, 100])
@pytest.mark.parametrize(
    ("said", "text", "rest"),
    [
        (SAID, " and runs away", " and runs away"),
        (SAID, "jumps over the lazy dog and runs", " and runs"),
        (SAID, SAID + " and runs", " and runs"),
        (SAID, "jumps over the lazy cat", "jumps over the lazy cat"),
        (SAID, "the lazy dog", "the lazy dog"),  # Shorter than SHORTEST.
        (SAID, "quick brown", "quick brown"),
        ("ha", "ha", "ha"),
        ("=" * 40, "=" * 20 + "!", "!"),
        ("Hello \n", " \nworld", "world"),
        ("Hello \n", "world", "world"),
        ("Hello", " world", " world"),
        ("", SAID, SAID),
        ("Ünï " * 10, "Ünï " * 5 + "x", "x"),
    ],
)
def test_only_an_exact_repeat_of_the_end_is_taken_away(said: str, text: str, rest: str, size: int) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert new(said, *pieces) == rest


def test_a_repeat_of_the_shortest_length_counts_and_one_character_less_does_not() -> None:
    assert new(SAID, SAID[-SHORTEST:] + "!") == "!"
    assert new(SAID, SAID[-SHORTEST + 1 :] + "!") == SAID[-SHORTEST + 1 :] + "!"


def test_nothing_is_held_back_that_cannot_be_a_repeat() -> None:
    assert Overlap(SAID).feed("Z") == "Z"


def test_a_repeat_is_looked_for_in_the_end_of_a_long_text_only() -> None:
    said = "x" * 20 + "".join(str(number) for number in range(3000))
    assert new(said, said[-LONGEST:] + "!") == "!"
    assert new(said, said + "!") == said + "!"


class Seen(StreamWriter):
    """A writer that notes what it gets."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def write(self, event: Event) -> bytes:
        self.events.append(event)
        return b"."

    def fail(self, error: Any, request_id: str) -> bytes:
        return b"failed"


BEGUN = [Started(id="1", model="m", usage=TokenUsage(input=5)), Opened(key=0, part=Text(text="He"))]
DEATH = UpstreamClosed("gone")


def splice(*events: Event) -> tuple[Splice, Seen]:
    """A splice that has written some events of a first answer."""
    seen = Seen()
    made = Splice(seen)
    for event in events:
        made.write(event)
    return made, seen


def joined(*events: Event, behind: list[Event] | None = None) -> list[Event]:
    """What the writer gets of a second answer."""
    made, seen = splice(*(behind or BEGUN))
    assert made.fail(DEATH, "r") == b""
    made.join(TokenUsage(input=5, output=2))
    before = len(seen.events)
    for event in events:
        made.write(event)
    return seen.events[before:]


SECOND = [
    Started(id="2", model="n"),
    Opened(key=0, part=Text(text="llo")),
    Grown(key=0, text=" you"),
    Closed(key=0),
    Finished(stop=Stop.END, usage=TokenUsage(input=9, output=3)),
]


def test_an_open_text_goes_on_and_there_is_no_second_beginning() -> None:
    usage = TokenUsage(input=5, output=5, is_estimated=True)
    ending = [Closed(key=0), Finished(stop=Stop.END, usage=usage)]
    assert joined(*SECOND) == [Grown(key=0, text="llo"), Grown(key=0, text=" you"), *ending]


def test_behind_a_text_that_was_closed_comes_another_part() -> None:
    events = joined(*SECOND, behind=[*BEGUN, Closed(key=0)])
    assert events[:3] == [Opened(key=1, part=Text(text="llo")), Grown(key=1, text=" you"), Closed(key=1)]


def test_a_call_that_comes_instead_of_text_ends_the_text() -> None:
    call = ToolCall(id="c", name="f")
    events = joined(Opened(key=0, part=call), Closed(key=0), Finished(stop=Stop.TOOL_USE))
    assert events[:3] == [Closed(key=0), Opened(key=1, part=call), Closed(key=1)]


def test_reasoning_of_the_second_answer_is_left_out() -> None:
    thought = [Opened(key=0, part=Thinking(text="hm")), Grown(key=0, text="m"), Closed(key=0)]
    assert joined(*thought, Opened(key=1, part=Text(text="llo"))) == [Grown(key=0, text="llo")]


def test_an_answer_that_has_no_more_to_say_closes_the_text() -> None:
    assert joined(Started(id="2", model="n"), Finished(stop=Stop.END))[0] == Closed(key=0)


def test_a_held_beginning_that_is_no_repeat_is_told_before_the_end() -> None:
    events = joined(Opened(key=0, part=Text()), Grown(key=0, text="H"), Closed(key=0))
    assert events == [Grown(key=0, text="H"), Closed(key=0)]


@pytest.mark.parametrize(
    "events",
    [
        [],
        BEGUN[:1],
        [*BEGUN[:1], Opened(key=0, part=Text())],
        [*BEGUN, Closed(key=0), Opened(key=1, part=Text())],
        [*BEGUN, Opened(key=1, part=ToolCall(id="c", name="f"))],
        [*BEGUN, Opened(key=1, part=Thinking())],
        [*BEGUN, Closed(key=0), Finished(stop=Stop.END)],
        [*BEGUN, Grown(key=0, text="x" * MAX_SAID)],
    ],
    ids=["nothing", "started", "no text", "an empty text", "a call", "reasoning", "the end", "too long"],
)
def test_nobody_can_go_on_behind(events: list[Event]) -> None:
    made, _ = splice(*events)
    assert not made.can_go_on
    assert made.fail(DEATH, "r") == b"failed"
    assert made.error is None


def test_an_error_that_nobody_makes_up_for_is_written() -> None:
    made, _ = splice(*BEGUN)
    assert made.fail(DEATH, "r") == b""
    assert made.error is DEATH
    assert made.give_up(DEATH, "r") == b"failed"
    assert made.error is None


def request(*messages: Message, **fields: Any) -> Request:
    return Request(format="openai_chat", model="m", messages=list(messages), stream=True, **fields)


USER = Message(role="user", parts=[Text(text="Hi")])


def test_what_was_said_is_the_assistants_turn_without_blanks_at_its_end() -> None:
    asked = continued(request(USER, max_output_tokens=10), "Hello ", 3, is_asked=False)
    assert asked.messages == [USER, Message(role="assistant", parts=[Text(text="Hello")])]
    assert asked.max_output_tokens == 7


def test_a_beginning_of_the_callers_own_stays_before_it() -> None:
    begun = Message(role="assistant", parts=[Text(text="Well, ")])
    asked = continued(request(USER, begun), "hello", 1, is_asked=False)
    assert asked.messages == [USER, Message(role="assistant", parts=[Text(text="Well, hello")])]


def test_a_model_is_asked_behind_the_whole_text() -> None:
    asked = continued(request(USER, max_output_tokens=1), "Hello ", 5, is_asked=True)
    assert [message.parts for message in asked.messages[1:]] == [[Text(text="Hello ")], [Text(text=INSTRUCTION)]]
    assert asked.max_output_tokens == 1
