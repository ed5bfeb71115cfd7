"""Answers that are translated: what they used is told by their meaning."""

from __future__ import annotations

from ai_gateway.consumption import Consumption
from ai_gateway.listeners import MeaningListener
from ai_gateway.protocols.conversation import Answer, Stop, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.events import Closed, Event, Finished, Grown, Opened, Started
from tests.consumption.hearing import asking

CALL = asking("/v1/chat/completions", {"prompt": "x" * 4000})
BEGUN: list[Event] = [
    Started(id="msg_1", model="claude-x", usage=TokenUsage(input=9, cache_read=100)),
    Opened(key=0, part=Thinking(text="x" * 40)),
    Grown(key=0, text="x" * 40),
    Closed(key=0),
    Opened(key=1, part=Text(text="")),
    Grown(key=1, text="x" * 80),
    Opened(key=2, part=ToolCall(id="t", name="f", arguments="")),
    Grown(key=2, text="x" * 39),
]


def test_what_the_end_says_counts() -> None:
    listener = MeaningListener(CALL, "claude")
    listener.take(BEGUN)
    listener.take([Finished(stop=Stop.END, usage=TokenUsage(input=9, output=50), service_tier="priority")])
    assert listener.consumption() == Consumption(
        tokens=TokenUsage(input=9, output=50), model="claude-x", upstream_id="msg_1", service_tier="priority"
    )


def test_searches_of_the_web_are_units_that_have_a_price_of_their_own() -> None:
    listener = MeaningListener(CALL, "claude")
    listener.take([*BEGUN, Finished(stop=Stop.END, usage=TokenUsage(input=9), units={"searches": 2})])
    assert listener.consumption().units == {"searches": 2}
    listener = MeaningListener(CALL, "claude")
    listener.take_answer(
        Answer(id="a", model="m", parts=[], stop=Stop.END, usage=TokenUsage(input=9), units={"searches": 3})
    )
    assert listener.consumption().units == {"searches": 3}


def test_without_an_end_what_passed_counts_and_the_prompt_that_was_told() -> None:
    listener = MeaningListener(CALL, "claude")
    listener.take(BEGUN)
    tokens = listener.consumption().tokens
    assert tokens == TokenUsage(input=9, cache_read=100, output=30, reasoning=20, is_estimated=True)


def test_before_the_beginning_it_is_the_prompt() -> None:
    consumption = MeaningListener(CALL, "claude").consumption()
    assert consumption.model == "claude"
    assert consumption.tokens.is_estimated
    assert 1000 < consumption.tokens.input < 1010


def test_an_end_that_tells_nothing_is_none() -> None:
    listener = MeaningListener(CALL, "m")
    listener.take([*BEGUN, Finished(stop=Stop.END)])
    assert listener.consumption().tokens.is_estimated


def test_content_is_what_grows() -> None:
    listener = MeaningListener(CALL, "m")
    listener.take([BEGUN[0], Opened(key=0, part=Text(text=""))])
    assert not listener.has_content
    listener.take([Grown(key=0, text="x")])
    assert listener.has_content


def test_a_whole_answer_says_the_same() -> None:
    listener = MeaningListener(CALL, "m")
    answer = Answer(id="a", model="gpt-x", parts=[Text(text="x" * 40)], stop=Stop.END, usage=TokenUsage(input=9))
    listener.take_answer(answer)
    assert listener.consumption().tokens == TokenUsage(input=9)


def test_a_number_that_cannot_be_was_not_said() -> None:
    listener = MeaningListener(CALL, "m")
    listener.take([*BEGUN, Finished(stop=Stop.END, usage=TokenUsage(input=9, output=10**30))])
    tokens = listener.consumption().tokens
    assert tokens.is_estimated
    assert tokens.total_output < 1000
