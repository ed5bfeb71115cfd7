"""Realtime sessions over real sockets: callers with websockets and OpenAI's SDK, and a provider that speaks by a
script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection
from websockets.typing import Subprotocol

from tests import databases
from tests.conftest import GATEWAY_KEY, StartGateway, default_settings
from tests.gateway_process import Door, GatewayProcess
from tests.raw_client import RawClient
from tests.realtime_upstream import Closed, RealtimeUpstream, done, event, reset
from tests.upstream import Upstream
from tests.wire.conftest import ControlledGateway
from tests.wire.ledger_reader import LedgerReader, new_request_id

PATIENCE = 20.0
LIMITED = "insufficient_quota"
THRIFTY_KEY = "gw_test-key-of-somebody-thrifty"
SECRET = "sk-stored-realtime"
BEARER = ("Authorization", f"Bearer {GATEWAY_KEY}")

directly = pytest.mark.parametrize("door", ["direct"], indirect=True)

Connect = Callable[..., ClientConnection]


@pytest.fixture(scope="module")
def _provider() -> Iterator[RealtimeUpstream]:
    provider = RealtimeUpstream()
    yield provider
    provider.stop()


@pytest.fixture
def provider(_provider: RealtimeUpstream) -> RealtimeUpstream:
    """A provider of sessions."""
    _provider.forget()
    return _provider


def settings_for(provider: RealtimeUpstream, upstream: Upstream) -> dict[str, Any]:
    """Configure it, a route that leads to it twice, and a key with a budget of 100 tokens, which no other test spends:
    what was used today is found in the database."""
    options = {"base_url": f"http://127.0.0.1:{provider.port}/v1", "allow_private": True, "api_key": SECRET}
    known = default_settings(upstream)
    budget = {"scope": "key", "subject": "thrifty", "measure": "tokens", "window": "day", "amount": 100}
    return {
        "PROVIDERS": {**known["PROVIDERS"], "voice": {"BACKEND": "openai", "OPTIONS": options}},
        "KEYS": {**known["KEYS"], "thrifty": THRIFTY_KEY},
        "ROUTES": {"talk": ["unreachable/a", "voice/first", "voice/second"]},
        "LIMITS": [{"name": "little", **budget}],
        "RESERVED_OUTPUT": 40,
        "SEND_TIMEOUT": 0.5,
        "PRICES": [
            {
                "provider": "voice",
                "model": "gpt-realtime",
                "input": 4,
                "cache_read": "0.4",
                "output": 16,
                "input_audio": 32,
            }
        ],
    }


@pytest.fixture
def gateway(start_gateway: StartGateway, provider: RealtimeUpstream, upstream: Upstream) -> GatewayProcess:
    """A gateway that knows the provider."""
    return start_gateway(**settings_for(provider, upstream))


@pytest.fixture
def connected(gateway: GatewayProcess) -> Iterator[Connect]:
    """Open sessions, with a key unless the headers say otherwise."""
    stack = ExitStack()

    def open(model: str = "voice/gpt-realtime", *headers: tuple[str, str], query: str = "", **others: Any) -> Any:
        url = f"ws://127.0.0.1:{gateway.port}/v1/realtime?model={model}{query}"
        options = {"max_size": None, "compression": None, "additional_headers": headers or [BEARER], **others}
        session = stack.enter_context(connect(url, **options))
        stack.callback(session.close_socket)
        return session

    yield open
    stack.close()


def refusal_of(open: Callable[[], Any]) -> tuple[int, dict[str, Any], Any]:
    """Tell how a handshake is refused: status, error, headers."""
    with pytest.raises(InvalidStatus) as refused:
        open()
    response = refused.value.response
    return response.status_code, json.loads(response.body)["error"], response.headers


def end_of(connection: ClientConnection) -> tuple[list[Any], int, str]:
    """Read until the session ends: the events that still came, the code and the reason."""
    events = []
    with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012
        while True:
            events.append(json.loads(connection.recv(timeout=PATIENCE)))
    assert closed.value.rcvd is not None
    return events, closed.value.rcvd.code, closed.value.rcvd.reason


@directly
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("VirtualKey.objects.update(is_active=False)", "invalid_api_key"),
        ("Limit.objects.create(name='closed', scope='everyone', measure='requests', window='day', amount=0)", LIMITED),
    ],
    ids=["a key that is revoked", "a limit that is put on"],
)
def test_what_is_changed_in_the_admin_ends_a_session_in_which_nobody_speaks(
    controlled: ControlledGateway, change: str, code: str
) -> None:
    token = controlled.issue("ann")
    url = f"ws://127.0.0.1:{controlled.process.port}/v1/realtime?model=echo/echo-1"
    with connect(url, additional_headers=[("Authorization", f"Bearer {token}")]) as session:
        assert json.loads(session.recv(timeout=PATIENCE))["type"] == "session.created"
        controlled.shell.run(change)
        events, closed_with, _ = end_of(session)
    assert (events[-1]["error"]["code"], closed_with) == (code, 1008)
    controlled.shell.run("Limit.objects.all().delete()")


@directly
def test_the_openai_sdk_talks_to_echo(gateway: GatewayProcess, site_database: databases.Database) -> None:
    async def talk() -> tuple[str, Any]:
        client = AsyncOpenAI(api_key=GATEWAY_KEY, base_url=f"{gateway.url}/v1")
        headers = {"x-request-id": request_id, "x-project-id": "radio"}
        text = ""
        async with client.realtime.connect(model="echo/echo-1", extra_headers=headers) as session:
            await session.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            content: Any = [{"type": "input_text", "text": "Say hello to the world"}]
            await session.conversation.item.create(item={"type": "message", "role": "user", "content": content})
            await session.response.create()
            async for each in session:
                if each.type == "response.output_text.delta":
                    text += each.delta
                if each.type == "response.done":
                    return text, each.response.usage
        raise AssertionError("the session ended")

    request_id = new_request_id()
    text, usage = asyncio.run(talk())
    assert text == "Say hello to the world"
    assert (usage.input_tokens, usage.output_tokens) == (6, 6)
    entry = LedgerReader(str(site_database["NAME"])).entry(request_id)
    wanted = {
        "outcome": "answered",
        "status": 101,
        "dialect": "openai_realtime",
        "endpoint": "realtime",
        "key_name": "team-a",
        "provider": "echo",
        "served_model": "echo-1",
        "project": "radio",
        "is_stream": 1,
        "input_tokens": 6,
        "output_tokens": 6,
        "cost_nanos": 0,
    }
    assert {name: entry[name] for name in wanted} == wanted


@directly
def test_messages_pass_unchanged_and_the_handshake_is_the_gateways(
    connected: Connect, provider: RealtimeUpstream
) -> None:
    said: list[str | bytes] = [
        "{}",
        '{"type": "ünïcode \U0001f600"}',
        b"\x00\xff binary",
        b"",
        "",
        '{"a": "%s"}' % ("x" * 1_000_000),
    ]

    def script(connection: ServerConnection) -> None:
        for each in said:
            connection.send(each)

    provider.speak(script)
    headers = [BEARER, ("OpenAI-Beta", "realtime=v1"), ("Cookie", "sessionid=1"), ("x-client", "kept")]
    session = connected("voice/gpt-realtime", *headers, query="&foo=bar&model=voice/gpt-realtime&deployment=other")
    assert [session.recv(timeout=PATIENCE) for _ in said] == said
    for message in said:
        session.send(message)
        assert provider.next() == message
    (handshake,) = provider.handshakes
    assert handshake.path == "/v1/realtime?model=gpt-realtime&foo=bar"
    assert handshake.headers["Authorization"] == f"Bearer {SECRET}"
    assert handshake.headers["OpenAI-Beta"] == "realtime=v1"
    assert handshake.headers["x-client"] == "kept"
    assert not {"cookie", "origin", "sec-websocket-protocol", "x-request-id"} & {
        name.lower() for name in handshake.headers
    }
    assert session.response is not None
    answered = session.response.headers
    assert (answered["x-gateway-provider"], answered["x-gateway-model"]) == ("voice", "gpt-realtime")
    assert answered["x-request-id"].startswith("req_")


@directly
def test_a_browser_sends_its_key_as_a_subprotocol(connected: Connect, provider: RealtimeUpstream) -> None:
    offered = [
        Subprotocol(name) for name in ("realtime", f"openai-insecure-api-key.{GATEWAY_KEY}", "openai-beta.realtime-v1")
    ]
    pages = {"additional_headers": None, "subprotocols": offered}
    session = connected(origin="https://app.example", **pages)
    assert session.subprotocol == "realtime"
    assert provider.handshakes[0].headers["Sec-WebSocket-Protocol"] == "realtime, openai-beta.realtime-v1"
    assert provider.handshakes[0].headers["Authorization"] == f"Bearer {SECRET}"
    connected(origin=f"http://{session.remote_address[0]}:{session.remote_address[1]}", **pages)
    status, error, _ = refusal_of(lambda: connected(origin="https://evil.example", **pages))
    assert (status, error["code"]) == (403, "permission_denied")
    assert refusal_of(lambda: connected(subprotocols=offered))[0] == 401  # A second key, beside that of the headers.


@directly
def test_refusals_are_answers_with_a_status(
    connected: Connect, provider: RealtimeUpstream, gateway: GatewayProcess
) -> None:
    def refused(model: str, *headers: tuple[str, str], query: str = "") -> tuple[int, str | None]:
        status, error, _ = refusal_of(lambda: connected(model, *headers, query=query))
        return status, error["code"]

    stranger = ("Authorization", "Bearer gw_wrong-key-of-nobody")
    assert refused("voice/m", stranger) == (401, "invalid_api_key")
    assert refused("echo/nothing", BEARER, ("x-provider", "nobody")) == (400, "unknown_provider")
    assert refused("") == (400, "invalid_request")
    assert refused("voice/m", query="&model=voice/n") == (400, "invalid_request")
    assert refused("unreachable/m") == (503, "provider_not_configured")
    assert refused("voice/m", query="&call_id=rtc_1") == (403, "permission_denied")
    provider.refuse(401, {"error": {"message": "Wrong key sk-..."}})
    assert refused("voice/m") == (502, "upstream_auth_error")
    provider.refuse(404, {"error": {"message": "No such model", "code": "model_not_found"}})
    assert refused("voice/m") == (404, "model_not_found")
    for _ in range(2):
        provider.refuse(429, {"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}, {"retry-after": "120"})
    status, error, headers = refusal_of(lambda: connected("voice/limited"))
    assert (status, error["message"], headers["retry-after"]) == (429, "Slow down", "120")
    elsewhere = f"ws://127.0.0.1:{gateway.port}/v1/responses"
    with pytest.raises(InvalidStatus) as closed, connect(elsewhere, additional_headers=[BEARER]):
        pass
    assert closed.value.response.status_code == 403


def test_what_is_no_websocket_is_told_so(gateway: GatewayProcess) -> None:
    raw = RawClient(gateway.port)
    key = [("authorization", f"Bearer {GATEWAY_KEY}")]
    upgrade = raw.get("/v1/realtime?model=voice/m", key)
    assert (upgrade.status, upgrade.json()["error"]["code"]) == (426, "upgrade_required")
    assert upgrade.header("upgrade") == "websocket"
    for path in (
        "/v1/realtime/client_secrets",
        "/v1/realtime/sessions",
        "/v1/realtime/calls",
        "/v1/realtimeapi/sessions",
        "/v1/Realtime/Client_Secrets",
        "/v1/chatkit/sessions",
        "/v1beta/auth_tokens",
    ):
        refused = raw.post(path, {"model": "gpt-realtime"}, [*key, ("x-provider", "voice")])
        assert (refused.status, "CLIENT_SECRETS" in refused.json()["error"]["message"]) == (403, True), path


@pytest.mark.parametrize("door", ["django"], indirect=True)
def test_a_site_that_sees_all_calls_has_no_websockets(connected: Connect) -> None:
    status, error, _ = refusal_of(lambda: connected("echo/echo-1"))
    assert (status, error["code"]) == (501, "websockets_unsupported")


@directly
def test_a_route_goes_on_until_a_provider_accepts(
    connected: Connect, provider: RealtimeUpstream, site_database: databases.Database
) -> None:
    request_id = new_request_id()
    provider.refuse(503, {"error": {"message": "Busy"}})
    session = connected("talk", BEARER, ("x-request-id", request_id))
    assert [each.path for each in provider.handshakes] == ["/v1/realtime?model=first", "/v1/realtime?model=second"]
    assert session.response is not None
    assert session.response.headers["x-gateway-attempts"] == "3"
    session.close()
    entry = LedgerReader(str(site_database["NAME"])).entry(request_id)
    assert (entry["route"], entry["served_model"], entry["outcome"]) == ("talk", "second", "answered")
    assert [each["status"] for each in json.loads(entry["trail"])] == [503, 503]


@directly
def test_codes_and_reasons_pass_both_ways(connected: Connect, provider: RealtimeUpstream) -> None:
    session = connected()
    session.close(4001, "enough said")
    closed = provider.next()
    assert isinstance(closed, Closed)
    assert (closed.code, closed.reason) == (4001, "enough said")
    provider.speak(lambda connection: connection.close(4002, "time is up"))
    assert end_of(connected()) == ([], 4002, "time is up")


@directly
def test_who_hangs_up_is_hung_up_on(
    connected: Connect, provider: RealtimeUpstream, site_database: databases.Database
) -> None:
    request_id = new_request_id()
    provider.speak(lambda connection: connection.send(event("response.created", response={"id": "r"})))
    session = connected("voice/gpt-realtime", BEARER, ("x-request-id", request_id))
    session.recv(timeout=PATIENCE)
    session.socket.close()
    assert isinstance(provider.next(), Closed)
    assert LedgerReader(str(site_database["NAME"])).entry(request_id)["outcome"] == "disconnected"


def break_protocol(connection: ServerConnection) -> None:
    """Send what is no frame of a websocket."""
    connection.socket.sendall(b"\xff\xff garbage that is no frame")
    connection.socket.recv(1)


@directly
@pytest.mark.parametrize(("end", "code"), [(reset, "upstream_closed"), (break_protocol, "upstream_protocol_error")])
def test_a_provider_that_dies_is_told_of(
    end: Callable[[ServerConnection], None],
    code: str,
    connected: Connect,
    provider: RealtimeUpstream,
    site_database: databases.Database,
) -> None:
    request_id = new_request_id()

    def script(connection: ServerConnection) -> None:
        connection.send(event("response.created", response={"id": "r"}))
        connection.send(event("response.output_text.delta", delta="a piece of text of forty letters, no more"))
        connection.recv()
        end(connection)

    provider.speak(script)
    session = connected("voice/gpt-realtime", BEARER, ("x-request-id", request_id))
    session.send(event("die"))
    events, closed_with, reason = end_of(session)
    assert [each["type"] for each in events] == ["response.created", "response.output_text.delta", "error"]
    assert (events[-1]["error"]["code"], events[-1]["error"]["type"]) == (code, "server_error")
    assert (closed_with, reason) == (1011, events[-1]["error"]["message"])
    entry = LedgerReader(str(site_database["NAME"])).entry(request_id)
    assert (entry["outcome"], entry["error_code"]) == ("failed", code)
    assert (entry["output_tokens"], entry["is_estimated"]) == (11, 1)


@directly
def test_what_a_session_uses_is_written_down_and_priced(
    connected: Connect, provider: RealtimeUpstream, site_database: databases.Database
) -> None:
    details = {"text_tokens": 60, "audio_tokens": 40, "cached_tokens": 30}
    cached = {"cached_tokens_details": {"text_tokens": 20, "audio_tokens": 10}}
    usage = {
        "input_tokens": 100,
        "output_tokens": 50,
        "input_token_details": {**details, **cached},
        "output_token_details": {"text_tokens": 20, "audio_tokens": 30},
    }

    def script(connection: ServerConnection) -> None:
        connection.send(done("resp_1", **usage))
        connection.send(done("resp_2", input_tokens=1000, output_tokens=0))

    request_id = new_request_id()
    provider.speak(script)
    session = connected("voice/gpt-realtime", BEARER, ("x-request-id", request_id))
    for _ in range(2):
        session.recv(timeout=PATIENCE)
    session.close()
    entry = LedgerReader(str(site_database["NAME"])).entry(request_id)
    buckets = ("input_tokens", "cache_read_tokens", "input_audio_tokens", "output_tokens", "output_audio_tokens")
    assert [entry[name] for name in buckets] == [40 + 1000, 30, 30, 20, 30]
    assert (entry["upstream_id"], entry["is_estimated"]) == ("resp_2", 0)
    assert entry["cost_nanos"] == 1000 * ((40 + 1000) * 4 + 30 * 0.4 + 30 * 32 + (20 + 30) * 16)


@directly
def test_a_budget_ends_a_session_that_has_used_it_up(connected: Connect, provider: RealtimeUpstream) -> None:
    key = ("Authorization", f"Bearer {THRIFTY_KEY}")

    def script(connection: ServerConnection) -> None:
        for number in range(3):
            connection.send(done(f"resp_{number}", input_tokens=20, output_tokens=15))

    provider.speak(script)
    events, code, reason = end_of(connected("voice/gpt-realtime", key))
    # After 35 tokens there is room for an answer of 40, after 70 there is not.
    assert [each["type"] for each in events] == ["response.done", "response.done", "error"]
    assert events[-1]["error"]["code"] == "insufficient_quota"
    assert (code, reason) == (1008, events[-1]["error"]["message"])
    assert isinstance(provider.next(), Closed)
    status, error, headers = refusal_of(lambda: connected("voice/gpt-realtime", key))
    assert (status, error["code"], headers["x-should-retry"]) == (429, "insufficient_quota", "false")


@directly
def test_neither_side_is_sent_more_than_it_takes(
    connected: Connect, provider: RealtimeUpstream, gateway: GatewayProcess, site_database: databases.Database
) -> None:
    """A provider that sends 200 MB to a caller that takes nothing: it has to wait, and the caller is dropped."""
    sent = 0

    def flood(connection: ServerConnection) -> None:
        nonlocal sent
        for _ in range(200):
            connection.send("x" * 1_000_000)
            sent += 1

    request_id, before = new_request_id(), gateway.resident_kib
    provider.speak(flood)
    session = connected("voice/gpt-realtime", BEARER, ("x-request-id", request_id))
    session.recv(timeout=PATIENCE)
    assert isinstance(provider.next(), Closed)
    assert sent < 100
    assert gateway.resident_kib - before < 40_000
    assert LedgerReader(str(site_database["NAME"])).entry(request_id)["outcome"] == "disconnected"


@directly
def test_a_hundred_sessions_at_once(gateway: GatewayProcess) -> None:
    """All are open before the first one says anything, and each gets its own answer."""
    everybody = 100

    async def talk() -> list[str]:
        all_in = asyncio.Barrier(everybody)

        async def one(number: int) -> str:
            headers = dict([BEARER])
            async with connect_async(f"{address}?model=echo/echo-1", additional_headers=headers) as session:
                await all_in.wait()
                item = {"role": "user", "content": [{"type": "input_text", "text": f"number{number}"}]}
                await session.send(event("conversation.item.create", item=item))
                await session.send(event("response.create"))
                async for message in session:
                    told = json.loads(message)
                    if told["type"] == "response.output_text.done":
                        return str(told["text"])
            raise AssertionError("the session ended")

        return list(await asyncio.gather(*(one(number) for number in range(everybody))))

    address = f"ws://127.0.0.1:{gateway.port}/v1/realtime"
    assert asyncio.run(talk()) == [f"number{number}" for number in range(everybody)]


@directly
def test_sessions_are_told_when_the_gateway_stops(
    provider: RealtimeUpstream, upstream: Upstream, door: Door, site_database: databases.Database, tmp_path: Path
) -> None:
    """They have DRAIN_TIMEOUT to finish, and are told then that it is a restart."""
    process = GatewayProcess(
        door,
        {**default_settings(upstream), **settings_for(provider, upstream), "DRAIN_TIMEOUT": 0.6},
        tmp_path / "log",
        site={"DATABASES": {"default": site_database}},
        command=("django", "rungateway", "--port", "0"),
    )
    address = f"ws://127.0.0.1:{process.port}/v1/realtime?model=echo/echo-1"
    try:
        with connect(address, additional_headers=[BEARER]) as session:
            assert json.loads(session.recv(timeout=PATIENCE))["type"] == "session.created"
            process.terminate()
            upstream.wait_for("the gateway drains", lambda: "Draining" in process.log())
            session.send(event("response.create"))
            events, code, _ = end_of(session)
        assert [each["type"] for each in events[-2:]] == ["response.done", "error"]
        assert (events[-1]["error"]["code"], code) == ("gateway_draining", 1012)
        process.wait()
    finally:
        process.stop()
        process.assert_log_in_order()
