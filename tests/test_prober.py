"""Providers are asked whether they are there, for free, and the breakers hear of it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from ai_gateway import breakers, health, prober
from ai_gateway.breakers import BreakerPolicy
from ai_gateway.calls import Target, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import ConnectFailed, Draining, PoolTimeout
from ai_gateway.prober import ProbePolicy, Prober, pause
from tests.factories import Answer, Scripted, run, states

FIRST, SECOND = Target("openai", "first"), Target("openai", "second")
OTHER = Target("groq", "other")
AWAY = ConnectFailed("Nobody is there.")


@pytest.fixture(autouse=True)
def site(settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site with a route of three targets, whose breakers open at the second failure."""
    monkeypatch.setattr(health, "_outcomes", {})
    settings.AI_GATEWAY = {  # type: ignore[attr-defined]
        "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "sk-stored"}}},
        "ROUTES": {"fast": ["openai/first", "openai/second", "groq/other"]},
        "BREAKERS": {"consecutive": 2},
    }


def ask(*outcomes: Answer | Exception, provider: str = "openai") -> Scripted:
    """Probe a provider as often as there are outcomes."""
    transport = Scripted(*outcomes)
    asked = Prober(ProbePolicy(), transport)

    async def ask_each() -> None:
        for _ in outcomes:
            await asked.ask(provider)

    run(ask_each())
    return transport


def test_the_list_of_models_is_asked_for_with_the_stored_credential() -> None:
    (request,) = ask(Answer(b'{"data": []}')).requests
    assert (request.method, request.target) == ("GET", b"/v1/models")
    assert (b"authorization", b"Bearer sk-stored") in [(name.lower(), value) for name, value in request.headers]
    assert not request.body


@pytest.mark.parametrize("outcome", [AWAY, Answer(status=500), Answer(status=503)])
def test_a_provider_that_is_not_there_opens_the_breakers_of_its_targets(outcome: Answer | Exception) -> None:
    ask(outcome)
    assert states() == {}
    ask(outcome)
    assert states() == {"openai/first": "open", "openai/second": "open"}
    assert breakers.ordered([FIRST, OTHER, SECOND]) == [OTHER, FIRST, SECOND]
    assert health._outcomes["openai"].probed
    assert not health._outcomes["openai"].ok


def test_one_that_is_back_is_tried_by_the_next_call() -> None:
    ask(AWAY, AWAY, Answer(b"{}"))
    assert states() == {"openai/first": "half-open", "openai/second": "half-open"}
    assert health._outcomes["openai"].ok
    assert breakers.begin(FIRST)
    assert states()["openai/first"] == "open"


def test_a_call_that_found_nobody_counts_like_a_probe() -> None:
    for _ in range(2):
        breakers.note(FIRST, BreakerPolicy(consecutive=2), is_good=False, is_out_of_reach=True)
    ask(Answer(b"{}"))
    assert states() == {"openai/first": "half-open"}


@pytest.mark.parametrize("status", [200, 401, 404, 429])
def test_a_target_that_failed_by_itself_waits_on(status: int) -> None:
    """That models are listed does not tell that one of them works."""
    for _ in range(2):
        breakers.note(FIRST, BreakerPolicy(consecutive=2), is_good=False)
    ask(Answer(b"{}", status=status))
    assert states() == {"openai/first": "open"}


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_what_is_refused_is_there(status: int) -> None:
    ask(AWAY, AWAY, Answer(status=status))
    assert set(states().values()) == {"half-open"}


def test_a_rest_that_the_provider_asked_for_is_kept() -> None:
    ask(AWAY, AWAY)
    breakers.rest(FIRST, 60, BreakerPolicy())
    ask(Answer(b"{}"))
    assert states()["openai/first"] == "resting"


@pytest.mark.parametrize("error", [PoolTimeout("All connections are busy."), Draining("This process stops.")])
def test_what_is_our_own_says_nothing_of_a_provider(error: Exception) -> None:
    ask(error, error)
    assert states() == {}
    assert health._outcomes == {}


def test_silence_counts_when_the_patience_is_over() -> None:
    class Silent(Scripted):
        async def send(self, request: UpstreamRequest, timeouts: object) -> UpstreamResponse:
            await asyncio.sleep(60)
            raise AssertionError

    run(Prober(ProbePolicy(timeout=0.01), Silent()).ask("openai"))
    assert health._outcomes["openai"].error == "upstream_timeout"


@pytest.mark.parametrize("provider", ["groq", "echo", "bedrock", "nobody"])
def test_who_cannot_be_asked_for_free_or_with_a_credential_of_ours_is_not_asked(provider: str) -> None:
    assert not ask(Answer(b"{}"), provider=provider).requests
    assert health._outcomes == {}


def test_what_changes_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ai_gateway")
    ask(AWAY, AWAY, Answer(b"{}"), Answer(b"{}"))
    lines = [record.getMessage() for record in caplog.records if "probe" in record.getMessage()]
    assert lines == [
        "The probe of openai found: upstream_unreachable: Nobody is there.",
        "The probe of openai found it well again.",
    ]


def test_probes_go_on_whatever_becomes_of_one_until_they_are_stopped() -> None:
    class Counting(Scripted):
        def __init__(self) -> None:
            super().__init__()
            self.has_enough = asyncio.Event()

        async def send(self, request: UpstreamRequest, timeouts: object) -> UpstreamResponse:
            self.requests.append(request)
            if len(self.requests) == 1:
                raise RuntimeError("a bug")
            if len(self.requests) == 3:
                self.has_enough.set()
            return Answer(b"{}")

    async def watch() -> int:
        transport = Counting()
        asked = Prober(ProbePolicy(providers=("OpenAI", "openai"), interval=0.01), transport)
        asked.start()
        await transport.has_enough.wait()
        await asked.stop()
        return len(asyncio.all_tasks())

    assert run(watch()) == 1


def test_nobody_is_asked_by_default() -> None:
    async def tasks() -> int:
        started = prober.start(Scripted())
        found = len(asyncio.all_tasks())
        await started.stop()
        return found

    assert run(tasks()) == 1


def test_processes_do_not_ask_in_step() -> None:
    pauses = [pause(30) for _ in range(200)]
    assert all(15 <= each <= 45 for each in pauses)
    assert len(set(pauses)) > 190
