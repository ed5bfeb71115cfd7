"""What becomes of the calls of the site's own code: who they are of, how they end, and what is left of them."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.test import override_settings

from ai_gateway import gateway, inprocess, live
from ai_gateway.calls import Timeouts, UpstreamRequest, UpstreamResponse
from ai_gateway.client import async_client, sync_client
from ai_gateway.client.background import Background, background
from ai_gateway.client.transports import DEEPEST
from ai_gateway.credentials import Secret
from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.providers import Provider
from ai_gateway.test import Answer, FakeProviders, Sent, says, sends
from tests.control.rows import make_key, make_route, make_user
from tests.gateway_process import site_environment
from tests.upstream import Upstream

CHAT = "/v1/chat/completions"
KEY = "gw_key-of-the-sites-own-code"
ASKED: dict[str, Any] = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}
STREAMED = {**ASKED, "stream": True}


@pytest.fixture
def providers() -> Any:
    with FakeProviders(database=False, KEYS={"site": KEY}) as made:
        yield made


# Who calls.


@pytest.mark.django_db
class TestCallers:
    def test_a_user(self, fake_providers: FakeProviders) -> None:
        user = make_user("ann", "shop")
        with sync_client(user=user) as client:
            assert client.post(CHAT, json=ASKED).status_code == 200
        [record] = fake_providers.records()
        assert (record.user, record.outcome, record.input_tokens) == (user, "answered", 10)

    def test_a_key_that_was_made_in_the_same_transaction(
        self, fake_providers: FakeProviders, encryption_key: str
    ) -> None:
        with transaction.atomic():
            key, token = make_key(make_user(), tags=["keys"], metadata={"team": "a", "own": 1})
            for each in (key, token, Secret(token)):
                with sync_client(key=each, tags=["nightly"], metadata={"job": 7, "own": 2}) as client:
                    assert client.post(CHAT, json=ASKED, headers={"x-project-id": "shop"}).status_code == 200
        records = fake_providers.records(3)
        assert {record.key_id for record in records} == {key.pk}
        assert [record.tags for record in records] == [["keys", "nightly"]] * 3
        assert records[0].metadata == {"team": "a", "own": 1, "job": 7}, "what a key says cannot be unsaid"
        assert records[0].project == "shop"

    def test_whoever_may_not_is_refused_like_anywhere(self, fake_providers: FakeProviders, encryption_key: str) -> None:
        user = make_user()
        revoked, _ = make_key(user, is_active=False)
        bound, _ = make_key(user, allowed_networks=["10.0.0.0/8"])
        limited, token = make_key(user, allowed_models=["small"])
        inactive = make_user("bob", is_active=False)
        cases: list[tuple[dict[str, Any], int]] = [
            ({"key": revoked}, 401),
            ({"key": bound}, 401),
            ({"key": limited}, 404),
            ({"key": token + "x"}, 401),
            ({"user": inactive}, 401),
            ({"user": AnonymousUser()}, 401),
        ]
        for who, status in cases:
            with sync_client(**who) as client:
                assert client.post(CHAT, json=ASKED).status_code == status, who
        assert not fake_providers.sent

    def test_a_client_notices_what_becomes_of_its_user(
        self, fake_providers: FakeProviders, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ai_gateway.client.identity.FRESH", 0)
        user = make_user()
        found = type(user)._default_manager.filter(pk=user.pk)
        with sync_client(user=user) as client:
            assert client.post(CHAT, json=ASKED).status_code == 200
            found.update(is_active=False)
            assert client.post(CHAT, json=ASKED).status_code == 401
            found.update(is_active=True)
            assert client.post(CHAT, json=ASKED).status_code == 200
            found.delete()
            assert client.post(CHAT, json=ASKED).status_code == 401

    def test_routes_of_the_database_are_for_whom_they_are_for(self, fake_providers: FakeProviders) -> None:
        ann, bob = make_user("ann"), make_user("bob")
        make_route("fast", "anthropic/claude-5", is_public=False).users.add(ann)
        statuses = [
            sync_client(user=user).post(CHAT, json={**ASKED, "model": "fast"}).status_code for user in (ann, bob)
        ]
        assert statuses == [200, 404]
        assert fake_providers.request.format == "anthropic_messages"


def test_somebody_must_be_named() -> None:
    nobody: dict[str, Any] = {}
    for who in (nobody, {"user": object(), "key": KEY}):
        with pytest.raises(TypeError, match="as somebody"):
            sync_client(**who)
    with pytest.raises(TypeError, match="not one text"):
        async_client(key=KEY, tags="nightly")


def test_limits_hold(providers: FakeProviders) -> None:
    limit = {"name": "each", "scope": "key", "measure": "requests", "window": "minute", "amount": 1}
    with (
        override_settings(AI_GATEWAY={"KEYS": {"site": KEY}, "PROVIDERS": {"echo": {}}, "LIMITS": [limit]}),
        sync_client(key=KEY) as client,
    ):
        answers = [client.post(CHAT, json={**ASKED, "model": "echo/echo-1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]


# How calls end.


def test_a_stream_that_is_closed_early_closes_the_providers(providers: FakeProviders) -> None:
    """Its first pieces are there while the provider has not said the rest: it does stream."""
    providers.answer(says("one two three").stalled_after(3))
    with sync_client(key=KEY) as client, client.stream("POST", CHAT, json=STREAMED) as response:
        assert b"one" in b"".join(piece for _, piece in zip(range(3), response.iter_raw(), strict=False))
        assert live.count() == 1
    assert providers.usage.wait_for()[0].outcome == "disconnected"
    assert providers.request.was_closed_early
    assert live.count() == 0


def test_so_does_one_on_an_event_loop(providers: FakeProviders) -> None:
    async def call() -> None:
        async with async_client(key=KEY) as client, client.stream("POST", CHAT, json=STREAMED) as response:
            async for _ in response.aiter_raw():
                return

    providers.answer(says("one two three").stalled_after(3))
    asyncio.run(call())
    assert providers.usage[0].outcome == "disconnected"
    assert providers.request.was_closed_early


def opened(client: Any) -> httpx.Response:
    """Begin a stream."""
    found: httpx.Response = client.send(client.build_request("POST", CHAT, json=STREAMED), stream=True)
    return found


@pytest.mark.parametrize("is_begun", [False, True])
@pytest.mark.parametrize("how", ["lost", "client closed"])
def test_a_stream_that_nobody_closes_ends_when_nobody_has_it(
    how: str, is_begun: bool, providers: FakeProviders
) -> None:
    providers.answer(says("one two three").stalled_after(3))
    client = sync_client(key=KEY)
    response = opened(client)
    if is_begun:
        next(response.iter_raw())
    assert live.count() == 1
    if how == "lost":
        del response
        gc.collect()
    else:
        client.close()
    assert providers.usage.wait_for()[0].outcome == "disconnected"
    assert providers.request.was_closed_early
    assert live.count() == 0


@pytest.mark.parametrize("how", ["lost", "client closed", "loop ended"])
def test_so_does_one_of_an_event_loop(how: str, providers: FakeProviders) -> None:
    async def call() -> httpx.Response | None:
        client = async_client(key=KEY)
        response: httpx.Response | None = await opened(client)  # type: ignore[misc]
        if how == "lost":
            response = None
            gc.collect()
            await asyncio.to_thread(providers.usage.wait_for)
        elif how == "client closed":
            await client.aclose()
            assert len(providers.usage) == 1
        return response

    providers.answer(says("one two three").stalled_after(3))
    response = asyncio.run(call())
    assert [entry.outcome for entry in providers.usage] == ["disconnected"]
    assert live.count() == 0
    del response
    gc.collect()


def test_a_client_that_is_closed_leaves_who_reads_alone(providers: FakeProviders) -> None:
    async def call() -> None:
        client, begun = async_client(key=KEY), asyncio.Event()
        response = await opened(client)  # type: ignore[misc]

        async def read() -> bytes:
            pieces = []
            async for piece in response.aiter_raw():
                pieces.append(piece)
                begun.set()
            return b"".join(pieces)

        reading = asyncio.ensure_future(read())
        await begun.wait()
        await client.aclose()
        assert b"three" in await reading

    providers.answer(says("one two three").slowly(0.05))
    asyncio.run(call())
    assert [entry.outcome for entry in providers.usage] == ["answered"]


def test_a_cancelled_task_ends_its_call(providers: FakeProviders) -> None:
    async def call() -> None:
        async with async_client(key=KEY) as client:
            task = asyncio.ensure_future(client.post(CHAT, json=ASKED))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    def think(sent: Sent) -> Answer:
        asked.set()
        return says("late").after(60)

    asked = asyncio.Event()
    providers.answer(think)
    asyncio.run(call())
    assert providers.usage[0].outcome == "disconnected"


@pytest.mark.parametrize("body", [ASKED, STREAMED])
def test_a_library_s_time_limit_is_kept(providers: FakeProviders, body: dict[str, Any]) -> None:
    async def call() -> None:
        async with async_client(key=KEY, timeout=0.05) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(CHAT, json=body)

    providers.answer(says("one two three").stalled_after(2))
    with sync_client(key=KEY, timeout=0.05) as client, pytest.raises(httpx.ReadTimeout):
        client.post(CHAT, json=body)
    asyncio.run(call())
    assert [entry.outcome for entry in providers.usage.wait_for(2)] == ["disconnected"] * 2


def test_an_answer_that_breaks_off_is_the_librarys_error(providers: FakeProviders) -> None:
    providers.answer(sends(b"half of a file", b"more", content_type="audio/mpeg").cut_after(1))
    with sync_client(key=KEY) as client, pytest.raises(httpx.RemoteProtocolError):
        client.post("/v1/audio/speech", json={"model": "tts-1", "input": "x", "voice": "y"})


def test_an_operator_can_end_a_call(providers: FakeProviders) -> None:
    providers.answer(says("late").after(60))
    answers: list[int] = []
    with sync_client(key=KEY) as client:
        thread = threading.Thread(target=lambda: answers.append(client.post(CHAT, json=ASKED).status_code))
        thread.start()
        while not providers.sent:
            thread.join(0.005)
        [call] = live.listed()
        assert live.cancel(call.id, "a test")
        thread.join()
    assert answers == [providers.usage[0].status]
    assert providers.usage[0].error_code == "cancelled_by_operator"


# Where calls run, and what is left.


def real(upstream: Upstream) -> Any:
    options = {"base_url": f"http://127.0.0.1:{upstream.port}/v1", "allow_private": True, "api_key": "sk-x"}
    return override_settings(AI_GATEWAY={"KEYS": {"site": KEY}, "PROVIDERS": {"openai": {"OPTIONS": options}}})


def test_each_event_loop_has_connections_of_its_own_and_leaves_none(upstream: Upstream) -> None:
    async def call() -> None:
        async with async_client(key=KEY) as client:
            for _ in range(2):
                assert (await client.post(CHAT, json=ASKED)).json() == {"ok": True}

    with real(upstream):
        before, opened = len(gateway.transports()), upstream.opened
        for number in (1, 2):
            asyncio.run(call())
            assert upstream.opened - opened == number
            upstream.wait_for("its connections are closed", lambda: upstream.open == 0)
        assert len(gateway.transports()) == before
        assert not [loop for loop in inprocess._ends if loop.is_closed()]


def test_threads_share_one_loop_and_its_connections(upstream: Upstream) -> None:
    def call() -> None:
        assert client.post(CHAT, json=ASKED).status_code == 200

    opened = upstream.opened
    with real(upstream), sync_client(key=KEY) as client:
        for _ in range(3):
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
        assert upstream.opened - opened == 1
        background.end()
        upstream.wait_for("its connections are closed", lambda: upstream.open == 0)
        call()  # It begins anew.
        background.end()


def test_a_synchronous_call_on_the_loop_for_them_is_an_error() -> None:
    made = Background()

    async def inner() -> None:
        made.run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="async_client"):
        made.run(inner())
    made.end()


@pytest.mark.parametrize("what", ["asyncio.new_event_loop", "threading.Thread.start"])
def test_a_loop_that_cannot_begin_is_begun_by_the_next_call(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("There is nothing left.")

    made = Background()
    with monkeypatch.context() as patched:
        patched.setattr(what, fail)
        with pytest.raises(RuntimeError, match="nothing left"):
            made.run(asyncio.sleep(0))
    assert made.run(asyncio.sleep(0, "done")) == "done"
    made.end()


class Circle(Provider):
    """A provider of a site that asks the gateway."""

    async def send(self, request: UpstreamRequest, timeouts: Timeouts) -> UpstreamResponse:
        async with async_client(key=KEY) as client:
            answer = await client.post(CHAT, json={**ASKED, "model": "circle/x"})
        raise UpstreamProtocolError(answer.text)


def test_a_circle_ends(providers: FakeProviders) -> None:
    options = {"base_url": "http://x.invalid/v1", "api_key": "sk-x"}
    circle = {"BACKEND": "tests.client.test_calls.Circle", "OPTIONS": options}
    with (
        override_settings(AI_GATEWAY={"KEYS": {"site": KEY}, "PROVIDERS": {"circle": circle}}),
        sync_client(key=KEY) as client,
    ):
        answer = client.post(CHAT, json={**ASKED, "model": "circle/x"})
    assert answer.status_code == 502
    assert len(providers.usage) == DEEPEST


FORKED = """
import os, django
django.setup()
from ai_gateway.client import sync_client

def call():
    with sync_client(key=os.environ["KEY"]) as client:
        body = {"model": "echo/echo-1", "messages": [{"role": "user", "content": "Hello"}]}
        assert client.post("/v1/chat/completions", json=body).status_code == 200

call()
child = os.fork()
call()
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("well")
"""


def test_a_forked_process_begins_anew_and_both_end_well() -> None:
    environment = {**site_environment("direct", {"KEYS": {"site": KEY}, "USAGE": False}, {}), "KEY": KEY}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["well", "well"]), done.stderr
