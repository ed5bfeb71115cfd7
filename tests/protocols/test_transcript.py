"""An answer and the stream that says the same."""

from __future__ import annotations

import pytest

from ai_gateway.errors import UpstreamClosed, UpstreamProtocolError
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
from ai_gateway.protocols.events import Cited, Closed, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.transcript import Collector, replay

STATE = State(format="gemini", kind="signature", value="sig")
ANSWER = Answer(
    id="a",
    model="m",
    created=7,
    parts=[
        Text(text="before"),
        Thinking(text="hm", state=STATE),
        Refusal(text="no"),
        ToolCall(id="c", name="f", arguments='{"a":1}'),
    ],
    stop=Stop.TOOL_USE,
    stop_sequence="X",
    explanation="why",
    usage=TokenUsage(input=3, output=4),
    service_tier="flex",
)


def collected(*events: object) -> Answer:
    collector = Collector()
    collector.add(events)  # type: ignore[arg-type]
    return collector.answer()


def test_a_replayed_answer_is_collected_as_it_was() -> None:
    assert collected(*replay(ANSWER)) == ANSWER


def test_pieces_are_put_together_part_by_part() -> None:
    answer = collected(
        Started(id="a", model="m"),
        Opened(key=0, part=Text(text="He")),
        Opened(key=1, part=ToolCall(id="c", name="f")),
        Grown(key=0, text="ll", logprobs=[{"token": "ll"}]),
        Grown(key=1, text='{"a"'),
        Grown(key=0, text="o", logprobs=[{"token": "o"}]),
        Cited(key=0, citation=Citation(url="https://example.org")),
        Grown(key=1, text=":1}"),
        Signed(key=1, state=STATE),
        Closed(key=0),
        Closed(key=1),
        Finished(stop=Stop.TOOL_USE, usage=TokenUsage(output=5)),
    )
    assert answer.parts == [
        Text(
            text="Hello",
            citations=[Citation(url="https://example.org")],
            logprobs=[{"token": "ll"}, {"token": "o"}],
        ),
        ToolCall(id="c", name="f", arguments='{"a":1}', state=STATE),
    ]
    assert answer.usage == TokenUsage(output=5)


def test_a_stream_that_failed_raises_its_error() -> None:
    with pytest.raises(UpstreamProtocolError, match="broken"):
        collected(Started(id="a", model="m"), Failed(error=UpstreamProtocolError("broken")))


@pytest.mark.parametrize("count", range(1, len(replay(ANSWER))))
def test_a_stream_that_was_cut_is_no_answer(count: int) -> None:
    with pytest.raises(UpstreamClosed):
        collected(*replay(ANSWER)[:count])


def test_totals_are_sums_of_disjoint_buckets() -> None:
    usage = TokenUsage(input=1, cache_read=2, cache_write=4, cache_write_1h=8, output=16, reasoning=32)
    assert (usage.total_input, usage.total_output) == (15, 48)
