"""A text ends before the first of the caller's stop sequences, though the model knows nothing of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_gateway.errors import UpstreamClosed
from ai_gateway.protocols.conversation import Answer, Citation, Part, Stop, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.emulation import Undoing, undo
from ai_gateway.protocols.events import Closed, Event, Failed, Finished, Grown, Opened, Started
from ai_gateway.protocols.protocol import Emulation
from ai_gateway.protocols.transcript import Collector

EMULATION = Emulation(stop=("END", "\n\n"))
USAGE = TokenUsage(output=9)


def answer(*parts: Part, stop: Stop = Stop.END, sequence: str | None = None) -> Answer:
    return Answer(id="a", model="m", parts=list(parts), stop=stop, stop_sequence=sequence, usage=USAGE)


def streamed(*parts: tuple[Part, list[str]]) -> list[Event]:
    events: list[Event] = [Started(id="a", model="m")]
    for key, (part, pieces) in enumerate(parts):
        events.append(Opened(key=key, part=part))  # type: ignore[arg-type]
        events += [Grown(key=key, text=piece) for piece in pieces if piece]
        events.append(Closed(key=key))
    return [*events, Finished(stop=Stop.END, usage=USAGE)]


def collected(events: list[Event]) -> Answer:
    undoing, collector = Undoing(EMULATION), Collector()
    for event in events:
        collector.add(undoing.feed(event))
    return collector.answer()


@pytest.mark.parametrize(
    ("text", "shown", "sequence"),
    [
        ("Hello END of it", "Hello ", "END"),
        ("Hello\n\nEND", "Hello", "\n\n"),
        ("END", None, "END"),
        ("no stop\n here", "no stop\n here", None),
        ("EN", "EN", None),
        ("ENEND", "EN", "END"),
    ],
)
def test_the_text_ends_before_it(text: str, shown: str | None, sequence: str | None) -> None:
    stop = Stop.END if sequence is None else Stop.STOP_SEQUENCE
    expected = answer(*([] if shown is None else [Text(text=shown)]), stop=stop, sequence=sequence)
    assert undo(answer(Text(text=text)), EMULATION) == expected


def test_what_comes_behind_is_not_shown_and_is_counted() -> None:
    parts = [Thinking(text="END of thought"), Text(text="a END b"), ToolCall(id="c", name="f", arguments="{}")]
    expected = answer(parts[0], Text(text="a "), stop=Stop.STOP_SEQUENCE, sequence="END")
    assert undo(answer(*parts), EMULATION) == expected
    stream = streamed((Thinking(), ["END of thought"]), (Text(), ["a E", "ND b"]), (ToolCall(id="c", name="f"), ["{}"]))
    assert collected(stream) == expected


def test_calls_that_came_before_it_wait_for_their_results() -> None:
    call = ToolCall(id="c", name="f", arguments="{}")
    assert undo(answer(call, Text(text="END")), EMULATION) == answer(call, stop=Stop.TOOL_USE)
    stream = streamed((ToolCall(id="c", name="f"), ["{}"]), (Text(), ["END"]))
    assert [collected(stream).stop, collected(stream).stop_sequence] == [Stop.TOOL_USE, None]


@given(text=st.text(alphabet="EN D\n", max_size=30), cuts=st.lists(st.integers(0, 30), max_size=6))
def test_however_the_text_is_cut_the_stream_says_what_the_answer_says(text: str, cuts: list[int]) -> None:
    bounds = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[start:end] for start, end in itertools.pairwise(bounds)]
    whole = undo(answer(Text(text=text)), EMULATION)
    stream = collected(streamed((Text(), pieces)))
    assert "".join(part.text for part in stream.parts if isinstance(part, Text)) == "".join(
        part.text for part in whole.parts if isinstance(part, Text)
    )
    assert (stream.stop, stream.stop_sequence, stream.usage) == (whole.stop, whole.stop_sequence, USAGE)


def odds(*tokens: str) -> list[dict[str, Any]]:
    return [{"token": token, "logprob": -1.0} for token in tokens]


TOKENS = ["Hello", " E", "at E", "N", "D", " secret"]
CITED = [Citation(url="https://a.example", start=2, end=17), Citation(url="https://b.example", start=12, end=14)]


def test_nothing_is_told_of_what_is_not_shown() -> None:
    given = answer(Text(text="".join(TOKENS), logprobs=odds(*TOKENS), citations=CITED))
    [part] = undo(given, EMULATION).parts
    assert part == Text(
        text="Hello Eat ",
        logprobs=odds("Hello", " E"),
        citations=[Citation(url="https://a.example", start=2, end=10)],
    )


def test_nor_is_it_in_a_stream() -> None:
    events = streamed((Text(), []))
    grown = [Grown(key=0, text=token, logprobs=odds(token)) for token in TOKENS]
    [part] = collected([*events[:2], *grown, *events[2:]]).parts
    assert part == Text(text="Hello Eat ", logprobs=odds("Hello", " E"))


def test_what_was_held_back_is_told_with_its_tokens() -> None:
    events = streamed((Text(text="Hel", logprobs=odds("Hel")), []))
    grown = [Grown(key=0, text=token, logprobs=odds(token)) for token in ("lo E", "a", "t E", "N")]
    [part] = collected([*events[:2], *grown, *events[2:]]).parts
    assert part == Text(text="Hello Eat EN", logprobs=odds("Hel", "lo E", "a", "t E", "N"))


def test_text_passes_at_once_as_far_as_it_can_be_no_beginning() -> None:
    undoing = Undoing(EMULATION)
    for event in (Started(id="a", model="m"), Opened(key=0, part=Text())):
        assert list(undoing.feed(event)) == [event]
    assert list(undoing.feed(Grown(key=0, text="Hello E"))) == [Grown(key=0, text="Hello ")]
    assert list(undoing.feed(Grown(key=0, text="at"))) == [Grown(key=0, text="Eat")]


def test_a_stream_that_breaks_behind_the_stop_was_whole_to_the_caller() -> None:
    events = streamed((Text(), ["a END"]))[:-1]
    whole = collected([*events, Failed(error=UpstreamClosed("gone"))])
    assert (whole.stop, whole.stop_sequence, whole.usage) == (Stop.STOP_SEQUENCE, "END", None)
