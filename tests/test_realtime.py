"""Realtime sessions as the door sees them: how one is opened, what of it is counted, and what ends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import gateway, keys, live, overload, realtime, sessions
from ai_gateway.asgi import GatewayApplication
from ai_gateway.calls import Caller, Reply, Timeouts, UpstreamRequest, UpstreamResponse, UpstreamSocket
from ai_gateway.calls import Message as Said
from ai_gateway.charges import State, Verdict
from ai_gateway.errors import (
    BadRequest,
    ClientDisconnected,
    ConnectFailed,
    InvalidCredential,
    KeysUnavailable,
    SocketClosed,
)
from ai_gateway.guard import Message
from ai_gateway.hops.upgrade import with_model
from ai_gateway.sessions import passable
from ai_gateway.sockets import CallerSocket, shortened
from ai_gateway.test.providers import Books
from ai_gateway.transports import Transport
from tests.factories import Answer, Recorder, Scripted, make_arrival, run
from tests.realtime_upstream import done, event

TOKEN = "gw_a-key-of-the-settings"
KEY = (b"authorization", f"Bearer {TOKEN}".encode())
SETTINGS: dict[str, Any] = {
    "PROVIDERS": {name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in ("openai", "groq")},
    "KEYS": {"team": TOKEN},
    "PRICES": [
        {"model": "gpt-realtime", "input": 4, "output": 16, "output_audio": 64},
        {"model": "whisper-1", "input": 0, "output": 0, "units": {"audio_seconds": "0.0001"}},
    ],
    "ROUTES": {"talk": ["openai/first", "groq/second"]},
}
PATIENCE = 10.0


@pytest.fixture(autouse=True)
def _settings(books: Books) -> Iterator[None]:
    with override_settings(AI_GATEWAY=SETTINGS):
        yield
    assert live.count() == 0, "a session was left behind"
    assert overload.calls.taken == 0, "a place was not given back"


class Provider(UpstreamSocket):
    """A provider's end: it says what it is told to, and remembers what it hears."""

    def __init__(self, *said: Said | Exception, subprotocol: str | None = None) -> None:
        self.status, self.headers, self.subprotocol = 101, [], subprotocol
        self.interrupted = asyncio.get_running_loop().create_future()
        self.heard: asyncio.Queue[Said] = asyncio.Queue()
        self.ended: tuple[int, str] | None = None
        self.is_closed = False
        self._said: asyncio.Queue[Said | Exception] = asyncio.Queue()
        for each in said:
            self.say(each)

    def say(self, what: Said | Exception) -> None:
        self._said.put_nowait(what)

    async def receive(self) -> Said:
        said = await self._said.get()
        if isinstance(said, Exception):
            raise said
        return said

    async def send(self, message: Said) -> None:
        self.heard.put_nowait(message)

    async def close(self, code: int, reason: str) -> None:
        self.ended = (code, reason)

    async def aclose(self) -> None:
        self.is_closed = True


class Providers(Scripted):
    """A transport whose websockets are these, or that is refused so, one after the other."""

    def sockets(self) -> Transport:
        return self


class Visitor:
    """A caller behind a server that speaks ASGI."""

    def __init__(self, query: str = "model=gpt-realtime", *headers: tuple[bytes, bytes], offered: str = "") -> None:
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "path": "/v1/realtime",
            "query_string": query.encode(),
            "headers": [*(headers or [KEY]), *([(b"sec-websocket-protocol", offered.encode())] if offered else [])],
            "subprotocols": [name.strip() for name in offered.split(",") if name],
            "extensions": {"websocket.http.response": {}},
        }
        self._says: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gets: asyncio.Queue[Message] = asyncio.Queue()
        self.is_stuck = False
        self.sticks = asyncio.Event()
        self._says.put_nowait({"type": "websocket.connect"})
        self.task: asyncio.Task[None] | None = None

    def connect(self) -> None:
        application = GatewayApplication(None)  # type: ignore[arg-type]
        self.task = asyncio.create_task(application(self.scope, self._says.get, self._send))

    async def _send(self, message: Message) -> None:
        if self.is_stuck:
            self.sticks.set()
            await asyncio.Event().wait()
        self._gets.put_nowait(message)

    def say(self, message: Said) -> None:
        kind = "text" if isinstance(message, str) else "bytes"
        self._says.put_nowait({"type": "websocket.receive", kind: message})

    def leave(self, code: int = 1000, reason: str = "") -> None:
        self._says.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})

    async def next(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            return await self._gets.get()

    async def event(self) -> dict[str, Any]:
        message = await self.next()
        assert message["type"] == "websocket.send", message
        found: dict[str, Any] = json.loads(message["text"])
        return found

    async def refusal(self) -> tuple[int, str | None]:
        start, body = await self.next(), await self.next()
        await self.gone()
        return start["status"], json.loads(body["body"])["error"]["code"]

    async def gone(self) -> None:
        """Wait until nothing is left of the session."""
        assert self.task is not None
        async with asyncio.timeout(PATIENCE):
            await self.task

    async def hang_up(self) -> None:
        """Leave, and wait until nothing is left of the session."""
        self.leave()
        await self.gone()


Open = Callable[..., Coroutine[Any, Any, None]]


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Providers]:
    """Have the gateway reach these providers."""

    def use(*outcomes: UpstreamResponse | Exception) -> Providers:
        made = Providers(*outcomes)
        monkeypatch.setattr(gateway, "transport_of", lambda loop: made)
        return made

    return use


async def accepted(visitor: Visitor) -> Message:
    """Connect a caller that is let in."""
    visitor.connect()
    message = await visitor.next()
    assert message["type"] == "websocket.accept", message
    return message


async def hear(count: int) -> None:
    """Be a caller that is let in, hears so many events, and hangs up."""
    visitor = Visitor()
    await accepted(visitor)
    for _ in range(count):
        await visitor.event()
    await visitor.hang_up()


# How it is opened.


@pytest.mark.parametrize(
    ("query", "model", "written"),
    [
        (b"model=gpt-realtime", "m", b"model=m"),
        (b"a=1&model=x&b=2&mod%65l=y&deployment=z", "voice/1 2", b"model=voice%2F1%202&a=1&b=2"),
        (b"a=1&Model=x&DEPLOYMENT=z&mod%45l=y", "m", b"model=m&a=1"),
        (b"intent=transcription&model=x", None, b"intent=transcription"),
        (b"", None, b""),
    ],
)
def test_the_query_names_the_model_that_was_decided_on(query: bytes, model: str | None, written: bytes) -> None:
    assert with_model(query, model) == written


@pytest.mark.parametrize(
    ("offered", "theirs", "chosen"),
    [
        ([], None, None),
        (["realtime", "openai-insecure-api-key.k"], "realtime", "realtime"),
        (["openai-insecure-api-key.k", "realtime"], None, "realtime"),
        (["openai-insecure-api-key.k", "other"], "else", "other"),
        (["openai-insecure-api-key.k"], None, None),
    ],
)
def test_a_browser_is_told_one_of_its_subprotocols_and_no_key(
    offered: list[str], theirs: str | None, chosen: str | None
) -> None:
    assert realtime.chosen_subprotocol(offered, theirs) == chosen


@pytest.mark.parametrize("query", [b"model=a&model=b", b"", b"intent=chat", b"model="])
def test_a_handshake_has_to_name_one_model(query: bytes) -> None:
    with pytest.raises(BadRequest) as raised:
        realtime.read_call(make_arrival("/v1/realtime", method="GET", query=query))
    assert raised.value.param == "model"


def test_a_call_that_was_opened_elsewhere_is_nothing_for_the_gateways_credential(
    providers: Callable[..., Providers],
) -> None:
    async def visit() -> tuple[int, str | None]:
        visitor = Visitor("call_id=rtc_1")
        visitor.connect()
        return await visitor.refusal()

    made = providers()
    assert run(visit())[0] == 403
    assert not made.requests


@pytest.mark.parametrize("what", ["accept", "send"])
def test_a_server_that_says_by_an_error_that_the_caller_is_gone_is_understood(what: str) -> None:
    async def gone(message: Message) -> None:
        raise OSError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        caller = CallerSocket({"type": "websocket"}, asyncio.Event().wait, gone, loop, 10)  # type: ignore[arg-type]
        with pytest.raises(ClientDisconnected if what == "accept" else SocketClosed):
            await (caller.accept(None, []) if what == "accept" else caller.send("hello"))
        await caller.close(1000, "")
        await caller.refuse(Reply(status=503, headers=[], body=b""))

    run(main())


def test_a_session_without_the_extension_is_refused_by_a_closed_door(providers: Callable[..., Providers]) -> None:
    async def visit() -> Message:
        visitor = Visitor("model=m", (b"authorization", b"Bearer gw_wrong"))
        del visitor.scope["extensions"]
        visitor.connect()
        message = await visitor.next()
        await visitor.gone()
        return message

    providers()
    assert run(visit()) == {"type": "websocket.close", "code": 1008, "reason": ""}


def test_who_leaves_while_the_session_is_opened_is_noticed(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> None:
        is_asked = asyncio.Event()

        async def never(request: UpstreamRequest, timeouts: Timeouts) -> UpstreamResponse:
            is_asked.set()
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr(providers(), "send", never)
        visitor = Visitor()
        visitor.connect()
        await is_asked.wait()
        await visitor.hang_up()

    run(visit())
    assert [entry.outcome for entry in books] == ["disconnected"]


@pytest.mark.parametrize("first", [ConnectFailed("Gone."), Answer(b"{}", status=429), Answer(b"{}", status=503)])
def test_the_next_target_is_asked_until_one_accepts(
    first: UpstreamResponse | Exception, providers: Callable[..., Providers], books: Books
) -> None:
    async def visit() -> list[bytes]:
        reached = providers(first, Provider())
        visitor = Visitor("model=talk")
        assert (b"x-gateway-attempts", b"2") in (await accepted(visitor))["headers"]
        await visitor.hang_up()
        return [request.target for request in reached.requests]

    assert run(visit()) == [b"/v1/realtime?model=first", b"/openai/v1/realtime?model=second"]


def test_a_caller_names_fallbacks_in_a_header(providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> list[bytes]:
        reached = providers(Answer(b"{}", status=503), Provider())
        visitor = Visitor("model=openai/first", KEY, (b"x-gateway-fallbacks", b"openai/second"))
        await accepted(visitor)
        await visitor.hang_up()
        return [request.target for request in reached.requests]

    assert run(visit()) == [b"/v1/realtime?model=first", b"/v1/realtime?model=second"]


# What is counted.


def test_a_session_is_one_call_with_the_sum_of_its_answers(providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> None:
        described = event("session.created", session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}})
        heard = event(
            "conversation.item.input_audio_transcription.completed", usage={"type": "duration", "seconds": 30}
        )
        answers = [done("resp_1", input_tokens=1000, output_tokens=10), done("resp_2", input_tokens=500)]
        providers(Provider(described, heard, *answers))
        await hear(4)

    run(visit())
    (entry,) = books
    assert (entry.outcome, entry.status, entry.endpoint, entry.is_stream) == ("answered", 101, "realtime", True)
    assert (entry.input_tokens, entry.output_tokens, entry.is_estimated) == (1500, 10, False)
    assert entry.units == {"audio_seconds": 30}
    assert entry.cost_nanos == 1500 * 4000 + 10 * 16000 + 30 * 100_000  # Each by its own model's price.


@pytest.mark.parametrize("end", [{"usage": None}, {"status": "cancelled"}, {"usage": {}}])
def test_an_answer_that_does_not_say_what_it_used_is_estimated(
    end: dict[str, Any], providers: Callable[..., Providers], books: Books
) -> None:
    async def visit() -> None:
        said = event("response.created"), event("response.output_text.delta", delta="x" * 4000)
        providers(Provider(*said, event("response.done", response={"id": "resp_1", **end})))
        await hear(3)

    run(visit())
    (entry,) = books
    assert (entry.outcome, entry.output_tokens, entry.is_estimated) == ("answered", 1000, True)
    assert entry.cost_nanos == 1000 * 16_000


def test_what_was_said_to_an_answer_that_is_cut_is_estimated(providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> None:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        visitor.say(event("input_audio_buffer.append", audio="A" * 40_000))
        visitor.say(event("conversation.item.create", item={"text": "x " * 2000}))
        for _ in range(2):
            await provider.heard.get()
        provider.say(event("input_audio_buffer.speech_started", audio_start_ms=0))
        provider.say(event("input_audio_buffer.speech_stopped", audio_end_ms=2000))
        provider.say(event("response.created"))
        for _ in range(3):
            await visitor.event()
        await visitor.hang_up()

    run(visit())
    (entry,) = books
    assert (entry.input_audio_tokens, entry.is_estimated) == (20, True)
    assert 1000 <= entry.input_tokens < 1040


def test_what_an_unknown_model_transcribed_has_no_known_cost(providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> None:
        providers(Provider(transcribed(30)))
        await hear(1)

    run(visit())
    assert [(entry.units, entry.cost_nanos) for entry in books] == [({"audio_seconds": 30}, None)]


def test_an_answer_is_paid_although_another_one_ends_beside_it(
    providers: Callable[..., Providers], books: Books
) -> None:
    async def visit() -> None:
        begun = [event("response.created", response={"id": id}) for id in ("long", "short")]
        said = event("response.output_text.delta", response_id="long", delta="x" * 4000)
        providers(Provider(*begun, said, done("short", input_tokens=1, output_tokens=1)))
        await hear(4)

    run(visit())
    (entry,) = books
    assert (entry.outcome, entry.output_tokens, entry.is_estimated) == ("disconnected", 1001, True)


def test_an_answer_is_paid_although_its_caller_does_not_take_the_end_of_it(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> None:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        visitor.is_stuck = True
        provider.say(done("resp_1", input_tokens=30, output_tokens=4))
        async with asyncio.timeout(PATIENCE):
            await visitor.sticks.wait()
        await visitor.hang_up()

    store = Recorder()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": LIMITS[1:2]}):
        run(visit())
    assert [(entry.input_tokens, entry.output_tokens, entry.is_estimated) for entry in books] == [(30, 4, False)]
    assert [actual for _, actual in store.settled] == [[34]]


LIMITS = [
    {"name": "places", "measure": "concurrency", "amount": 5},
    {"name": "tokens", "measure": "tokens", "window": "day", "amount": 1000},
    {"name": "calls", "measure": "requests", "window": "minute", "amount": 60},
]


def test_each_answer_is_settled_and_the_next_one_admitted(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> None:
        providers(Provider(done("resp_1", input_tokens=30, output_tokens=4)))
        await hear(1)

    store = Recorder()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": LIMITS, "RESERVED_OUTPUT": 100}):
        run(visit())
    reserved = [sorted(charges.amounts) for charges in store.admitted]
    assert reserved == [[1, 1, 100], [1, 100]]  # The place is the session's as long as it lasts.
    settled = [sorted(actual) for _, actual in store.settled]
    assert settled == [[1, 34], [0, 0], [1]]  # The answer, the one that was not asked for, the place.


def test_a_session_goes_on_when_its_provider_is_taken_out(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = {"name": "budget", "measure": "cost", "window": "day", "amount": 10}
    mine = {"mine": {"BACKEND": "openai", "OPTIONS": {"api_key": "stored"}}}
    prices = [{"provider": "mine", "model": "*", "input": 4, "output": 16}]
    before = {**SETTINGS, "LIMITS": [budget], "PROVIDERS": mine, "PRICES": prices, "ROUTES": {}}

    async def visit() -> None:
        provider = Provider(done("resp_1", input_tokens=10))
        providers(provider)
        visitor = Visitor("model=mine/gpt-realtime")
        await accepted(visitor)
        await visitor.event()
        with override_settings(AI_GATEWAY={**before, "PROVIDERS": {}, "PRICES": []}):
            for number in (2, 3):
                provider.say(done(f"resp_{number}", input_tokens=10))
                assert (await visitor.event())["response"]["id"] == f"resp_{number}"
        await visitor.hang_up()

    store = Recorder()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    with override_settings(AI_GATEWAY=before):
        run(visit())
    assert [(entry.outcome, entry.input_tokens, entry.cost_nanos) for entry in books] == [("answered", 30, 30 * 4000)]
    assert [actual for _, actual in store.settled[:3]] == [[10 * 4000]] * 3


def test_a_limit_ends_the_session(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> tuple[Any, Any, Any]:
        provider = Provider(done("resp_1", input_tokens=30))
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        assert (await visitor.event())["type"] == "response.done"
        found = await visitor.event(), await visitor.next(), provider.ended
        await visitor.gone()
        assert provider.is_closed
        return found[0], found[1], provider.ended

    full = State(1000, 0, 0.0)
    store = Recorder(Verdict(True, [full] * 2), Verdict(False, [full], refused=0))
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": LIMITS[:2]}):
        told, closed, ended = run(visit())
    assert told["error"]["code"] == "insufficient_quota"
    assert closed == {"type": "websocket.close", "code": 1008, "reason": shortened(told["error"]["message"])}
    assert ended == (1000, "")
    assert [entry.outcome for entry in books] == ["limited"]
    assert [entry.input_tokens for entry in books] == [30]


def limited(amount: int, **others: Any) -> dict[str, Any]:
    """The settings with one limit, and answers that may use 30 tokens."""
    limit = {"name": "tokens", "measure": "tokens", "window": "day", "amount": amount, **others}
    return {**SETTINGS, "RESERVED_OUTPUT": 30, "LIMITS": [limit]}


@pytest.mark.parametrize(
    ("before", "after", "goes_on"),
    [
        (limited(10_000), limited(10_000), True),
        (limited(10_000), limited(40), False),  # Tightened: 30 tokens are used, and the next answer may use as many.
        (SETTINGS, limited(20), False),  # Put on where there was none.
        (limited(10_000), limited(20, name="other", scope="key", subject="team"), False),
        (limited(50), SETTINGS, True),  # Lifted.
        (limited(50), limited(10_000), True),
    ],
)
def test_limits_that_are_changed_meanwhile_hold_for_the_next_answer(
    before: dict[str, Any], after: dict[str, Any], goes_on: bool, providers: Callable[..., Providers], books: Books
) -> None:
    async def visit() -> str:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        with override_settings(AI_GATEWAY=after):
            for number in (1, 2):
                provider.say(done(f"resp_{number}", input_tokens=30))
            await visitor.event()
            told = await visitor.event()
            await visitor.hang_up()
        return "" if told["type"] == "response.done" else told["error"]["code"]

    with override_settings(AI_GATEWAY=before):
        assert run(visit()) == ("" if goes_on else "insufficient_quota")


def test_limits_that_are_tightened_while_nobody_speaks_end_the_session_in_time(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> dict[str, Any]:
        providers(Provider())
        visitor = Visitor()
        await accepted(visitor)
        with override_settings(AI_GATEWAY=limited(20)):
            told = await visitor.event()
            await visitor.gone()
        return told

    monkeypatch.setattr(sessions, "LOOK_AGAIN", 0.01)
    with override_settings(AI_GATEWAY=limited(10_000)):
        assert run(visit())["error"]["code"] == "insufficient_quota"
    assert [(entry.outcome, entry.error_code) for entry in books] == [("limited", "insufficient_quota")]


def test_a_guardrail_that_is_put_on_ends_the_session(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> dict[str, Any]:
        providers(Provider())
        visitor = Visitor()
        await accepted(visitor)
        with override_settings(AI_GATEWAY={**SETTINGS, "GUARDRAILS": guardrails}):
            told = await visitor.event()
            await visitor.gone()
        return told

    guardrails = {"pii": {"BACKEND": "redaction", "EVERYWHERE": True}}
    monkeypatch.setattr(sessions, "LOOK_AGAIN", 0.01)
    assert run(visit())["error"]["code"] == "guardrail_blocked"
    assert [entry.outcome for entry in books] == ["blocked"]


def test_limits_that_are_tightened_in_mid_answer_wait_for_its_end(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> list[str]:
        provider = Provider(event("response.created", response={"id": "resp_1"}))
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        await visitor.event()
        with override_settings(AI_GATEWAY=limited(20)):
            await asyncio.sleep(0.1)
            provider.say(done("resp_1", input_tokens=30))
            found = [(await visitor.event())["type"] for _ in range(2)]
            await visitor.gone()
        return found

    monkeypatch.setattr(sessions, "LOOK_AGAIN", 0.01)
    with override_settings(AI_GATEWAY=limited(10_000)):
        assert run(visit()) == ["response.done", "error"]


def test_limits_that_stay_as_they_are_are_asked_once_for_each_answer(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> None:
        providers(Provider())
        visitor = Visitor()
        await accepted(visitor)
        with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": LIMITS, "MAX_CALLS": 7}):
            await asyncio.sleep(0.1)
        await visitor.hang_up()

    store = Recorder()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    monkeypatch.setattr(sessions, "LOOK_AGAIN", 0.01)
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": LIMITS}):
        run(visit())
    assert len(store.admitted) == 1


def transcribed(seconds: float) -> str:
    """Write the event that says what a transcription used."""
    usage = {"type": "duration", "seconds": seconds}
    return event("conversation.item.input_audio_transcription.completed", usage=usage)


WHISPER = event("session.updated", session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}})


def test_a_budget_ends_a_session_that_only_transcribes(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> dict[str, Any]:
        providers(Provider(WHISPER, *[transcribed(1000)] * 2))
        visitor = Visitor()
        await accepted(visitor)
        for _ in range(3):
            await visitor.event()
        told = await visitor.event()
        await visitor.gone()
        return told

    budget = {"name": "money", "measure": "cost", "window": "day", "amount": 1}
    store = Recorder(Verdict(True, [State(0, 0, 0.0)]), Verdict(False, [State(0, 0, 0.0)], refused=0))
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": [budget]}):
        assert run(visit())["error"]["code"] == "insufficient_quota"
    assert [actual for _, actual in store.settled] == [[2 * 1000 * 100_000]]
    assert [(entry.outcome, entry.cost_nanos) for entry in books] == [("limited", 2 * 1000 * 100_000)]


def test_a_transcription_and_its_answer_are_one_request(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> None:
        turn = (transcribed(1), done("resp_1", input_tokens=30))
        providers(Provider(WHISPER, *turn, *turn))
        await hear(5)

    store = Recorder()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": LIMITS[2:]}):
        run(visit())
    assert [charges.amounts for charges in store.admitted] == [[1], [1], [1]]


@pytest.mark.parametrize("said", [done("resp_1"), transcribed(1), None], ids=["answered", "transcribed", "in time"])
def test_a_key_that_is_revoked_ends_the_session(
    said: str | None, providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def revoked(*_: object) -> None:
        raise InvalidCredential("This gateway key was revoked.")

    async def visit() -> dict[str, Any]:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        monkeypatch.setattr(keys, "identify", revoked)
        if said is not None:
            provider.say(said)
            await visitor.event()
        told = await visitor.event()
        assert (await visitor.next())["code"] == 1008
        await visitor.gone()
        return told

    monkeypatch.setattr(sessions, "LOOK_AGAIN", 30.0 if said else 0.01)
    assert run(visit())["error"]["code"] == "invalid_api_key"


def test_a_session_goes_on_while_nobody_can_tell_whether_its_key_is_valid(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> None:
        is_asked = asyncio.Event()

        async def unknown(*_: object) -> None:
            is_asked.set()
            raise KeysUnavailable("The database is away.")

        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        monkeypatch.setattr(keys, "identify", unknown)
        await is_asked.wait()
        provider.say(event("rate_limits.updated"))
        assert (await visitor.event())["type"] == "rate_limits.updated"
        await visitor.hang_up()

    monkeypatch.setattr(sessions, "LOOK_AGAIN", 0.01)
    run(visit())


def test_a_key_for_some_models_gets_no_other_by_an_event(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> None:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        wanted = event("session.update", session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}})
        visitor.say(wanted.replace("whisper", "whis\\u0070er"))
        assert (await visitor.event())["error"]["code"] == "model_not_found"
        visitor.say(wanted.replace('"session.update"', '"session.update", "x": NaN'))
        assert (await visitor.event())["error"]["code"] == "invalid_json"
        allowed = event("session.update", session={"model": "gpt-realtime", "voice": "alloy"})
        visitor.say(allowed)
        assert await provider.heard.get() == allowed
        await visitor.hang_up()

    holder = Caller(key_name="team", allowed_models=("gpt-*",))

    async def identify(*_: object) -> Caller:
        return holder

    monkeypatch.setattr(keys, "identify", identify)
    run(visit())


@pytest.mark.parametrize(
    ("query", "now", "goes_on"),
    [
        ("model=gpt-realtime", {"allowed_models": ("gpt-*",), "allowed_endpoints": ("realtime",)}, True),
        ("model=gpt-realtime", {"allowed_models": ("other",)}, False),
        ("model=gpt-realtime", {"allowed_providers": ("groq",)}, False),
        ("model=gpt-realtime", {"allowed_endpoints": ("chat/*",)}, False),
        ("model=talk", {"allowed_models": ("talk",)}, True),
        ("model=talk", {"allowed_models": ("first",)}, False),
    ],
)
def test_a_session_ends_when_its_key_would_not_be_let_in(
    query: str,
    now: dict[str, Any],
    goes_on: bool,
    providers: Callable[..., Providers],
    books: Books,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holder = Caller(key_name="team")

    async def identify(*_: object) -> Caller:
        return holder

    async def visit() -> str:
        nonlocal holder
        provider = Provider()
        providers(provider)
        visitor = Visitor(query)
        await accepted(visitor)
        holder = Caller(key_name="team", **now)
        for number in (1, 2):
            provider.say(done(f"resp_{number}"))
        await visitor.event()
        told = await visitor.event()
        await visitor.hang_up()
        return "" if told["type"] == "response.done" else told["error"]["code"]

    monkeypatch.setattr(keys, "identify", identify)
    assert run(visit()) == ("" if goes_on else "model_not_found")


@pytest.mark.parametrize(("now", "goes_on"), [(("first", "talk"), True), (("first",), False)])
def test_a_session_by_a_fallback_goes_on_while_that_is_open_to_its_key(
    now: tuple[str, ...],
    goes_on: bool,
    providers: Callable[..., Providers],
    books: Books,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holder = Caller(key_name="team", allowed_models=("third", "talk"))

    async def identify(*_: object) -> Caller:
        return holder

    async def visit() -> str:
        nonlocal holder
        provider = Provider()
        providers(Answer(b"{}", status=503), Answer(b"{}", status=503), provider)
        visitor = Visitor("model=openai/third", KEY, (b"x-gateway-fallbacks", b"talk"))
        await accepted(visitor)
        holder = Caller(key_name="team", allowed_models=now)
        for number in (1, 2):
            provider.say(done(f"resp_{number}"))
        await visitor.event()
        told = await visitor.event()
        await visitor.hang_up()
        return "" if told["type"] == "response.done" else told["error"]["code"]

    monkeypatch.setattr(keys, "identify", identify)
    assert run(visit()) == ("" if goes_on else "model_not_found")


def test_what_a_key_is_for_now_decides_on_events(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = Caller(key_name="team")

    async def identify(*_: object) -> Caller:
        return holder

    async def visit() -> None:
        nonlocal holder
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        holder = Caller(key_name="team", allowed_models=("gpt-realtime",))
        for number in (1, 2):  # When the second one is there the first one is settled.
            provider.say(done(f"resp_{number}"))
            await visitor.event()
        visitor.say(event("session.update", session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}}))
        assert (await visitor.event())["error"]["code"] == "model_not_found"
        await visitor.hang_up()

    monkeypatch.setattr(keys, "identify", identify)
    run(visit())


# What ends it.


@pytest.mark.parametrize(
    ("settings", "code", "closed_with", "outcome"),
    [
        ({"TIMEOUTS": {"idle": 0.01}}, "upstream_timeout", 1011, "timed_out"),
        ({"TIMEOUTS": {"stream": 0.01}}, "deadline_exceeded", 1008, "timed_out"),
        ({"TIMEOUTS": {"total": 0.3}}, "deadline_exceeded", 1008, "timed_out"),
    ],
)
def test_time_that_is_over(
    settings: dict[str, Any],
    code: str,
    closed_with: int,
    outcome: str,
    providers: Callable[..., Providers],
    books: Books,
) -> None:
    async def visit() -> tuple[str, int]:
        providers(Provider())
        visitor = Visitor()
        await accepted(visitor)
        told, closed = await visitor.event(), await visitor.next()
        await visitor.gone()
        return told["error"]["code"], closed["code"]

    with override_settings(AI_GATEWAY={**SETTINGS, **settings}):
        assert run(visit()) == (code, closed_with)
    assert [entry.outcome for entry in books] == [outcome]


def test_an_operator_ends_a_session(providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> tuple[str, int]:
        providers(Provider(event("response.created", response={}), event("response.text.delta", delta="x" * 40)))
        visitor = Visitor()
        await accepted(visitor)
        for _ in range(2):
            await visitor.event()
        (call,) = live.listed()
        assert (call.state, call.endpoint, call.tokens) == ("streaming", "realtime", 10)
        assert live.cancel(call.id, "an operator")
        told, closed = await visitor.event(), await visitor.next()
        await visitor.gone()
        return told["error"]["code"], closed["code"]

    assert run(visit()) == ("cancelled_by_operator", 1008)
    assert [(entry.outcome, entry.output_tokens) for entry in books] == [("cancelled", 10)]


def test_who_takes_nothing_is_dropped(providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> None:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        visitor.is_stuck = True
        provider.say(event("response.created"))
        await visitor.gone()
        assert provider.is_closed

    with override_settings(AI_GATEWAY={**SETTINGS, "SEND_TIMEOUT": 0.05}):
        run(visit())
    assert [entry.outcome for entry in books] == ["disconnected"]


@pytest.mark.parametrize("message", ["x" * 101, "\U0001f600" * 26, b"x" * 101])
def test_a_message_that_is_too_long(message: Said, providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> tuple[str, int]:
        providers(Provider())
        visitor = Visitor()
        await accepted(visitor)
        visitor.say(message)
        told, closed = await visitor.event(), await visitor.next()
        await visitor.gone()
        return told["error"]["code"], closed["code"]

    with override_settings(AI_GATEWAY={**SETTINGS, "MAX_BODY_BYTES": 100}):
        assert run(visit()) == ("request_too_large", 1009)


@pytest.mark.parametrize(
    ("end", "outcome", "closed"),
    [
        (SocketClosed(1001, "an hour is over", is_upstreams=True), "answered", (1001, "an hour is over")),
        (SocketClosed(1005, is_upstreams=True), "answered", (1000, "")),
        (SocketClosed(1011, "broken", is_upstreams=True), "failed", (1011, "broken")),
    ],
)
def test_the_provider_ends_a_session(
    end: SocketClosed, outcome: str, closed: tuple[int, str], providers: Callable[..., Providers], books: Books
) -> None:
    async def visit() -> tuple[int, str]:
        providers(Provider(end))
        visitor = Visitor()
        await accepted(visitor)
        message = await visitor.next()
        await visitor.gone()
        return message["code"], message["reason"]

    assert run(visit()) == closed
    assert [entry.outcome for entry in books] == [outcome]


@pytest.mark.parametrize("code", [1000, 1001, 1005])
def test_a_provider_that_leaves_in_the_middle_of_an_answer_has_failed(
    code: int, providers: Callable[..., Providers], books: Books
) -> None:
    async def visit() -> int:
        providers(Provider(event("response.created"), SocketClosed(code, is_upstreams=True)))
        visitor = Visitor()
        await accepted(visitor)
        await visitor.event()
        message = await visitor.next()
        await visitor.gone()
        found: int = message["code"]
        return found

    assert run(visit()) == passable(code)
    assert [entry.outcome for entry in books] == ["failed"]


@pytest.mark.parametrize(
    ("code", "passed"),
    [(1000, 1000), (1005, 1000), (1006, 1011), (1015, 1011), (999, 1011), (4999, 4999), (5000, 1011)],
)
def test_codes_that_may_not_be_sent_become_others(code: int, passed: int) -> None:
    assert passable(code) == passed


def test_a_transport_without_websockets_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def visit() -> tuple[int, str | None]:
        monkeypatch.setattr(gateway, "transport_of", lambda loop: Scripted())
        visitor = Visitor()
        visitor.connect()
        return await visitor.refusal()

    assert run(visit()) == (501, "websockets_unsupported")
