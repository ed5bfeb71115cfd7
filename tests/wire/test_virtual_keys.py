"""Virtual keys of the database, as callers meet them: through both doors, with each kind of database."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ai_gateway import crypto
from tests.raw_client import Answer
from tests.upstream import Upstream
from tests.wire.conftest import LIVE, ControlledGateway, Start
from tests.wire.samples import CHAT, CHAT_PATH, MESSAGES, MESSAGES_PATH

one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For tests of what has little to do with the kind of database."""

one_door = pytest.mark.parametrize("door", ["direct"], indirect=True)
"""For tests of what has nothing to do with the door."""


def within(seconds: float, ask: Callable[[], Answer], status: int) -> Answer:
    """Ask until this status comes, and fail if it does not come in time."""
    deadline = time.monotonic() + seconds
    while (answer := ask()).status != status:
        assert time.monotonic() < deadline, (answer.status, answer.body)
        time.sleep(0.1)
    return answer


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what has to come within the time that a change may take."""
    deadline = time.monotonic() + LIVE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_key_works_as_soon_as_it_is_made_and_until_it_is_revoked(controlled: ControlledGateway) -> None:
    token = controlled.issue("ann")
    assert controlled.ask(token).status == 200
    controlled.shell.command("gateway_key", "revoke", token)
    answer = within(LIVE, lambda: controlled.ask(token), 401)
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert token not in answer.body.decode()


@one_database
@one_door
@pytest.mark.parametrize(
    "change",
    [
        "user = User.objects.get(); user.is_active = False; user.save()",
        "User.objects.update(is_active=False)",  # Tells nobody, so it is found when the key is read again.
        "User.objects.get().delete()",
        "VirtualKey.objects.update(is_active=False)",
        "VirtualKey.objects.get().delete()",
        "user = User.objects.get(); user.groups.clear()",
    ],
)
def test_whatever_ends_a_key_does_so_within_seconds(controlled: ControlledGateway, change: str) -> None:
    """T62."""
    token = controlled.shell.run("ann = make_user('ann', 'team'); result = make_key(ann, group=ann.groups.get())[1]")
    assert controlled.ask(token).status == 200
    controlled.shell.run(change)
    within(LIVE + 0.5, lambda: controlled.ask(token), 401)


def test_a_key_that_is_exchanged_ends_and_the_new_one_begins(controlled: ControlledGateway) -> None:
    token = controlled.issue("ann")
    assert controlled.ask(token).status == 200
    fresh = controlled.shell.command("gateway_key", "rotate", token)
    within(LIVE, lambda: controlled.ask(fresh), 200)
    assert controlled.ask(token).status == 401


@one_database
def test_a_key_may_come_in_each_header_and_goes_no_further(controlled: ControlledGateway, upstream: Upstream) -> None:
    """T54."""
    token = controlled.issue("ann")
    for header in ("authorization", "x-api-key", "api-key", "x-goog-api-key"):
        value = f"Bearer {token}" if header == "authorization" else token
        assert controlled.raw.post(CHAT_PATH, {**CHAT, "model": "openai/gpt-5"}, [(header, value)]).status == 200
        assert token not in repr(upstream.requests[-1].headers)


@one_database
def test_two_credentials_that_disagree_and_a_key_in_the_query_are_refused(
    controlled: ControlledGateway, upstream: Upstream
) -> None:
    token = controlled.issue("ann")
    assert controlled.ask(token, x_api_key="sk-own").status == 401
    for name in ("key", "api_key", "access_token"):
        assert controlled.raw.post(f"{CHAT_PATH}?{name}={token}", CHAT).status == 401
    assert not upstream.requests


@one_database
def test_a_key_is_held_to_what_it_is_for(controlled: ControlledGateway, upstream: Upstream) -> None:
    token = controlled.issue(
        "ann",
        allowed_models=["echo/*", "fast"],
        allowed_providers=["echo", "openai"],
        allowed_endpoints=["chat/*", "models"],
    )
    assert controlled.ask(token).status == 200
    assert controlled.ask(token, "fast").status == 200
    refused = [
        controlled.ask(token, "openai/gpt-5"),
        controlled.ask(token, "gpt-5"),
        controlled.ask(token, "echo-1", x_provider="groq"),
        controlled.ask(token, "no-such-model"),
        controlled.raw.post(MESSAGES_PATH, {**MESSAGES, "model": "echo/echo-1"}, [("x-api-key", token)]),
    ]
    assert [answer.status for answer in refused] == [404] * 5
    for answer in refused[:-1]:
        assert answer.json()["error"]["code"] == "model_not_found"
    assert len(upstream.requests) == 1


def test_the_list_of_models_shows_what_the_caller_may_use(controlled: ControlledGateway) -> None:
    controlled.shell.run("make_route('open', 'echo/echo-1'); make_route('closed', 'echo/echo-1', is_public=False)")
    restricted = controlled.issue("ann", allowed_models=["open", "echo/*"], allowed_providers=["echo"])
    free = controlled.issue("bob")

    def listed(token: str) -> set[str]:
        answer = controlled.raw.get("/v1/models", [("authorization", f"Bearer {token}")])
        return {entry["id"] for entry in answer.json()["data"]}

    wait_until(lambda: "open" in listed(free))
    assert listed(restricted) == {"open", "echo/echo-1"}
    assert {"open", "fast"} <= listed(free)
    assert "closed" not in listed(free)
    assert controlled.ask(free, "closed").status == 404
    controlled.shell.run("Route.objects.get(name='closed').users.add(User.objects.get(username='bob'))")
    within(LIVE, lambda: controlled.ask(free, "closed"), 200)
    assert "closed" in listed(free)


@one_database
def test_networks_are_enforced(controlled: ControlledGateway) -> None:
    assert controlled.ask(controlled.issue("ann", allowed_networks=["127.0.0.0/8"])).status == 200
    assert controlled.ask(controlled.issue("ann", allowed_networks=["192.0.2.0/24"])).status == 401


FUZZ = [
    "gw_",
    "gw_' OR 1=1 --",
    "gw_" + "a" * 62,
    "gw_" + "a" * 65536,
    "gw_\x7f\xff",
    "gw_AAAAAAAAAAAA_" + "0" * 49,
    '"',
    "gw_a,gw_b",
]


@one_database
def test_what_is_no_key_is_refused_alike_and_never_echoed(controlled: ControlledGateway) -> None:
    """T61, T64."""
    token = controlled.issue("ann")
    similar = token[:30] + ("0" if token[30] != "0" else "1") + token[31:]
    for value in (*FUZZ, similar, token.lower(), f"{token}x", crypto.issue_key().token):
        if not value.startswith("gw_"):
            continue
        answer = controlled.raw.post(CHAT_PATH, CHAT, [("x-api-key", value)])
        assert answer.status in (400, 401, 431), value[:80]
        if answer.status == 401:
            assert answer.json()["error"]["message"].startswith("Incorrect API key provided: this gateway key")
        assert value.encode("latin-1") not in answer.body
    assert controlled.raw.post(CHAT_PATH, CHAT, [("x_api_key", token)]).status == 401  # T63.


@one_door
def test_many_bad_keys_leave_memory_flat_and_good_ones_served(controlled: ControlledGateway) -> None:
    """T16, bounded: half of them malformed, half with a checksum that fits."""
    token = controlled.issue("ann")
    assert controlled.ask(token).status == 200
    bad = [crypto.issue_key().token if number % 2 else f"gw_{number:062d}" for number in range(3000)]

    def refused(part: list[str]) -> set[int]:
        with controlled.raw.connect() as connection:
            return {_status(connection, each) for each in part}

    with ThreadPoolExecutor(16) as pool:
        statuses = set().union(*pool.map(refused, [bad[start:1000:16] for start in range(16)]))
        before = controlled.process.resident_kib
        statuses |= set().union(*pool.map(refused, [bad[1000 + start :: 16] for start in range(16)]))
    assert statuses == {401}
    assert controlled.process.resident_kib - before < 4096
    assert controlled.ask(token).status == 200


def _status(connection: Any, token: str) -> int:
    body = json.dumps(CHAT).encode()
    connection.request("POST", CHAT_PATH, [("x-api-key", token), ("content-type", "application/json")], body)
    return int(connection.read_answer("POST").status)


def test_when_a_key_was_used_is_written_down_by_the_time_the_process_ends(start_controlled: Start) -> None:
    gateway = start_controlled()
    used, unused = gateway.issue("ann", name="used"), gateway.issue("ann", name="unused")
    assert gateway.ask(used).status == 200
    gateway.process.stop()
    last = "result = VirtualKey.objects.get(name=name).last_used_at is not None"
    assert gateway.shell.run(last, name="used")
    assert not gateway.shell.run(last, name="unused")
    assert unused


def test_without_the_encryption_key_nobody_is_taken_for_somebody_else(start_controlled: Start) -> None:
    """T62, T90: keys that cannot be verified are told to come back; a provider's ciphertext goes nowhere."""
    gateway = start_controlled()
    token = gateway.issue("ann")
    gateway.shell.run("make_credential(make_provider('groq', base_url='http://127.0.0.1:9/v1', allow_private=True))")
    other = start_controlled(clear=False, environment={"AI_GATEWAY_ENCRYPTION_KEYS": crypto.generate_key()})
    answer = other.ask(token, "groq/llama")
    assert (answer.status, answer.json()["error"]["code"]) == (503, "keys_unavailable")
    answer = other.ask("gw_test-key-of-team-a", "groq/llama")
    assert (answer.status, answer.json()["error"]["code"]) == (503, "provider_not_configured")
    assert "gw1:" not in other.process.log() + answer.body.decode()


def test_no_secret_of_the_database_stands_in_a_log_or_an_answer(start_controlled: Start, upstream: Upstream) -> None:
    """T69."""
    secret = "sk-canary-of-the-database-0008"
    gateway = start_controlled("direct", "--log-level", "debug")
    token = gateway.issue("ann")
    gateway.shell.run(
        "make_credential(make_provider('groq', backend='custom', base_url=url, allow_private=True), secret=secret)",
        url=f"http://127.0.0.1:{upstream.port}/v1",
        secret=secret,
    )

    def is_sent() -> bool:
        answer = gateway.ask(token, "groq/llama")
        assert answer.status == 200, (answer.body, gateway.process.log())
        return upstream.requests[-1].header("authorization") == f"Bearer {secret}"

    wait_until(is_sent)
    outputs = [gateway.ask(token, model).body for model in ("groq/x", "openai/x", "nobody/x")]
    outputs += [gateway.raw.get(path).body for path in ("/health", "/health/ready", "/health/providers")]
    gateway.process.stop()
    for canary in (secret, token, token[20:60]):
        assert canary not in gateway.process.log()
        assert all(canary.encode() not in output for output in outputs)
