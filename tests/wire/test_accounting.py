"""One entry for each call, whatever ended it; and limits that hold, however many calls come at once."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests import databases
from tests.conftest import SECOND_GATEWAY_KEY, StartGateway
from tests.gateway_process import Door
from tests.raw_client import Answer, RawClient, RawConnection
from tests.redis_server import RedisServer
from tests.upstream import End, Upstream, event_stream, json_answer, play
from tests.wire.conftest import Start
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, JSON, MESSAGES, MESSAGES_PATH

USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
MESSAGE = {"role": "assistant", "content": "Hello"}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-mini-2026-01-01",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": USAGE,
}
PRICES = [{"provider": "openai", "model": "*", "input": 0.25, "output": 2}]
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


class Caller:
    """Calls a gateway, each time with a request id of its own, and finds in the ledger what was written of it."""

    def __init__(self, port: int, ledger: LedgerReader) -> None:
        self.port = port
        self.ledger = ledger
        self.raw = RawClient(port)
        self.ids: list[str] = []

    def ask(
        self, body: Any = CHAT, path: str = CHAT_PATH, *headers: tuple[str, str], key: tuple[str, str] = BEARER
    ) -> Answer:
        self.ids.append(new_request_id())
        return self.raw.post(path, body, [key, ("x-request-id", self.ids[-1]), *headers])

    def begin(self, body: Any) -> RawConnection:
        """Begin a call on a connection of its own."""
        self.ids.append(new_request_id())
        connection = RawConnection(self.port)
        connection.request("POST", CHAT_PATH, [BEARER, JSON, ("x-request-id", self.ids[-1])], json.dumps(body).encode())
        return connection

    def entry(self) -> dict[str, Any]:
        """What was written down of the last call."""
        return self.ledger.entry(self.ids[-1])

    def entries(self) -> list[dict[str, Any]]:
        """What was written down of all calls."""
        return self.ledger.entries(self.ids)


class Accounting:
    """Gives callers of gateways with these settings."""

    def __init__(self, start: StartGateway, ledger: LedgerReader) -> None:
        self._start = start
        self._ledger = ledger

    def __call__(self, **settings: Any) -> Caller:
        return Caller(self._start(**{"USAGE_INTERVAL": 0.05, "PRICES": PRICES, **settings}).port, self._ledger)


@pytest.fixture
def accounting(start_gateway: StartGateway, site_database: databases.Database) -> Accounting:
    return Accounting(start_gateway, LedgerReader(site_database["NAME"]))


@pytest.fixture
def caller(accounting: Accounting) -> Caller:
    return accounting()


# What an entry says.


def test_a_call_is_written_down_with_who_what_how_and_how_much(caller: Caller, upstream: Upstream) -> None:
    upstream.answer(json_answer(ANSWER))
    answer = caller.ask(CHAT, CHAT_PATH, ("x-project-id", "atlas"), ("x-user-id", "ann"))
    assert answer.header("x-gateway-cost") == "0.00065"
    entry = caller.entry()
    assert 0 <= entry["first_byte_ms"] <= entry["duration_ms"]
    assert entry["overhead_us"] > 0
    expected = {
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
        "is_stream": 0,
        "outcome": "answered",
        "status": 200,
        "error_code": "",
        "attempts": 1,
        "input_tokens": 1000,
        "output_tokens": 200,
        "is_estimated": 0,
        "cost_nanos": COST,
        "bytes_in": len(json.dumps(CHAT)),
    }
    assert {name: entry[name] for name in expected} == expected


def test_a_stream_is_written_down_at_its_end(caller: Caller, upstream: Upstream) -> None:
    upstream.answer(event_stream(*STREAM))
    answer = caller.ask({**CHAT, "stream": True, "stream_options": {"include_usage": True}})
    assert answer.body == b"".join(STREAM)
    entry = caller.entry()
    assert (entry["is_stream"], entry["outcome"], entry["cost_nanos"]) == (1, "answered", COST)
    assert (entry["input_tokens"], entry["output_tokens"], entry["is_estimated"]) == (1000, 200, 0)
    assert entry["bytes_out"] == len(answer.body)
    assert entry["first_token_ms"] is not None


def test_a_caller_that_did_not_ask_for_the_usage_does_not_get_it_and_the_ledger_does(
    caller: Caller, upstream: Upstream
) -> None:
    upstream.answer(event_stream(*STREAM))
    answer = caller.ask({**CHAT, "stream": True})
    assert upstream.request.json()["stream_options"] == {"include_usage": True}
    assert answer.body == b"".join((*STREAM[:3], STREAM[4]))
    assert caller.entry()["cost_nanos"] == COST


def test_a_translated_answer_counts_like_the_provider_does(caller: Caller, upstream: Upstream) -> None:
    upstream.answer(json_answer(ANSWER))
    answer = caller.ask({**MESSAGES, "model": "groq/gpt-5-mini"}, MESSAGES_PATH, ("anthropic-version", "2023-06-01"))
    assert answer.status == 200
    entry = caller.entry()
    assert (entry["dialect"], entry["input_tokens"], entry["output_tokens"]) == ("anthropic_messages", 1000, 200)


def test_a_route_is_named(caller: Caller, upstream: Upstream) -> None:
    upstream.answer(json_answer(ANSWER))
    caller.ask({**CHAT, "model": "fast"})
    entry = caller.entry()
    assert (entry["model"], entry["route"], entry["served_model"]) == ("fast", "fast", "gpt-5-mini")


def test_a_model_without_a_price_has_no_cost(caller: Caller, upstream: Upstream) -> None:
    upstream.answer(json_answer({**ANSWER, "model": "unheard-of"}))
    answer = caller.ask({**CHAT, "model": "groq/unheard-of"})
    assert answer.header("x-gateway-cost") is None
    assert caller.entry()["cost_nanos"] is None


def test_what_the_day_used_is_the_sum(caller: Caller, upstream: Upstream, door: Door) -> None:
    upstream.answer(json_answer(ANSWER))
    for _ in range(5):
        caller.ask({**CHAT, "model": f"summed-up-{door}"})
    caller.entries()
    days = caller.ledger.query("SELECT * FROM ai_gateway_usagedaily WHERE served_model = ?", f"summed-up-{door}")
    assert sum(day["requests"] for day in days) == 5
    assert sum(day["cost_nanos"] for day in days) == 5 * COST
    assert sum(day["input_tokens"] for day in days) == 5000


# However a call ends.


def test_a_providers_error_is_written_down_and_costs_nothing(caller: Caller, upstream: Upstream) -> None:
    upstream.answer(json_answer({"error": {"message": "no", "code": "model_not_found"}}, status=404))
    assert caller.ask().status == 404
    entry = caller.entry()
    assert (entry["outcome"], entry["status"], entry["cost_nanos"]) == ("failed", 404, 0)
    assert entry["error_code"] == "model_not_found"


def test_a_provider_that_cannot_be_reached(caller: Caller) -> None:
    own = ("authorization", "Bearer sk-own")
    assert caller.ask(CHAT, CHAT_PATH, ("x-provider", "unreachable"), key=own).status == 502
    entry = caller.entry()
    assert (entry["outcome"], entry["error_code"], entry["cost_nanos"]) == ("failed", "upstream_unreachable", 0)
    assert [tried["provider"] for tried in json.loads(entry["trail"])] == ["unreachable"]


def test_a_provider_that_hangs_up_before_it_answers_is_paid_for_the_prompt(caller: Caller, upstream: Upstream) -> None:
    upstream.answer(play(End.CLOSE))
    assert caller.ask().status == 502
    entry = caller.entry()
    assert (entry["outcome"], entry["error_code"], entry["is_estimated"]) == ("failed", "upstream_closed", 1)
    assert entry["input_tokens"] > 0
    assert entry["cost_nanos"] == entry["input_tokens"] * 250


def test_a_provider_that_dies_in_the_middle_is_paid_for_what_passed(caller: Caller, upstream: Upstream) -> None:
    upstream.answer(event_stream(*STREAM[:2], End.RESET))
    assert caller.ask({**CHAT, "stream": True}).status == 200
    entry = caller.entry()
    assert (entry["outcome"], entry["status"], entry["error_code"]) == ("failed", 200, "upstream_closed")
    assert_estimated(entry)


def assert_estimated(entry: dict[str, Any]) -> None:
    """Fail if the cost is not that of an estimate of what passed."""
    assert entry["is_estimated"]
    assert entry["output_tokens"] > 0
    assert entry["cost_nanos"] == entry["input_tokens"] * 250 + entry["output_tokens"] * 2000


def test_a_provider_that_takes_too_long(accounting: Accounting, upstream: Upstream) -> None:
    caller = accounting(TIMEOUTS={"first_byte": 0.3})
    upstream.answer(silence)
    assert caller.ask().status == 504
    entry = caller.entry()
    assert (entry["outcome"], entry["status"], entry["is_estimated"]) == ("timed_out", 504, 1)


def test_a_call_whose_time_is_over_pays_for_its_prompt_and_for_what_passed(caller: Caller, upstream: Upstream) -> None:
    hurried = ("x-gateway-timeout", "0.4")
    upstream.answer(silence, event_stream(*STREAM[:2], End.STALL))
    assert caller.ask(CHAT, CHAT_PATH, hurried).status == 504
    entry = caller.entry()
    assert (entry["outcome"], entry["status"], entry["error_code"]) == ("timed_out", 504, "deadline_exceeded")
    assert (entry["is_estimated"], entry["output_tokens"]) == (1, 0)
    assert entry["input_tokens"] > 0
    assert caller.ask({**CHAT, "stream": True}, CHAT_PATH, hurried).status == 200
    entry = caller.entry()
    assert (entry["outcome"], entry["status"], entry["error_code"]) == ("timed_out", 200, "deadline_exceeded")
    assert_estimated(entry)


def test_a_caller_that_hangs_up_in_the_middle_pays_for_what_passed(caller: Caller, upstream: Upstream) -> None:
    upstream.answer(event_stream(*STREAM[:2], End.STALL))
    with caller.begin({**CHAT, "stream": True}) as connection:
        connection.read_head()
        connection.read_text_until(b"Hello there")
    entry = caller.entry()
    assert entry["outcome"] == "disconnected"
    assert_estimated(entry)


def test_a_caller_that_hangs_up_while_it_waits_pays_for_its_prompt(caller: Caller, upstream: Upstream) -> None:
    upstream.answer(silence)
    with caller.begin(CHAT):
        upstream.wait_for_requests()
    entry = caller.entry()
    assert (entry["outcome"], entry["status"], entry["is_estimated"]) == ("disconnected", 0, 1)
    assert entry["input_tokens"] > 0


def test_a_provider_that_bills_anyway_is_read_to_the_end(accounting: Accounting, upstream: Upstream) -> None:
    at = f"http://127.0.0.1:{upstream.port}/v1"
    options = {"base_url": at, "allow_private": True, "api_key": "sk-x", "finish_within": 20}
    caller = accounting(PROVIDERS={"openai": {"OPTIONS": options}})
    gate = upstream.gate()
    upstream.answer(event_stream(*STREAM[:2], gate, *STREAM[2:]))
    with caller.begin({**CHAT, "stream": True}) as connection:
        connection.read_head()
        connection.read_text_until(b"Hello there")
    time.sleep(0.5)  # For the gateway to notice.
    gate.open()
    entry = caller.entry()
    assert (entry["outcome"], entry["is_estimated"], entry["cost_nanos"]) == ("disconnected", 0, COST)


def test_a_call_that_is_refused_for_its_form(caller: Caller) -> None:
    assert caller.ask(b'{"model": 5}').status == 400
    entry = caller.entry()
    assert (entry["outcome"], entry["status"], entry["error_code"]) == ("refused", 400, "invalid_json")
    assert entry["attempts"] == 0


def test_lists_and_strangers_leave_no_entry(caller: Caller, upstream: Upstream) -> None:
    ids = [new_request_id() for _ in range(3)]
    caller.raw.get("/v1/models", [BEARER, ("x-request-id", ids[0])])
    caller.raw.post(CHAT_PATH, CHAT, [("authorization", "Bearer gw_wrong"), ("x-request-id", ids[1])])
    caller.raw.post(CHAT_PATH, CHAT, [("x-request-id", ids[2])])
    upstream.answer(json_answer(ANSWER))
    caller.ask()
    assert caller.entry()["status"] == 200
    assert not caller.ledger.query("SELECT 1 FROM ai_gateway_usagerecord WHERE request_id IN (?, ?, ?)", *ids)


@pytest.mark.parametrize(("door", "database"), [("direct", "sqlite"), ("django", "postgresql")], indirect=True)
def test_a_virtual_key_is_named_with_its_owner(start_controlled: Start, upstream: Upstream, door: Door) -> None:
    gateway = start_controlled(door, USAGE_INTERVAL=0.05)
    gateway.shell.run("UsageRecord.objects.all().delete()")
    upstream.answer(json_answer(ANSWER))
    token = gateway.issue("ann", name="accounted", tags=["beta"], metadata={"cost_centre": 7})
    assert gateway.raw.post(CHAT_PATH, CHAT, [("authorization", f"Bearer {token}")]).status == 200
    code = """
row = UsageRecord.objects.filter(key_name="accounted").first()
result = row and [row.key.name, row.key_name, row.user.username, row.tags, row.metadata]
"""
    upstream.wait_for("the call is written down", lambda: gateway.shell.run(code) is not None)
    assert gateway.shell.run(code) == ["accounted", "accounted", "ann", ["beta"], {"cost_centre": 7}]


@pytest.mark.parametrize("door", ["direct"], indirect=True)
def test_a_model_that_nobody_priced_costs_what_is_published(
    start_gateway: StartGateway, site_database: databases.Database, upstream: Upstream
) -> None:
    gateway = start_gateway(site={"PUBLISHED_PRICES": True}, USAGE_INTERVAL=0.05)
    caller = Caller(gateway.port, LedgerReader(site_database["NAME"]))
    upstream.answer(json_answer(ANSWER))
    assert float(caller.ask().header("x-gateway-cost") or 0) > 0
    assert caller.entry()["cost_nanos"] > 0


# Limits. Each is of a model of its own: what other tests used is written down, and counts.


@pytest.fixture
def limited(accounting: Accounting, door: Door) -> Caller:
    """A caller of a gateway with limits of some models, which are named after the limits and the door."""
    limits: dict[str, dict[str, Any]] = {
        "spent": {"measure": "cost", "window": "month", "amount": "0.0087"},
        "warned": {"measure": "requests", "window": "day", "amount": 4, "soft_percent": 75},
        "twenty": {"measure": "requests", "window": "day", "amount": 20},
    }
    of_models = [
        {"name": name, "scope": "model", "subject": f"{name}-{door}", **limit} for name, limit in limits.items()
    ]
    of_groq = {"name": "groq", "scope": "provider", "subject": "groq", "measure": "requests", "amount": 1}
    routes = {"both": ["groq/m", "openai/gpt-5-mini"]}
    return accounting(LIMITS=[*of_models, of_groq], ROUTES=routes, RESERVED_OUTPUT=100)


def refused(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["error"]["code"]


def test_a_rate_is_told_and_kept_to(accounting: Accounting, upstream: Upstream) -> None:
    limit = {"name": "each key", "scope": "key", "measure": "requests", "window": "minute", "amount": 2}
    caller = accounting(LIMITS=[limit])
    upstream.answer(json_answer(ANSWER, headers=[("x-ratelimit-limit-requests", "9999")]))
    first, second, third = (caller.ask() for _ in range(3))
    assert [first.header(f"x-ratelimit-{name}-requests") for name in ("limit", "remaining")] == ["2", "1"]
    assert second.header("x-ratelimit-remaining-requests") == "0"
    assert refused(third) == (429, "rate_limit_exceeded")
    assert 1 <= int(third.header("retry-after") or 0) <= 30
    assert third.header("x-ratelimit-remaining-requests") == "0"
    assert third.header("x-should-retry") is None
    assert "'each key'" in third.json()["error"]["message"]
    assert caller.ask(key=("authorization", f"Bearer {SECOND_GATEWAY_KEY}")).status == 200
    assert [entry["outcome"] for entry in caller.entries()] == ["answered", "answered", "limited", "answered"]
    assert len(upstream.requests) == 3


def test_a_budget_that_is_used_up_ends_it_in_the_words_of_each_dialect(
    limited: Caller, upstream: Upstream, door: Door
) -> None:
    model = f"spent-{door}"
    upstream.answer(json_answer({**ANSWER, "usage": {"prompt_tokens": 1000, "completion_tokens": 4200}}))
    assert limited.ask({**CHAT, "model": model}).status == 200
    answer = limited.ask({**CHAT, "model": model})
    assert refused(answer) == (429, "insufficient_quota")
    assert answer.json()["error"]["type"] == "insufficient_quota"
    assert (answer.header("x-should-retry"), answer.header("retry-after")) == ("false", None)
    answer = limited.ask({**MESSAGES, "model": f"openai/{model}"}, MESSAGES_PATH, ("anthropic-version", "2023-06-01"))
    assert (answer.status, answer.json()["error"]["type"]) == (429, "rate_limit_error")
    assert answer.header("x-should-retry") == "false"


def test_calls_at_once_are_counted_until_their_end(accounting: Accounting, upstream: Upstream) -> None:
    caller = accounting(LIMITS=[{"name": "two", "scope": "key", "measure": "concurrency", "amount": 2}])
    gate = upstream.gate()
    upstream.answer(event_stream(*STREAM[:2], gate, *STREAM[2:]))
    streams = [caller.begin({**CHAT, "stream": True}) for _ in range(2)]
    for stream in streams:
        stream.read_head()
    assert refused(caller.ask()) == (429, "rate_limit_exceeded")
    streams[0].close()
    gate.open()
    list(streams[1].chunks())
    streams[1].close()
    caller.entries()
    upstream.answer(json_answer(ANSWER))
    assert caller.ask().status == 200


def test_a_limit_of_a_provider_sends_the_call_to_the_next_target(limited: Caller, upstream: Upstream) -> None:
    upstream.answer(json_answer(ANSWER))
    answers = [limited.ask({**CHAT, "model": "both"}) for _ in range(2)]
    assert [answer.header("x-gateway-provider") for answer in answers] == ["groq", "openai"]
    assert refused(limited.ask({**CHAT, "model": "groq/m"})) == (429, "rate_limit_exceeded")


def test_a_warning_comes_before_the_end(limited: Caller, upstream: Upstream, door: Door) -> None:
    upstream.answer(json_answer(ANSWER))
    warnings = [limited.ask({**CHAT, "model": f"warned-{door}"}).header("x-gateway-limit-warning") for _ in range(4)]
    assert warnings == [None, None, '"warned"; used=75%', '"warned"; used=100%']


def test_a_budget_for_twenty_admits_twenty_of_two_hundred(limited: Caller, upstream: Upstream, door: Door) -> None:
    upstream.answer(json_answer(ANSWER))
    statuses, ids = at_once(limited.port, f"twenty-{door}", 200)
    assert statuses == {200: 20, 429: 180}
    assert len(upstream.requests) == 20
    assert Counter(entry["outcome"] for entry in limited.ledger.entries(ids)) == {"answered": 20, "limited": 180}


def at_once(port: int, model: str, count: int) -> tuple[Counter[int], Sequence[str]]:
    """Call so often at once, on connections of their own; give the statuses and the request ids."""
    barrier = threading.Barrier(50)
    ids = [new_request_id() for _ in range(count)]
    body = json.dumps({**CHAT, "model": model}).encode()

    def call(number: int) -> int:
        if number < 50:
            barrier.wait()
        with RawConnection(port) as connection:
            connection.request("POST", CHAT_PATH, [BEARER, JSON, ("x-request-id", ids[number])], body)
            return connection.read_head().status

    with ThreadPoolExecutor(50) as pool:
        return Counter(pool.map(call, range(count))), ids


@pytest.mark.parametrize(
    ("database", "store"), [("sqlite", "redis"), ("postgresql", "database")], indirect=["database"]
)
def test_four_workers_admit_twenty_of_two_hundred_together(
    start_controlled: Start, upstream: Upstream, store: str, request: pytest.FixtureRequest
) -> None:
    options: dict[str, Any] = {}
    if store == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        options = {"url": server.url, "timeout": 20}
    gateway = start_controlled(
        "direct",
        "--workers",
        "4",
        LIMITS=[{"name": "twenty", "measure": "requests", "window": "day", "amount": 20}],
        LIMIT_STORE={"BACKEND": store, "OPTIONS": options, "TIMEOUT": 20},
        USAGE_INTERVAL=0.05,
    )
    upstream.wait_for("all workers serve", lambda: gateway.process.log().count("Application startup complete") == 4, 60)
    gateway.shell.run("UsageRecord.objects.all().delete(); UsageDaily.objects.all().delete()")
    upstream.answer(json_answer(ANSWER))
    statuses, _ = at_once(gateway.process.port, "gpt-5-mini", 200)
    assert statuses == {200: 20, 429: 180}
    code = "from collections import Counter; result = Counter(UsageRecord.objects.values_list('outcome', flat=True))"
    upstream.wait_for("all calls are written down", lambda: sum(gateway.shell.run(code).values()) >= 200)
    assert gateway.shell.run(code) == {"answered": 20, "limited": 180}


@pytest.mark.parametrize("door", ["direct"], indirect=True)
@pytest.mark.parametrize("policy", ["closed", "open"])
def test_one_call_beyond_all_measure_takes_redis_away_from_nobody(
    start_gateway: StartGateway, upstream: Upstream, redis_server: RedisServer, policy: str
) -> None:
    who = ("x-user-id", new_request_id())
    store = {"BACKEND": "redis", "OPTIONS": {"url": redis_server.url}, "ON_FAILURE": policy, "TIMEOUT": 5}
    each = {"scope": "header", "header": who[0]}
    limits = [
        {"name": "tokens", "measure": "tokens", "window": "minute", "amount": 100_000, **each},
        {"name": "three", "measure": "requests", "window": "day", "amount": 3, **each},
    ]
    upstream.answer(json_answer(ANSWER))
    raw = RawClient(start_gateway(LIMITS=limits, LIMIT_STORE=store).port)
    asked = (CHAT, {**CHAT, "max_tokens": 10**30}, CHAT, CHAT, CHAT)
    answers = [raw.post(CHAT_PATH, body, [BEARER, who]) for body in asked]
    assert [answer.status for answer in answers] == [200, 429, 200, 200, 429]
