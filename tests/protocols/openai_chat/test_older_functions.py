"""Callers that know only OpenAI's older `functions`, and providers that answer with several calls at once.

The older form has room for one call. Whatever format the answer came in, the caller gets the first, whole or streamed,
and the model can call the others again when it has seen what came of that one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from ai_gateway.errors import GatewayError
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.conversation import Answer, ToolCall
from ai_gateway.protocols.protocol import Head
from ai_gateway.protocols.transcript import replay
from tests.protocols.bedrock_converse.samples import STREAMS, whole_answer
from tests.protocols.openai_chat.helpers import CARRIER
from tests.protocols.streams import collected, events_of_pieces
from tests.protocols.vectors import Vector, vectors

ASKED = {
    "model": "m",
    "messages": [{"role": "user", "content": "How is the weather in Rome, and what time is it?"}],
    "functions": [{"name": "weather", "parameters": {"type": "object"}}, {"name": "time"}],
}
CHAT = PROTOCOLS["openai_chat"]
REQUEST = CHAT.read_request(ASKED, Head(model="m", stream=False), CARRIER)


def calls_in(answer: Answer) -> list[ToolCall]:
    return [part for part in answer.parts if isinstance(part, ToolCall)]


def answers() -> Iterator[tuple[str, Answer]]:
    """Every recorded answer, whole or streamed, by its format and name, and those of Converse."""
    for format in ("openai_responses", "anthropic_messages", "gemini"):
        for vector in vectors(format):
            with suppress(GatewayError):  # What is no answer is no matter here.
                yield f"{format}-{vector}", read(vector)
    converse = PROTOCOLS["bedrock_converse"]
    yield "bedrock_converse-whole", converse.read_answer(whole_answer("parallel calls"))
    yield "bedrock_converse-stream", collected(events_of_pieces(converse, STREAMS["parallel calls"]))


def read(vector: Vector) -> Answer:
    protocol = PROTOCOLS[vector.format]
    if vector.is_stream:
        return collected(events_of_pieces(protocol, [vector.stream]))
    return protocol.read_answer(vector.response if isinstance(vector.response, dict) else {})


SEVERAL = [pytest.param(answer, id=name) for name, answer in answers() if len(calls_in(answer)) > 1]


def test_there_are_some_of_every_format() -> None:
    names = " ".join(str(case.id) for case in SEVERAL)
    assert all(format in names for format in ("openai_responses", "anthropic_messages", "gemini", "bedrock_converse"))


@pytest.mark.parametrize("answer", SEVERAL)
def test_the_caller_gets_the_first_call(answer: Answer) -> None:
    first, *_ = calls_in(answer)
    expected = {"name": first.name, "arguments": first.arguments or "{}"}
    (choice,) = CHAT.write_answer(answer, REQUEST, CARRIER)["choices"]
    assert (choice["finish_reason"], choice["message"]["function_call"]) == ("function_call", expected)
    assert "tool_calls" not in choice["message"]
    writer = CHAT.stream_writer(REQUEST, CARRIER, Head(model="m", stream=True))
    lines = b"".join(writer.write(event) for event in replay(answer)).decode().split("\n")
    choices = [json.loads(line[6:])["choices"][0] for line in lines if line.startswith("data: {")]
    assert choices[-1]["finish_reason"] == "function_call"
    assert joined([each["delta"]["function_call"] for each in choices if "function_call" in each["delta"]]) == expected
    assert not any("tool_calls" in each["delta"] for each in choices)


def joined(pieces: list[dict[str, Any]]) -> dict[str, str]:
    return {name: "".join(piece.get(name, "") for piece in pieces) for name in ("name", "arguments")}


def test_the_provider_is_asked_for_one_call_at_a_time_where_it_can_be() -> None:
    assert REQUEST.parallel_tool_calls is False
