"""One entry for each call, whatever ended it; and limits that hold, however many calls come at once.

Every test runs through both doors, with each kind of database.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.gateway_process import Door
from tests.raw_client import RawConnection
from tests.upstream import End, Upstream, event_stream, json_answer, play
from tests.wire.conftest import ControlledGateway, Start
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, JSON, MESSAGES, MESSAGES_PATH

USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-mini-2026-01-01",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
PRICES = [{"provider": "openai", "model": "gpt-5-mini", "input": 0.25, "output": 2}]
COST = 1000 * 250 + 200 * 2000
"""Nano-dollars of that usage: $0.25 and $2 for a million tokens are 250 and 2,000 for one."""


def event(*choices: dict[str, Any], **others: Any) -> bytes:
    """Write one event of a stream of chat completions."""
    chunk = {"id": "chatcmpl-2", "model": "gpt-5-mini", "choices": [{"index": 0, **choice} for choice in choices]}
    return b"data: %b\n\n" % json.dumps({**chunk, **others}).encode()


STREAM = (
    event({"delta": {"role": "assistant", "content": ""}}),
    event({"delta": {"content": "Hello there"}}),
    event({"delta": {}, "finish_reason": "stop"}),
    event(usage=USAGE),
    b"data: [DONE]\n\n",
)
silence = play(End.STALL)
PATIENCE = 20.0


class Accounted:
    """A gateway whose ledger can be read."""

    def __init__(self, gateway: ControlledGateway) -> None:
        self.gateway = gateway
        self.raw = gateway.raw
        gateway.shell.run("UsageRecord.objects.all().delete(); UsageDaily.objects.all().delete()")

    def entries(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many calls are written down, and give them, the oldest first. There must not be more."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.gateway.shell.run(
                "fields = [field.attname for field in UsageRecord._meta.concrete_fields]\n"
                "rows = UsageRecord.objects.order_by('id').values(*fields)\n"
                "result = [{**row, 'id': str(row['id']), 'started_at': row['started_at'].timestamp()} for row in rows]"
            )
            if len(found) >= count or time.monotonic() > deadline:
                assert len(found) == count, [(row["outcome"], row["endpoint"]) for row in found]
                return list(found)
            time.sleep(0.05)

    def entry(self) -> dict[str, Any]:
        """The only call that was written down."""
        (found,) = self.entries()
        return found


@pytest.fixture
def start(start_controlled: Start, door: Door) -> Callable[..., Accounted]:
    """Start a gateway that writes down calls at once."""

    def start(*arguments: str, **settings: Any) -> Accounted:
        return Accounted(start_controlled(door, *arguments, **{"USAGE_INTERVAL": 0.05, "PRICES": PRICES, **settings}))

    return start


@pytest.fixture
def accounted(start: Callable[..., Accounted]) -> Accounted:
    return start()


def ask(accounted: Accounted, body: Any = CHAT, path: str = CHAT_PATH, *headers: tuple[str, str]) -> Any:
    return accounted.raw.post(path, body, [BEARER, *headers])


# What an entry says.


def test_a_call_is_written_down_with_who_what_how_and_how_much(accounted: Accounted, upstream: Upstream) -> None:
    upstream.answer(json_answer(ANSWER))
    began = time.time()
    answer = ask(
        accounted, CHAT, CHAT_PATH, ("x-request-id", "my-request-1"), ("x-project-id", "atlas"), ("x-user-id", "ann")
    )
    assert answer.status == 200
    assert answer.header("x-gateway-cost") == "0.00065"
    entry = accounted.entry()
    assert began - 5 < entry.pop("started_at") < time.time() + 5
    assert entry.pop("overhead_us") >= 0
    assert entry["first_byte_ms"] <= entry["duration_ms"]
    expected = {
        "request_id": "my-request-1",
        "upstream_id": "chatcmpl-1",
        "key_name": "team-a",
        "key_id": None,
        "project": "atlas",
        "end_user": "ann",
        "dialect": "openai_chat",
        "endpoint": "chat/completions",
        "model": "gpt-5-mini",
        "provider": "openai",
        "served_model": "gpt-5-mini",
        "route": "",
        "is_stream": False,
        "outcome": "answered",
        "status": 200,
        "error_code": "",
        "attempts": 1,
        "input_tokens": 1000,
        "output_tokens": 200,
        "is_estimated": False,
        "cost_nanos": COST,
        "bytes_in": len(json.dumps(CHAT)),
    }
    assert {name: entry[name] for name in expected} == expected


def test_a_virtual_key_is_named_with_its_owner_and_team(accounted: Accounted, upstream: Upstream) -> None:
    upstream.answer(json_answer(ANSWER))
    token = accounted.gateway.issue("ann", name="laptop", tags=["beta"], metadata={"cost_centre": 7})
    answer = accounted.raw.post(CHAT_PATH, CHAT, [("authorization", f"Bearer {token}")])
    assert answer.status == 200
    entry = accounted.entry()
    assert (entry["key_name"], entry["tags"], entry["metadata"]) == ("laptop", ["beta"], {"cost_centre": 7})
    names = accounted.gateway.shell.run("row = UsageRecord.objects.get(); result = [row.key.name, row.user.username]")
    assert names == ["laptop", "ann"]


def test_a_stream_is_written_down_at_its_end(accounted: Accounted, upstream: Upstream) -> None:
    upstream.answer(event_stream(*STREAM))
    answer = ask(accounted, {**CHAT, "stream": True, "stream_options": {"include_usage": True}})
    assert answer.body == b"".join(STREAM)
    entry = accounted.entry()
    assert (entry["is_stream"], entry["outcome"], entry["cost_nanos"]) == (True, "answered", COST)
    assert (entry["input_tokens"], entry["output_tokens"], entry["is_estimated"]) == (1000, 200, False)
    assert entry["bytes_out"] == len(answer.body)
    assert entry["first_token_ms"] is not None


def test_a_caller_that_did_not_ask_for_the_usage_does_not_get_it_and_the_ledger_does(
    accounted: Accounted, upstream: Upstream
) -> None:
    upstream.answer(event_stream(*STREAM))
    answer = ask(accounted, {**CHAT, "stream": True})
    assert upstream.request.json()["stream_options"] == {"include_usage": True}
    assert answer.body == b"".join((*STREAM[:3], STREAM[4]))
    assert accounted.entry()["cost_nanos"] == COST


def test_a_translated_answer_counts_like_the_provider_does(accounted: Accounted, upstream: Upstream) -> None:
    upstream.answer(json_answer(ANSWER))
    body = {**MESSAGES, "model": "openai/gpt-5-mini"}
    answer = accounted.raw.post(
        MESSAGES_PATH, body, [("x-api-key", BEARER[1][7:]), ("anthropic-version", "2023-06-01")]
    )
    assert answer.json()["usage"]["input_tokens"] == 1000
    entry = accounted.entry()
    assert (entry["dialect"], entry["cost_nanos"]) == ("anthropic_messages", COST)


def test_a_route_is_named(accounted: Accounted, upstream: Upstream) -> None:
    upstream.answer(json_answer(ANSWER))
    ask(accounted, {**CHAT, "model": "fast"})
    entry = accounted.entry()
    assert (entry["model"], entry["route"], entry["served_model"]) == ("fast", "fast", "gpt-5-mini")


def test_a_model_without_a_price_has_no_cost(accounted: Accounted, upstream: Upstream) -> None:
    upstream.answer(json_answer(ANSWER))
    answer = ask(accounted, {**CHAT, "model": "openai/unheard-of"})
    assert answer.header("x-gateway-cost") is None
    assert accounted.entry()["cost_nanos"] is None


def test_what_the_day_used_is_the_sum(accounted: Accounted, upstream: Upstream) -> None:
    upstream.answer(json_answer(ANSWER))
    for _ in range(5):
        ask(accounted)
    accounted.entries(5)
    days = accounted.gateway.shell.run(
        "result = list(UsageDaily.objects.values('requests', 'errors', 'input_tokens', 'cost_nanos', 'served_model'))"
    )
    assert days == [
        {"requests": 5, "errors": 0, "input_tokens": 5000, "cost_nanos": 5 * COST, "served_model": "gpt-5-mini"}
    ]


# However a call ends.


def test_a_providers_error_is_written_down_and_costs_nothing(accounted: Accounted, upstream: Upstream) -> None:
    upstream.answer(json_answer({"error": {"message": "no", "code": "model_not_found"}}, status=404))
    assert ask(accounted).status == 404
    entry = accounted.entry()
    assert (entry["outcome"], entry["status"], entry["cost_nanos"]) == ("failed", 404, 0)


def test_a_provider_that_cannot_be_reached(accounted: Accounted) -> None:
    assert ask(accounted, {**CHAT, "model": "unreachable/m"}).status == 502
    entry = accounted.entry()
    assert (entry["outcome"], entry["error_code"], entry["cost_nanos"]) == ("failed", "upstream_unreachable", 0)
    assert [tried["provider"] for tried in entry["trail"]] == ["unreachable"]


def test_a_provider_that_hangs_up_before_it_answers_is_paid_for_the_prompt(
    accounted: Accounted, upstream: Upstream
) -> None:
    upstream.answer(play(End.CLOSE))
    assert ask(accounted).status == 502
    entry = accounted.entry()
    assert (entry["outcome"], entry["error_code"], entry["is_estimated"]) == ("failed", "upstream_closed", True)
    assert entry["input_tokens"] > 0
    assert entry["cost_nanos"] == entry["input_tokens"] * 250


def test_a_provider_that_dies_in_the_middle_is_paid_for_what_passed(accounted: Accounted, upstream: Upstream) -> None:
    upstream.answer(event_stream(*STREAM[:2], End.RESET))
    answer = ask(accounted, {**CHAT, "stream": True})
    assert answer.status == 200
    entry = accounted.entry()
    assert (entry["outcome"], entry["status"], entry["error_code"]) == ("failed", 200, "upstream_closed")
    assert entry["is_estimated"]
    assert entry["output_tokens"] > 0
    assert entry["cost_nanos"] == entry["input_tokens"] * 250 + entry["output_tokens"] * 2000


def test_a_provider_that_takes_too_long(start: Callable[..., Accounted], upstream: Upstream) -> None:
    accounted = start(TIMEOUTS={"first_byte": 0.3})
    upstream.answer(silence)
    assert ask(accounted).status == 504
    entry = accounted.entry()
    assert (entry["outcome"], entry["status"], entry["is_estimated"]) == ("timed_out", 504, True)


def test_a_caller_that_hangs_up_in_the_middle_pays_for_what_passed(accounted: Accounted, upstream: Upstream) -> None:
    upstream.answer(event_stream(*STREAM[:2], End.STALL))
    with RawConnection(accounted.gateway.process.port) as connection:
        connection.request("POST", CHAT_PATH, [BEARER, JSON], json.dumps({**CHAT, "stream": True}).encode())
        connection.read_head()
        connection.read_text_until(b"Hello there")
    entry = accounted.entry()
    assert (entry["outcome"], entry["is_estimated"]) == ("disconnected", True)
    assert entry["output_tokens"] > 0
    assert entry["cost_nanos"] == entry["input_tokens"] * 250 + entry["output_tokens"] * 2000


def test_a_caller_that_hangs_up_while_it_waits_pays_for_its_prompt(accounted: Accounted, upstream: Upstream) -> None:
    upstream.answer(silence)
    with RawConnection(accounted.gateway.process.port) as connection:
        connection.request("POST", CHAT_PATH, [BEARER, JSON], json.dumps(CHAT).encode())
        upstream.wait_for_requests()
    entry = accounted.entry()
    assert (entry["outcome"], entry["status"], entry["is_estimated"]) == ("disconnected", 0, True)
    assert entry["input_tokens"] > 0


def test_a_provider_that_bills_anyway_is_read_to_the_end(start: Callable[..., Accounted], upstream: Upstream) -> None:
    at = f"http://127.0.0.1:{upstream.port}/v1"
    options = {"base_url": at, "allow_private": True, "api_key": "sk-x", "finish_within": 20}
    accounted = start(PROVIDERS={"openai": {"OPTIONS": options}})
    gate = upstream.gate()
    upstream.answer(event_stream(*STREAM[:2], gate, *STREAM[2:]))
    with RawConnection(accounted.gateway.process.port) as connection:
        connection.request("POST", CHAT_PATH, [BEARER, JSON], json.dumps({**CHAT, "stream": True}).encode())
        connection.read_head()
        connection.read_text_until(b"Hello there")
    time.sleep(0.5)
    gate.open()
    entry = accounted.entry()
    assert (entry["outcome"], entry["is_estimated"], entry["cost_nanos"]) == ("disconnected", False, COST)


def test_a_call_that_is_refused_for_its_form(accounted: Accounted) -> None:
    assert accounted.raw.post(CHAT_PATH, b'{"model": 5}', [BEARER, JSON]).status == 400
    entry = accounted.entry()
    assert (entry["outcome"], entry["status"], entry["error_code"]) == ("refused", 400, "invalid_json")
    assert entry["attempts"] == 0


def test_a_shutdown_ends_a_call_and_writes_it_down(start: Callable[..., Accounted], upstream: Upstream) -> None:
    accounted = start(DRAIN_TIMEOUT=0.3)
    upstream.answer(event_stream(*STREAM[:2], End.STALL))
    with RawConnection(accounted.gateway.process.port) as connection:
        connection.request("POST", CHAT_PATH, [BEARER, JSON], json.dumps({**CHAT, "stream": True}).encode())
        connection.read_head()
        connection.read_text_until(b"Hello there")
        accounted.gateway.process.terminate()
        accounted.gateway.process.wait()
    entry = accounted.entry()
    assert (entry["outcome"], entry["error_code"], entry["is_estimated"]) == ("stopped", "gateway_draining", True)


def test_lists_and_strangers_leave_no_entry(accounted: Accounted, upstream: Upstream) -> None:
    accounted.raw.get("/v1/models", [BEARER])
    accounted.raw.post(CHAT_PATH, CHAT, [("authorization", "Bearer gw_wrong")])
    upstream.answer(json_answer(ANSWER))
    ask(accounted)
    assert accounted.entry()["status"] == 200


# Limits.


def refused(answer: Any) -> tuple[int, str]:
    return answer.status, answer.json()["error"].get("code") or answer.json()["error"]["details"]["error_code"]


def test_a_rate_is_told_and_kept_to(start: Callable[..., Accounted], upstream: Upstream) -> None:
    limit = {"name": "each key", "scope": "key", "measure": "requests", "window": "minute", "amount": 2}
    accounted = start(LIMITS=[limit])
    upstream.answer(json_answer(ANSWER, headers=[("x-ratelimit-limit-requests", "9999")]))
    first, second, third = (ask(accounted) for _ in range(3))
    assert [first.header(f"x-ratelimit-{name}-requests") for name in ("limit", "remaining")] == ["2", "1"]
    assert second.header("x-ratelimit-remaining-requests") == "0"
    assert refused(third) == (429, "rate_limit_exceeded")
    assert 1 <= int(third.header("retry-after") or 0) <= 30
    assert third.header("x-ratelimit-remaining-requests") == "0"
    assert third.header("x-should-retry") is None
    assert "'each key'" in third.json()["error"]["message"]
    assert accounted.raw.post(CHAT_PATH, CHAT, [("authorization", "Bearer gw_test-key-of-team-b")]).status == 200
    assert [entry["outcome"] for entry in accounted.entries(4)] == ["answered", "answered", "limited", "answered"]
    assert len(upstream.requests) == 3


def test_a_budget_that_is_used_up_ends_it_in_the_words_of_each_dialect(
    start: Callable[..., Accounted], upstream: Upstream
) -> None:
    limit = {"name": "team", "scope": "key", "measure": "cost", "window": "month", "amount": "0.0087"}
    accounted = start(LIMITS=[limit], RESERVED_OUTPUT=100)
    upstream.answer(json_answer({**ANSWER, "usage": {"prompt_tokens": 1000, "completion_tokens": 4000}}))
    assert ask(accounted).status == 200
    answer = ask(accounted)
    assert refused(answer) == (429, "insufficient_quota")
    assert answer.json()["error"]["type"] == "insufficient_quota"
    assert (answer.header("x-should-retry"), answer.header("retry-after")) == ("false", None)
    body = {**MESSAGES, "model": "openai/gpt-5-mini"}
    answer = accounted.raw.post(MESSAGES_PATH, body, [BEARER, ("anthropic-version", "2023-06-01")])
    assert answer.status == 429
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert answer.header("x-should-retry") == "false"


def test_calls_at_once_are_counted_until_their_end(start: Callable[..., Accounted], upstream: Upstream) -> None:
    accounted = start(LIMITS=[{"name": "two", "scope": "key", "measure": "concurrency", "amount": 2}])
    gate = upstream.gate()
    upstream.answer(event_stream(*STREAM[:2], gate, *STREAM[2:]))
    streams = [RawConnection(accounted.gateway.process.port) for _ in range(2)]
    for stream in streams:
        stream.request("POST", CHAT_PATH, [BEARER, JSON], json.dumps({**CHAT, "stream": True}).encode())
        stream.read_head()
    assert refused(ask(accounted)) == (429, "rate_limit_exceeded")
    streams[0].close()
    gate.open()
    list(streams[1].chunks())
    streams[1].close()
    accounted.entries(3)
    upstream.answer(json_answer(ANSWER))
    assert ask(accounted).status == 200


def test_a_limit_of_a_provider_sends_the_call_to_the_next_target(
    start: Callable[..., Accounted], upstream: Upstream
) -> None:
    limit = {"name": "groq", "scope": "provider", "subject": "groq", "measure": "requests", "amount": 1}
    accounted = start(LIMITS=[limit], ROUTES={"both": ["groq/m", "openai/gpt-5-mini"]})
    upstream.answer(json_answer(ANSWER))
    answers = [ask(accounted, {**CHAT, "model": "both"}) for _ in range(2)]
    assert [answer.header("x-gateway-provider") for answer in answers] == ["groq", "openai"]
    assert refused(ask(accounted, {**CHAT, "model": "groq/m"})) == (429, "rate_limit_exceeded")


def test_a_warning_comes_before_the_end(start: Callable[..., Accounted], upstream: Upstream) -> None:
    limit = {"name": "day", "scope": "key", "measure": "requests", "window": "day", "amount": 4, "soft_percent": 75}
    accounted = start(LIMITS=[limit])
    upstream.answer(json_answer(ANSWER))
    warnings = [ask(accounted).header("x-gateway-limit-warning") for _ in range(4)]
    assert warnings == [None, None, '"day"; used=75%', '"day"; used=100%']


def test_a_budget_for_twenty_admits_twenty_of_two_hundred(start: Callable[..., Accounted], upstream: Upstream) -> None:
    accounted = start(LIMITS=[{"name": "twenty", "measure": "requests", "window": "day", "amount": 20}])
    upstream.answer(json_answer(ANSWER))
    statuses = at_once(accounted, 200)
    assert statuses == {200: 20, 429: 180}
    assert len(upstream.requests) == 20


def at_once(accounted: Accounted, count: int) -> Counter[int]:
    """Call so often at once, on connections of their own, and count the statuses."""
    barrier = threading.Barrier(min(count, 50))

    def call(number: int) -> int:
        if number < 50:
            barrier.wait()
        with RawConnection(accounted.gateway.process.port) as connection:
            connection.request("POST", CHAT_PATH, [BEARER, JSON], json.dumps(CHAT).encode())
            return connection.read_head().status

    with ThreadPoolExecutor(50) as pool:
        return Counter(pool.map(call, range(count)))


@pytest.mark.parametrize("store", ["database", "redis"])
@pytest.mark.parametrize("door", ["direct"], indirect=True)
def test_four_workers_admit_twenty_of_two_hundred_together(
    start: Callable[..., Accounted], upstream: Upstream, store: str, request: pytest.FixtureRequest
) -> None:
    options = {"url": request.getfixturevalue("redis_server").url} if store == "redis" else {}
    accounted = start(
        "--workers",
        "4",
        LIMITS=[{"name": "twenty", "measure": "requests", "window": "day", "amount": 20}],
        LIMIT_STORE={"BACKEND": store, "OPTIONS": options},
    )
    upstream.answer(json_answer(ANSWER))
    statuses = at_once(accounted, 200)
    assert statuses == {200: 20, 429: 180}
    assert Counter(entry["outcome"] for entry in accounted.entries(200)) == {"answered": 20, "limited": 180}
