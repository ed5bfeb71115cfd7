"""Whatever is put in place of any member of what was recorded: it is understood or refused, and never a bug."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from ai_gateway.errors import GatewayError
from ai_gateway.protocols.anthropic_messages import PROTOCOL
from ai_gateway.protocols.events import Finished
from tests.protocols.anthropic_messages.helpers import (
    ASKED,
    CARRIER,
    DESTINATION,
    FORMAT,
    assert_grammar,
    destination,
    read,
    written,
)
from tests.protocols.vectors import Vector, vectors

JUNK: list[Any] = [None, True, -1, 1.5, "", "x", [], {}, [5], ["x"], [[]], [{}], {"a": 1}, {"type": "x"}]
MODELS = [
    destination(reasoning="adaptive", strict_tools=True, top_k=True),
    destination(reasoning="budget", structured_outputs=False, mid_system=False),
]
TRIES = 20


def places(value: Any, *place: Any) -> Iterator[tuple[Any, ...]]:
    """Give the path of everything inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield (*place, name)
        yield from places(each, *place, name)


def spoilt(value: Any, dice: random.Random) -> Any:
    """Copy a value with junk in one place."""
    copied = copy.deepcopy(value)
    *way, last = dice.choice(list(places(value)))
    holder = copied
    for name in way:
        holder = holder[name]
    holder[last] = dice.choice(JUNK)
    return copied


EVERY = pytest.mark.parametrize("vector", list(vectors(FORMAT)), ids=str)


@EVERY
def test_requests(vector: Vector) -> None:
    dice = random.Random(vector.name)
    for _ in range(TRIES if isinstance(vector.request, dict) else 0):
        body = spoilt(vector.request, dice)
        PROTOCOL.restore(body, CARRIER, DESTINATION)
        with contextlib.suppress(GatewayError):
            given = read(body)
            for model in MODELS:
                assert isinstance(PROTOCOL.write_request(given, model).body, dict)


@EVERY
def test_answers(vector: Vector) -> None:
    dice = random.Random(vector.name)
    for _ in range(TRIES if isinstance(vector.response, dict) else 0):
        body = spoilt(vector.response, dice)
        assert PROTOCOL.read_error(400, {}, json.dumps(body).encode()).message
        with contextlib.suppress(GatewayError):
            PROTOCOL.write_answer(PROTOCOL.read_answer(body), ASKED, CARRIER)


@EVERY
def test_streams(vector: Vector) -> None:
    if not vector.is_stream:
        return
    dice = random.Random(vector.name)
    whole = PROTOCOL.splitter().feed(vector.stream)
    for _ in range(TRIES):
        changed = dice.randrange(len(whole))
        reader = PROTOCOL.stream_reader()
        events = []
        for number, (name, data) in enumerate(whole):
            events += reader.read(
                name, json.dumps(spoilt(json.loads(data), dice)).encode() if number == changed else data
            )
        events += reader.end()
        stream = written(events)
        if isinstance(events[-1], Finished):
            assert_grammar(stream)
