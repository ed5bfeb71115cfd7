"""Every recorded answer, through the real gateway, to a caller of every other dialect.

The upstream says again what was recorded; the caller is the official SDK of its dialect, and what its final object says
must be what the SDK of the answer's own format reads of the recorded bytes. What a dialect has no words for is listed
in `facts.told_in`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import Any

import pytest

from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Answer
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.protocol import Head
from ai_gateway.protocols.transcript import replay
from tests.gateway_process import Door
from tests.protocols.streams import collected, events_of_pieces
from tests.protocols.vectors import Vector
from tests.translation.conftest import MODELS, Side
from tests.translation.facts import Call, Facts, as_far_as_it_goes, told_in
from tests.translation.recordings import generations, said_again
from tests.translation.truth import events, read, truth
from tests.upstream import Upstream

CALLERS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini", "bedrock_converse")


def is_answer(vector: Vector) -> bool:
    """Whether a recording with status 200 is an answer; `test_errors.py` says what becomes of those that are none."""
    if vector.format == "openai_responses" and not vector.is_stream:
        return vector.response["status"] not in ("queued", "in_progress")
    if vector.format == "anthropic_messages" and vector.is_stream:
        # Two streams were once mixed up by the provider.
        return len({event["message"]["id"] for name, event in events(vector) if name == "message_start"}) == 1
    return True


GOOD = [vector for vector in generations() if vector.status == 200]
ANSWERS = [vector for vector in GOOD if is_answer(vector)]
NOT_ANSWERS = [vector for vector in GOOD if not is_answer(vector)]
PAIRS = [(vector, caller) for vector, caller in product(ANSWERS, CALLERS) if caller != vector.format]

TRAITS = (
    "streaming",
    "thinking",
    "parallel_tools",
    "empty_tool_args",
    "cache_read",
    "refusal",
    "citations",
    "json_schema",
)


def typical() -> list[Vector]:
    """Choose a recording of each format for each of the traits that it has recordings of."""
    chosen: dict[tuple[str, str], Vector] = {}
    for vector in ANSWERS:
        for trait in vector.features & set(TRAITS):
            chosen.setdefault((vector.format, trait), vector)
    return list({id(vector): vector for vector in chosen.values()}.values())


TYPICAL = {id(vector) for vector in typical()}


def names(value: Any) -> str:
    return str(value)


# As it was recorded, and a stream to a caller who gets a whole answer, told as one.


@pytest.mark.parametrize(("vector", "caller"), PAIRS, ids=names)
def test_an_answer_says_the_same_in_a_stream(direct: Side, upstream: Upstream, vector: Vector, caller: str) -> None:
    """Also where the provider answers with JSON though a stream was asked for."""
    upstream.answer(said_again(vector))
    check(direct.callers[caller].ask_for_stream(MODELS[vector.format]), truth(vector), caller)


@pytest.mark.parametrize(
    ("vector", "caller"), [pair for pair in PAIRS if not pair[0].is_stream or id(pair[0]) in TYPICAL], ids=names
)
def test_an_answer_says_the_same_as_a_whole(direct: Side, upstream: Upstream, vector: Vector, caller: str) -> None:
    """Also, for some, where the provider answers with a stream though none was asked for."""
    upstream.answer(said_again(vector))
    check(direct.callers[caller].ask_for_whole(MODELS[vector.format]), truth(vector), caller)


@pytest.mark.parametrize(("vector", "caller"), [pair for pair in PAIRS if id(pair[0]) in TYPICAL], ids=names)
def test_an_answer_says_the_same_at_the_other_door(
    sides: Callable[[Door], Side], upstream: Upstream, vector: Vector, caller: str
) -> None:
    upstream.answer(said_again(vector))
    facts = sides("django").callers[caller].ask(MODELS[vector.format], stream=vector.is_stream)
    check(facts, truth(vector), caller)


@pytest.mark.parametrize("vector", ANSWERS, ids=names)
def test_an_answer_that_was_read_and_written_in_its_own_format_says_the_same(vector: Vector) -> None:
    """Nobody needs this; but whatever is lost here is lost in every translation."""
    protocol, carrier = PROTOCOLS[vector.format], Carrier([b"of thirty-two bytes and no longer"])
    answer = answer_of(vector)
    head = Head(model="m", stream=True, query=b"alt=sse")
    body = {**QUESTIONS[vector.format], **({} if vector.format == "gemini" else {"model": "m"})}
    request = protocol.read_request(body, head, carrier)
    writer = protocol.stream_writer(request, carrier, head)
    stream = b"".join(writer.write(event) for event in replay(answer))
    whole = dumps(protocol.write_answer(answer, request, carrier))
    check(read(vector.format, stream, is_stream=True), truth(vector), vector.format)
    check(read(vector.format, whole, is_stream=False), truth(vector), vector.format)


QUESTIONS: dict[str, dict[str, Any]] = {
    "openai_chat": {
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "openai_responses": {"input": "Hello"},
    "anthropic_messages": {"max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]},
    "gemini": {
        "contents": [{"parts": [{"text": "Hello"}]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
    },
}


def answer_of(vector: Vector) -> Answer:
    """Read a recorded answer by the gateway's own code."""
    protocol = PROTOCOLS[vector.format]
    if not vector.is_stream and isinstance(vector.response, dict):
        return protocol.read_answer(vector.response)
    body = vector.stream if vector.is_stream else dumps(vector.response)
    return collected(events_of_pieces(protocol, [body]))


def check(told: Facts, said: Facts, caller: str) -> None:
    """Hold what a caller was told against what the provider has said."""
    expected = told_in(said, caller)
    # A provider of Gemini's format may give its calls no ids, and OpenAI's old functions have none: the caller gets one
    # that is made up, a different one for each call. Gemini's callers need none.
    ids = [call.id for call in told.calls]
    assert caller == "gemini" or (all(ids) and len(set(ids)) == len(ids))
    calls = [
        replace(call, id=ids[place]) if not call.id and place < len(ids) else call
        for place, call in enumerate(expected.calls)
    ]
    expected = replace(expected, calls=tuple(calls))
    if expected.stop == "length":
        check_cut_calls(told.calls, expected.calls)
        told, expected = replace(told, calls=()), replace(expected, calls=())
    # Where one format has several pieces of reasoning and another has one, a blank line may stand between them.
    assert without_blank_lines(told.reasoning) == without_blank_lines(expected.reasoning)
    assert asdict(replace(told, reasoning=())) == asdict(replace(expected, reasoning=()))


def without_blank_lines(pieces: Sequence[str]) -> str:
    return "".join(pieces).replace("\n\n", "")


def check_cut_calls(told: Sequence[Call], said: Sequence[Call]) -> None:
    """Hold calls that a limit may have cut off against each other: by what can be read of them. Where an answer is
    whole and its arguments an object, it may be only the members that were complete."""
    assert [(call.id, call.name) for call in told] == [(call.id, call.name) for call in said]
    for ours, theirs in zip(told, said, strict=True):
        ours_read, theirs_read = as_far_as_it_goes(ours.arguments), as_far_as_it_goes(theirs.arguments)
        is_part = isinstance(ours.arguments, dict) and ours_read.items() <= theirs_read.items()
        assert is_part or ours_read == theirs_read
