"""The kit in use: without pytest, without a database, with settings of the test's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import SimpleTestCase, TestCase, override_settings

from ai_gateway import breakers, conf, gateway, ledger, refresher, registry
from ai_gateway.client import async_client, sync_client
from ai_gateway.errors import UpstreamTimeout
from ai_gateway.meter import Entry
from ai_gateway.models import UsageRecord
from ai_gateway.test import Answer, FakeProviders, Sent, fails, is_silent, is_unreachable, says
from ai_gateway.test.transport import ScriptedTransport
from tests.control.rows import make_route, make_user

CHAT = "/v1/chat/completions"
KEY = "gw_key-of-the-sites-own-code"
ASKED: dict[str, Any] = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}


class TestWithUnittest(TestCase):
    def test_a_call_and_its_row(self) -> None:
        user = make_user()
        with FakeProviders() as providers, sync_client(user=user) as client:
            client.post(CHAT, json=ASKED)
            assert providers.request.json["model"] == "gpt-5"
            [record] = providers.records()
            assert (record.user, record.output_tokens) == (user, 5)
            assert providers.records() == [record], "it is written once"
        assert UsageRecord.objects.count() == 1

    async def test_an_asynchronous_test(self) -> None:
        user = await sync_to_async(make_user)()
        with FakeProviders() as providers:
            async with async_client(user=user) as client:
                answer = await client.post(CHAT, json=ASKED)
            assert answer.status_code == 200
            assert providers.usage[0].user_id == user.pk


class TestWithoutDatabase(SimpleTestCase):
    @override_settings(AI_GATEWAY={"KEYS": {"site": KEY}, "ROUTES": {"fast": ["openai/a", "anthropic/b", "gemini/c"]}})
    def test_a_route_with_fallbacks(self) -> None:
        with FakeProviders(database=False) as providers, sync_client(key=KEY) as client:
            providers.answer(fails(503), is_unreachable(), says("at last"))
            answer = client.post(CHAT, json={**ASKED, "model": "fast"})
            assert answer.json()["choices"][0]["message"]["content"] == "at last"
            formats = [sent.format for sent in providers.sent]
            assert formats == ["openai_chat", "anthropic_messages", "gemini"]
            assert providers.usage[0].attempts == 3

    @override_settings(AI_GATEWAY={"KEYS": {"site": KEY}, "ROUTES": {"fast": ["openai/a", "anthropic/b"]}})
    def test_what_was_sent_and_not_answered_is_not_sent_again(self) -> None:
        with FakeProviders(database=False) as providers, sync_client(key=KEY) as client:
            providers.answer(is_silent(), says("too late"))
            assert client.post(CHAT, json={**ASKED, "model": "fast"}).status_code == 504
            assert (providers.usage[0].outcome, len(providers.sent)) == ("timed_out", 1)


def test_everything_is_left_as_it_was_found() -> None:
    def state() -> list[Any]:
        return [
            getattr(settings, "AI_GATEWAY", None),
            refresher.refresher,
            ledger.ledger,
            registry.key_cache,
            list(registry.SOURCES),
            breakers.listeners,
            type(gateway.new_transport()),
        ]

    before = state()
    with FakeProviders(database=False, KEYS={"site": KEY}) as providers, sync_client(key=KEY) as client:
        assert isinstance(gateway.new_transport(), ScriptedTransport)
        providers.answer(fails(500))
        for _ in range(6):
            client.post(CHAT, json=ASKED)
        assert breakers.findings()
    assert state() == before
    assert not breakers.findings()


def test_no_real_credential_is_used_and_nothing_is_shared() -> None:
    site = {
        "KEYS": {"site": KEY},
        "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "sk-real"}}, "echo": {"OPTIONS": {"delay": 0.0}}},
        "LIMIT_STORE": {"BACKEND": "redis"},
    }
    with override_settings(AI_GATEWAY=site), FakeProviders(database=False) as providers, sync_client(key=KEY) as client:
        client.post(CHAT, json=ASKED)
        assert client.post(CHAT, json={**ASKED, "model": "echo/echo-1"}).json()["choices"], "it needs no network anyway"
        assert conf.settings.LIMIT_STORE == {}
    assert providers.request.headers["authorization"] == "Bearer sk-test"


def test_a_provider_of_several_secrets_gets_none_of_them() -> None:
    options = {"region": "us-east-1", "access_key_id": "AKREAL", "secret_access_key": "a real one"}
    site = {"KEYS": {"site": KEY}, "PROVIDERS": {"bedrock": {"OPTIONS": options}}}
    with override_settings(AI_GATEWAY=site), FakeProviders(database=False) as providers, sync_client(key=KEY) as client:
        client.post(CHAT, json={**ASKED, "model": "bedrock/anthropic.claude"})
        assert "Credential=sk-test/" in providers.request.headers["authorization"]


def test_a_stream_that_a_test_leaves_open_takes_no_place_of_the_next_one() -> None:
    limited = {"openai": {"OPTIONS": {"max_concurrency": 1}}}
    client = sync_client(key=KEY)
    left = []
    for _ in range(2):
        with FakeProviders(database=False, KEYS={"site": KEY}, PROVIDERS=limited) as providers:
            providers.answer(says("A long story").stalled_after(2))
            request = client.build_request("POST", CHAT, json={**ASKED, "stream": True})
            left.append(client.send(request, stream=True))
    client.close()
    assert [each.status_code for each in left] == [200, 200]


def test_an_answer_may_depend_on_the_request() -> None:
    with FakeProviders(database=False, KEYS={"site": KEY}) as providers, sync_client(key=KEY) as client:
        providers.answer(lambda sent: says(sent.json["messages"][0]["content"].upper()))
        answer = client.post(CHAT, json=ASKED)
        assert client.get("/v1/models").status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "HELLO"
    assert len(providers.sent) == 1, "lists of models are not counted"


def forgets_nothing(sent: Sent) -> Answer:
    assert sent.json.get("temperature") == 0, "it was forgotten"
    return says("Hello")


def test_what_goes_wrong_in_a_script_is_the_tests() -> None:
    with (  # noqa: PT012
        pytest.raises(AssertionError, match="it was forgotten"),
        FakeProviders(database=False, KEYS={"site": KEY}) as providers,
        sync_client(key=KEY) as client,
    ):
        providers.answer(forgets_nothing)
        assert client.post(CHAT, json=ASKED).status_code == 500  # Which the code under test may bear.
    assert type(gateway.new_transport()) is not ScriptedTransport


def test_it_is_told_by_what_was_sent_too() -> None:
    with FakeProviders(database=False, KEYS={"site": KEY}) as providers, sync_client(key=KEY) as client:
        client.post("/v1/embeddings", json={"model": "m", "input": "Hello"})
        with pytest.raises(AssertionError, match="no format"):
            providers.request  # noqa: B018
        assert providers.request.json["input"] == "Hello"


@pytest.mark.parametrize("reactions", [(), ("Hello",), (says("Hello"), {"choices": []})])
def test_what_is_no_answer_is_refused(reactions: Any) -> None:
    with pytest.raises(TypeError, match="says"):
        FakeProviders(database=False).answer(*reactions)


def test_providers_are_started_once_at_a_time() -> None:
    before = type(gateway.new_transport())
    providers = FakeProviders(database=False)
    for _ in range(2):
        with providers, pytest.raises(RuntimeError, match="in use"):
            providers.start()
        assert type(gateway.new_transport()) is before
    providers.stop()


def test_no_test_gets_the_answer_of_another_one() -> None:
    cache = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "the-sites"}}
    with override_settings(CACHES=cache, AI_GATEWAY={"KEYS": {"site": KEY}, "RESPONSE_CACHE": {}}):
        for _ in range(2):
            with FakeProviders(database=False) as providers, sync_client(key=KEY) as client:
                assert "x-gateway-cache" not in client.post(CHAT, json=ASKED).headers
                assert len(providers.sent) == 1


def test_the_gateways_time_limits_are_kept() -> None:
    limits = {"first_byte": 0.02, "idle": 0.02}
    with (
        FakeProviders(database=False, KEYS={"site": KEY}, TIMEOUTS=limits) as providers,
        sync_client(key=KEY) as client,
    ):
        providers.answer(says("late").after(60), says("one two").stalled_after(2))
        assert client.post(CHAT, json=ASKED).status_code == UpstreamTimeout.status
        assert b"stopped sending" in client.post(CHAT, json={**ASKED, "stream": True}).content


def test_who_waits_in_vain_is_told() -> None:
    with FakeProviders(database=False) as providers:
        with pytest.raises(AssertionError, match="0 requests"):
            _ = providers.request
        providers.usage.put(Entry(id="1", request_id="", started_at=0.0, outcome="answered"))
        assert len(providers.usage.wait_for(1)) == 1


SCRIPT = FakeProviders(database=False)


def test_settings_may_name_the_transport() -> None:
    entry = {"BACKEND": "ai_gateway.test.transport.ScriptedTransport", "OPTIONS": {"script": f"{__name__}.SCRIPT"}}
    providers = {"openai": {"OPTIONS": {"api_key": "sk-x"}}}
    given = {"TRANSPORT": entry, "KEYS": {"site": KEY}, "PROVIDERS": providers}

    async def call() -> int:
        async with async_client(key=KEY) as client:
            status: int = (await client.post(CHAT, json=ASKED)).status_code
            return status

    with override_settings(AI_GATEWAY=given):
        assert asyncio.run(call()) == 200
    assert SCRIPT.request.model == "gpt-5"


@pytest.mark.django_db
def test_the_fixture_has_a_database_if_the_test_has_one(fake_providers: FakeProviders) -> None:
    assert registry.key_cache is not None


def test_the_fixture_needs_none(fake_providers: FakeProviders) -> None:
    assert registry.key_cache is None


@pytest.mark.usefixtures("fake_providers")
class TestWithTheFixture(TestCase):
    def test_it_sees_the_database_of_djangos_test_cases(self) -> None:
        with sync_client(user=make_user()) as client:
            make_route("fast", "anthropic/claude-5")
            assert client.post(CHAT, json={**ASKED, "model": "fast"}).status_code == 200
