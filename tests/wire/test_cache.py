"""Answers from the cache as callers see them: the same bytes again, through both doors and in every format."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

import pytest

from tests import databases
from tests.conftest import SECOND_GATEWAY_KEY, StartGateway
from tests.gateway_process import GatewayProcess
from tests.raw_client import Answer, RawClient, RawConnection
from tests.redis_server import RedisServer
from tests.upstream import Upstream, event_stream, json_answer
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, DIALECTS, JSON

ANSWERED = {"choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": 1_000, "completion_tokens": 100}}
PRICES = [{"model": "*", "input": 1, "output": 10}]
ENDS = {
    "anthropic_messages": (
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n',
    ),
}
"""What says that a stream ended well, where the samples do not."""
OWN = ("x-request-id", "date", "server-timing", "age", "x-gateway-cache")
"""Headers that are a call's own."""


@pytest.fixture
def gateway(start_gateway: StartGateway) -> GatewayProcess:
    return start_gateway(RESPONSE_CACHE={"timeout": 20}, PRICES=PRICES, USAGE_INTERVAL=0.05)


def cached(answer: Answer) -> str | None:
    """What an answer says of the cache."""
    return answer.header("x-gateway-cache")


def test_every_format_gets_its_own_bytes_again(
    raw: RawClient, upstream: Upstream, site_database: databases.Database
) -> None:
    names = []
    for dialect in DIALECTS:
        events = (*dialect.events[:-1], *ENDS.get(dialect.name, ()), dialect.events[-1])
        upstream.answer(event_stream(*events))
        found = []
        for _ in range(2):
            names.append(new_request_id())
            head = [BEARER, ("x-request-id", names[-1])]
            found.append(raw.post(dialect.stream_path, dialect.stream_body, head))
        assert [cached(each) for each in found] == ["miss", "hit"]
        first, again = found
        assert (again.status, again.body, again.is_chunked) == (200, b"".join(events), True)
        # In the pieces in which they came: each is a chunk of its own.
        assert again.raw_body == first.raw_body
        assert again.header("x-request-id") == names[-1]
        assert {name for name, _ in again.headers} - {name for name, _ in first.headers} == {"age"}
    assert len(upstream.requests) == len(DIALECTS)
    rows = LedgerReader(site_database["NAME"]).entries(names)
    assert [row["outcome"] for row in rows] == ["answered", "cached"] * len(DIALECTS)
    assert {(row["cost_nanos"], row["attempts"]) for row in rows[1::2]} == {(0, 0)}
    assert [row["bytes_out"] for row in rows[::2]] == [row["bytes_out"] for row in rows[1::2]]


def test_a_plain_answer_is_plain_again_and_each_keys_own(
    raw: RawClient, upstream: Upstream, site_database: databases.Database
) -> None:
    upstream.answer(json_answer(ANSWERED, headers=[("x-ratelimit-limit-requests", "60"), ("set-cookie", "a=b")]))
    names = [new_request_id() for _ in range(3)]
    others = ("authorization", f"Bearer {SECOND_GATEWAY_KEY}")
    keys = [BEARER, BEARER, others]
    body = {**CHAT, "n": 1}
    first, again, other = [
        raw.post(CHAT_PATH, body, [key, ("x-request-id", name)]) for key, name in zip(keys, names, strict=True)
    ]
    assert [cached(each) for each in (first, again, other)] == ["miss", "hit", "miss"]
    assert first.body == again.body == other.body == json.dumps(ANSWERED).encode()
    assert (again.header("content-length"), again.header("x-gateway-cost")) == (str(len(first.body)), "0")
    assert again.header("x-ratelimit-limit-requests") is None
    _, row, _ = LedgerReader(site_database["NAME"]).entries(names)
    cost = 1_000 * 1_000 + 100 * 10_000
    assert (row["saved_nanos"], row["input_tokens"], row["provider"]) == (cost, 0, "openai")


def test_when_the_first_of_equal_calls_hangs_up_the_next_one_asks(gateway: GatewayProcess, upstream: Upstream) -> None:
    stalls, answers = upstream.gate(), upstream.gate()
    upstream.answer(event_stream(CHAT_DIALECT.events[0], stalls), event_stream(answers, *CHAT_DIALECT.events))
    body = json.dumps({**CHAT, "stream": True, "seed": os.getpid()}).encode()
    calls = [RawConnection(gateway.port) for _ in range(3)]
    calls[0].request("POST", CHAT_PATH, [BEARER, JSON], body)
    stalls.wait_until_reached()
    for call in calls[1:]:
        call.request("POST", CHAT_PATH, [BEARER, JSON], body)
    calls[0].close()
    answers.wait_until_reached()
    assert len(upstream.requests) == 2
    answers.open()
    found = [call.read_answer() for call in calls[1:]]
    assert {each.body for each in found} == {b"".join(CHAT_DIALECT.events)}
    # The one that was not there yet when the other asked is answered from what was kept.
    assert sorted(str(cached(each)) for each in found) == ["hit", "miss"]
    assert len(upstream.requests) == 2
    for call in calls:
        call.close()


@pytest.fixture
def processes(
    gateway_processes: Callable[..., GatewayProcess], redis_server: RedisServer
) -> Iterator[list[GatewayProcess]]:
    """One of each door, with one cache."""
    cache = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis_server.url}
    settings = {"RESPONSE_CACHE": {"memory": 0, "timeout": 0.5}}
    made = [gateway_processes(door, settings, {"CACHES": {"default": cache}}) for door in ("direct", "django")]
    yield made
    for process in made:
        process.assert_log_in_order()


def test_processes_share_what_is_in_redis_and_go_on_when_it_hangs(
    processes: list[GatewayProcess], upstream: Upstream, redis_server: RedisServer
) -> None:
    upstream.answer(json_answer(ANSWERED))

    def ask(process: GatewayProcess, seed: int = 1) -> str | None:
        return cached(RawClient(process.port).post(CHAT_PATH, {**CHAT, "seed": seed}, [BEARER]))

    # On a busy machine even a cache that is well may be too slow for a call.
    upstream.wait_for("it is kept", lambda: ask(processes[0]) == "hit")
    upstream.wait_for("the other one has it", lambda: ask(processes[1]) == "hit", patience=60)
    redis_server.pause()
    try:
        assert [ask(processes[0], seed=2) for _ in range(3)] == ["bypass"] * 3
    finally:
        redis_server.resume()
    assert processes[0].log().count("calls go on without") >= 1
