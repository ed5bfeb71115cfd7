"""The probabilities of tokens, where a provider sends something else in their place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Request
from ai_gateway.protocols.protocol import Head, Protocol
from tests.protocols.streams import collected, events_of_pieces

CARRIER = Carrier([b"k"])
TOKEN = {"token": "Hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}
ODD: list[Any] = [7, [7], [{**TOKEN, "top_logprobs": [7, None]}], [{**TOKEN, "top_logprobs": 7}], [None, TOKEN]]
CALLERS = sorted(PROTOCOLS)


def chat(logprobs: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hi"}
    return {"id": "x", "choices": [{"message": message, "logprobs": {"content": logprobs}, "finish_reason": "stop"}]}


def responses(logprobs: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": "Hi", "logprobs": logprobs}]
    item = {"type": "message", "role": "assistant", "content": content}
    return {"id": "x", "object": "response", "status": "completed", "output": [item]}


def write(caller: str, answer: Any) -> None:
    request = Request(format=caller, model="m", messages=[], logprobs=True)
    PROTOCOLS[caller].write_answer(answer, request, CARRIER)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("logprobs", ODD, ids=str)
def test_nobody_stumbles_over_it(caller: str, logprobs: Any) -> None:
    for format, body in (("openai_chat", chat(logprobs)), ("openai_responses", responses(logprobs))):
        write(caller, PROTOCOLS[format].read_answer(body))


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("logprobs", ODD, ids=str)
def test_nor_in_a_stream(caller: str, logprobs: Any) -> None:
    delta = chat(logprobs)["choices"][0] | {"delta": {"content": "Hi"}, "message": None}
    events = events_of_pieces(PROTOCOLS["openai_chat"], [event({"id": "x", "choices": [delta]})])
    writer = stream_writer(PROTOCOLS[caller])
    for each in events:
        writer.write(each)
    assert collected(events).parts


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def stream_writer(protocol: Protocol) -> Any:
    request = Request(format=protocol.name, model="m", messages=[], logprobs=True, stream=True)
    return protocol.stream_writer(request, CARRIER, Head(model="m", stream=True))
