"""Bodies that nobody should send: every recorded one with some of its members replaced by something else."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from ai_gateway.errors import BadRequest, UpstreamError
from ai_gateway.protocols.conversation import Text, ToolResult
from ai_gateway.protocols.events import Failed, Finished
from ai_gateway.protocols.gemini import PROTOCOL
from ai_gateway.protocols.jsontext import dumps
from tests.protocols.gemini.samples import (
    ANSWERS,
    ARRAY,
    CARRIER,
    ERRORS,
    REQUESTS,
    STREAMS,
    caller,
    chunks,
    destination,
    events_of_chunks,
    read,
    written,
)
from tests.protocols.vectors import Vector

STRANGE: list[Any] = [None, 5, -1, 1.5, True, "x", "", [], {}, [5], [[]], {"a": 1}, "$.a[0]", {"text": 5}, [{"x": {}}]]
TIMES = range(12)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every member of every object and list: what it is in, and its name or index."""
    for key, member in [*(value.items() if isinstance(value, dict) else enumerate(value))]:
        yield value, key
        if isinstance(member, dict | list):
            yield from places(member)


def changed(value: Any, seed: str) -> Any:
    """Copy a body with one to three members replaced."""
    generator = random.Random(seed)
    value = copy.deepcopy(value)
    for _ in range(generator.randint(1, 3)):
        within = [*places(value)]
        if within:
            inside, key = generator.choice(within)
            inside[key] = copy.deepcopy(generator.choice(STRANGE))
    return value


@pytest.mark.parametrize("case", REQUESTS, ids=str)
def test_a_strange_request_is_read_or_refused(case: Vector) -> None:
    for time_ in TIMES:
        body = changed(case.request, f"{case} {time_}")
        PROTOCOL.restore(body, CARRIER, destination())
        with contextlib.suppress(BadRequest):
            assert dumps(written(read(body), audio=True, reasoning="level").body)


@pytest.mark.parametrize("case", ANSWERS, ids=str)
def test_a_strange_answer_is_read_or_an_error(case: Vector) -> None:
    for time_ in TIMES:
        with contextlib.suppress(UpstreamError):
            answer = PROTOCOL.read_answer(changed(case.response, f"{case} {time_}"))
            assert dumps(PROTOCOL.write_answer(answer, caller(), CARRIER))


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_strange_stream_is_read_or_failed(case: Vector) -> None:
    for time_ in TIMES:
        events = events_of_chunks(*changed(chunks(case), f"{case} {time_}"))
        assert isinstance(events[-1], Finished | Failed)
        writer = PROTOCOL.stream_writer(caller(), CARRIER, ARRAY)
        assert json.loads(b"".join(writer.write(event) for event in events))


@pytest.mark.parametrize("case", ERRORS, ids=str)
def test_a_strange_error_is_an_error(case: Vector) -> None:
    for time_ in TIMES:
        body = changed(case.response, f"{case} {time_}")
        assert PROTOCOL.read_error(case.status, {}, json.dumps(body).encode()).message


def test_a_conversation_in_many_pieces_takes_linear_time() -> None:
    """Nothing is timed: with quadratic time, this would not come to its end."""
    number = 20_000
    contents = [{"role": "model", "parts": [{"text": "a piece of text "}]} for _ in range(number)]
    contents.append({"role": "model", "parts": [{"functionCall": {"name": "f", "id": str(n)}} for n in range(number)]})
    results = [{"functionResponse": {"name": "f", "id": str(n), "response": {}}} for n in reversed(range(number))]
    contents.append({"role": "user", "parts": results})
    model, user = read({"contents": contents}).messages
    assert isinstance(model.parts[0], Text)
    assert len(model.parts[0].text) == 16 * number
    assert isinstance(user.parts[0], ToolResult)
    assert user.parts[0].call_id == str(number - 1)
    assert len(written(read({"contents": contents})).body["contents"]) == 2
