"""A provider that fails half of its calls, under load: repetitions must not make it worse."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.chaos.callers import Leaving, Plan, make_calls
from tests.conftest import StartGateway
from tests.upstream import Exchange, Upstream, json_answer
from tests.wire.samples import CHAT_DIALECT

CALLS, AT_ONCE = 400, 40
ROUTES = {"storm": ["openai/a", "groq/b"]}


@pytest.mark.parametrize("door", ["direct"], indirect=True)
def test_repetitions_are_few_beside_the_calls(start_gateway: StartGateway, upstream: Upstream) -> None:
    """T34: a fifth of the calls under way, so about a quarter of all calls at most."""
    turns = itertools.count()
    good = json_answer({"choices": [{"message": {"role": "assistant", "content": "Hello"}}]})
    bad = json_answer({"error": {"message": "not now", "type": "server_error"}}, status=503)

    async def fail_half(exchange: Exchange) -> None:
        await exchange.read_body()
        await asyncio.sleep(0.03)
        await (bad if next(turns) % 2 else good)(exchange)

    upstream.answer(fail_half)
    gateway = start_gateway(ROUTES=ROUTES, RETRIES={"least": 0})
    results = asyncio.run(make_calls(gateway.port, [plan(number) for number in range(CALLS)], AT_ONCE))
    repetitions = len(upstream.requests) - CALLS
    print(f"{repetitions} repetitions of {CALLS} calls")
    assert 0 < repetitions <= CALLS * 0.3
    assert {got.status for got in results} == {200, 503}


def plan(number: int) -> Plan:
    """A plain call."""
    return Plan(
        seed=0,
        number=number,
        dialect=CHAT_DIALECT,
        route="storm",
        is_stream=False,
        asks_usage=False,
        leaving=Leaving.NEVER,
        leaves_abruptly=False,
        leaves_after=0,
    )
