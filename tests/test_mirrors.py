"""Copies of calls: they go out beside the call, and nothing of them comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import finishing, gateway, mirrors
from ai_gateway.calls import Reply, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import ConnectFailed
from ai_gateway.limits import memory
from ai_gateway.meter import Entry
from ai_gateway.test.providers import Books
from tests.factories import JSON, Answer, Body, Scripted, make_arrival, run

pytestmark = pytest.mark.usefixtures("books")

KEY = (b"authorization", b"Bearer gw_a-key-of-the-settings")
OWN_KEY = (b"authorization", b"Bearer sk-own")
ANSWERED = b'{"model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": 5}}'
MIRROR = {"target": "groq/new", "part": "mirror", "percent": 100}
SETTINGS = {
    "PROVIDERS": {name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in ("openai", "groq")},
    "KEYS": {"team": "gw_a-key-of-the-settings"},
    "PRICES": [{"model": "*", "input": 1, "output": 10}],
}


class Upstreams(Scripted):
    """Answers for two providers, whichever is asked first; a mirror that stalls waits until it is let go."""

    def __init__(self, served: Answer | Exception, copied: Answer | Exception, *, stalls: bool = False) -> None:
        super().__init__()
        self.answers = {"api.openai.com": served, "api.groq.com": copied}
        self.go_on = asyncio.Event()
        if not stalls:
            self.go_on.set()

    async def send(self, request: UpstreamRequest, timeouts: object) -> UpstreamResponse:
        self.requests.append(request)
        if request.origin.host == "api.groq.com":
            await self.go_on.wait()
        answer = self.answers[request.origin.host]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hosts(self) -> list[str]:
        """Who was asked."""
        return sorted(request.origin.host for request in self.requests)


def good() -> Answer:
    return Answer(ANSWERED, headers=[JSON, (b"content-length", b"%d" % len(ANSWERED))])


def copies(books: Books) -> list[Entry]:
    """The copies among the finished calls."""
    return [entry for entry in books if entry.is_mirror]


def ask(
    upstreams: Upstreams, *headers: tuple[bytes, bytes], times: int = 1, mirror: Any = MIRROR, **settings: Any
) -> Sequence[Reply]:
    """Make calls by a route with a mirror, and wait for the copies."""
    routes = {"chat": {"targets": ["openai/old", mirror]}}

    async def main() -> Sequence[Reply]:
        replies = []
        for _ in range(times):
            arrival = make_arrival("/v1/chat/completions", JSON, *(headers or (KEY,)), body=b'{"model": "chat"}')
            replies.append(await gateway.handle(arrival, upstreams))
            await asyncio.sleep(0)
        upstreams.go_on.set()
        await asyncio.gather(*finishing._tasks)
        return replies

    with override_settings(AI_GATEWAY={**SETTINGS, "ROUTES": routes, **settings}):
        return run(main())


def test_a_copy_goes_to_the_mirror_with_the_mirrors_model_and_credential() -> None:
    upstreams = Upstreams(good(), good())
    (reply,) = ask(upstreams)
    assert (reply.status, dict(reply.headers)[b"x-gateway-provider"]) == (200, b"openai")
    (copy,) = [request for request in upstreams.requests if request.origin.host == "api.groq.com"]
    assert b'"new"' in copy.body  # type: ignore[operator]
    assert (b"authorization", b"Bearer stored-groq") in copy.headers


def test_a_copy_has_not_the_key_by_which_the_call_is_done_once() -> None:
    upstreams = Upstreams(good(), good())
    ask(upstreams, KEY, (b"idempotency-key", b"mine"))
    keys = {request.origin.host: dict(request.headers).get(b"idempotency-key") for request in upstreams.requests}
    assert keys == {"api.openai.com": b"mine", "api.groq.com": None}


def test_the_call_waits_for_no_copy() -> None:
    (reply,) = ask(Upstreams(good(), good(), stalls=True))
    assert reply.status == 200


@pytest.mark.parametrize("copied", [ConnectFailed("no"), Answer(b"{}", status=500), RuntimeError("a bug")])
def test_whatever_becomes_of_a_copy_the_call_does_not_notice(copied: Any, books: Books) -> None:
    (reply,) = ask(Upstreams(good(), copied))
    assert (reply.status, reply.body) == (200, ANSWERED)
    assert [entry.outcome for entry in books if not entry.is_mirror] == ["answered"]
    assert [entry.outcome for entry in copies(books)] == ["failed"]


def test_a_copy_that_takes_too_long_is_given_up(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "LONGEST", 0.01)

    class Stuck(Upstreams):
        async def send(self, request: UpstreamRequest, timeouts: object) -> UpstreamResponse:
            if request.origin.host == "api.groq.com":
                await asyncio.Event().wait()
            return await super().send(request, timeouts)

    ask(Stuck(good(), good()))
    assert [entry.outcome for entry in copies(books)] == ["timed_out"]


def test_a_copy_is_written_down_as_nobodys_beside_its_original(books: Books) -> None:
    ask(Upstreams(good(), good()), KEY, (b"x-project-id", b"atlas"))
    (original,) = [entry for entry in books if not entry.is_mirror]
    (copy,) = copies(books)
    assert (original.key_name, original.project) == ("team", "atlas")
    assert (copy.key_name, copy.project, copy.route, copy.provider) == ("", "", "chat", "groq")
    assert (copy.request_id, copy.cost_nanos) == (original.request_id, 10 * 1_000 + 5 * 10_000)
    assert copy.id != original.id


def test_no_limit_of_the_caller_counts_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    store = memory.MemoryStore()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    limit = {"measure": "requests", "window": "day", "amount": 3}
    of_the_caller = [
        {"name": "key", "scope": "key", **limit},
        {"name": "project", "scope": "header", "header": "x-project-id", **limit},
    ]
    upstreams = Upstreams(good(), good())
    upstreams.answers = {host: Answer(b"{}", headers=[JSON]) for host in upstreams.answers}
    replies = ask(upstreams, KEY, (b"x-project-id", b"atlas"), times=4, LIMITS=of_the_caller)
    assert [reply.status for reply in replies] == [200, 200, 200, 429]
    assert upstreams.hosts().count("api.groq.com") == 4


def test_a_limit_of_the_provider_holds_for_copies_too(monkeypatch: pytest.MonkeyPatch) -> None:
    store = memory.MemoryStore()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    limit = {
        "name": "groq",
        "scope": "provider",
        "subject": "groq",
        "measure": "requests",
        "window": "day",
        "amount": 1,
    }
    upstreams = Upstreams(good(), good())
    upstreams.answers = {host: Answer(b"{}", headers=[JSON]) for host in upstreams.answers}
    assert [reply.status for reply in ask(upstreams, times=3, LIMITS=[limit])] == [200, 200, 200]
    assert upstreams.hosts().count("api.groq.com") == 1


def test_a_callers_own_credential_is_shown_to_no_mirror() -> None:
    upstreams = Upstreams(good(), good())
    ask(upstreams, OWN_KEY)
    assert upstreams.hosts() == ["api.openai.com"]


def test_a_mirror_gets_its_percentage() -> None:
    upstreams = Upstreams(good(), good())
    upstreams.answers = {host: Answer(b"{}", headers=[JSON]) for host in upstreams.answers}
    ask(upstreams, times=1000, mirror={**MIRROR, "percent": 20})
    assert upstreams.hosts().count("api.groq.com") == pytest.approx(200, rel=0.3)


def test_a_mirror_that_hangs_piles_up_no_calls() -> None:
    upstreams = Upstreams(good(), good(), stalls=True)
    upstreams.answers = {host: Answer(b"{}", headers=[JSON]) for host in upstreams.answers}
    ask(upstreams, times=mirrors.MOST + 20)
    assert upstreams.hosts().count("api.groq.com") == mirrors.MOST


def test_an_upload_is_not_copied() -> None:
    upstreams = Upstreams(good(), good())
    arrival = make_arrival("/v1/files", (b"content-type", b"multipart/form-data; boundary=x"), KEY, body=b"--x--")
    with override_settings(AI_GATEWAY={**SETTINGS, "ROUTES": {"chat": {"targets": ["openai/old", MIRROR]}}}):
        run(gateway.handle(arrival, upstreams))
    assert upstreams.hosts() == ["api.openai.com"]


def test_the_body_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = Body.read

    async def counted(self: Body, limit: int, seconds: float) -> bytes:
        reads.append(limit)
        return await read(self, limit, seconds)

    monkeypatch.setattr(Body, "read", counted)
    ask(Upstreams(good(), good()))
    assert len(reads) == 1
