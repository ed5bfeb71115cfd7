"""How a realtime session is opened, and with whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ai_gateway import gateway, realtime
from ai_gateway.calls import Reply, Timeouts, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import BadRequest, ClientDisconnected, ConnectFailed, SocketClosed
from ai_gateway.guard import Message
from ai_gateway.hops.upgrade import with_model
from ai_gateway.sockets import CallerSocket
from ai_gateway.test.providers import Books
from tests.factories import Answer, Scripted, make_arrival, run
from tests.realtime.session import KEY, Provider, Providers, Visitor, accepted


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


def test_a_transport_without_websockets_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def visit() -> tuple[int, str | None]:
        monkeypatch.setattr(gateway, "transport_of", lambda loop: Scripted())
        visitor = Visitor()
        visitor.connect()
        return await visitor.refusal()

    assert run(visit()) == (501, "websockets_unsupported")
