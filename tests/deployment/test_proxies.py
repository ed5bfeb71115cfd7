"""The samples in docs/deployment do what a gateway needs of a proxy, each in its own program."""

from __future__ import annotations

import json
import select
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import GATEWAY_KEY
from tests.deployment.proxies import KINDS, Proxy, connections_to, is_installed
from tests.gateway_process import GatewayProcess
from tests.raw_client import Answer, RawClient, RawConnection
from tests.upstream import End, Request, Upstream, event_stream, json_answer, play
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, JSON

NOBODY = 9
"""A port where no gateway is: the proxy has to find the other one."""

StartProxy = Callable[..., Proxy]


@pytest.fixture(scope="module", params=KINDS)
def start_proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProxy]:
    """Start the proxy under test, in front of these ports."""
    if not is_installed(request.param):
        pytest.skip(f"{request.param} is not installed, or openssl")
    started: list[Proxy] = []

    def start(*gateways: int) -> Proxy:
        folder: Path = tmp_path_factory.mktemp(request.param)
        started.append(Proxy(KINDS[request.param], folder, (gateways[0], gateways[-1])))
        return started[-1]

    yield start
    for proxy in started:
        proxy.stop()


@pytest.fixture(scope="module")
def gateway(gateway_processes: Callable[..., GatewayProcess]) -> GatewayProcess:
    """The only gateway that is there."""
    return gateway_processes("direct", {}, {})


@pytest.fixture(scope="module")
def proxy(start_proxy: StartProxy, gateway: GatewayProcess) -> Proxy:
    """The proxy in front of that gateway, and of another that is not there."""
    proxy = start_proxy(NOBODY, gateway.port)
    proxy.wait_until_it_answers()
    return proxy


@pytest.fixture(scope="module")
def to_upstream(start_proxy: StartProxy, _upstream: Upstream) -> Proxy:
    """The proxy with the fake provider in the gateway's place: it shows what the proxy sends."""
    proxy = start_proxy(_upstream.port)
    proxy.wait_until_it_answers()
    return proxy


@pytest.fixture
def raw(proxy: Proxy, upstream: Upstream) -> RawClient:
    return RawClient(proxy.port)


def calls(upstream: Upstream) -> list[Request]:
    """What came, without the proxy's own questions for the health."""
    return [request for request in list(upstream.requests) if not request.target.startswith("/health")]


def test_a_stream_arrives_event_by_event(proxy: Proxy, upstream: Upstream) -> None:
    gates = [upstream.gate() for _ in CHAT_DIALECT.events]
    steps = [step for pair in zip(CHAT_DIALECT.events, gates, strict=True) for step in pair]
    upstream.answer(event_stream(*steps))
    with RawConnection(proxy.port) as caller:
        caller.request("POST", CHAT_PATH, [BEARER, JSON], json.dumps(CHAT_DIALECT.stream_body).encode())
        head = caller.read_head()
        assert (head.status, head.header("content-type")) == (200, "text/event-stream")
        assert head.header("x-request-id")
        for event, gate in zip(CHAT_DIALECT.events, gates, strict=True):
            assert caller.read_text_until(event) == event  # The next one has not been sent yet.
            gate.open()
        assert caller.read_chunk() == b""


@pytest.mark.parametrize("has_begun", [True, False], ids=["in mid-stream", "before the answer"])
def test_a_hang_up_reaches_the_provider(proxy: Proxy, upstream: Upstream, has_begun: bool) -> None:
    upstream.answer(event_stream(CHAT_DIALECT.events[0], End.STALL) if has_begun else play(End.STALL))
    with RawConnection(proxy.port) as caller:
        caller.request("POST", CHAT_PATH, [BEARER, JSON], b'{"model": "m", "stream": true}')
        upstream.wait_for_requests()
        if has_begun:
            caller.read_head()
            caller.read_text_until(CHAT_DIALECT.events[0])
    upstream.wait_for("the provider is left", lambda: upstream.aborted == 1, patience=5)


def test_bodies_of_several_megabytes_pass(raw: RawClient, upstream: Upstream) -> None:
    text = "x" * 6_000_000
    upstream.answer(json_answer({"text": text}))
    answer = raw.post(CHAT_PATH, {**CHAT, "messages": [{"role": "user", "content": text}]}, [BEARER])
    assert (answer.status, answer.json()) == (200, {"text": text})
    assert upstream.request.json()["messages"][0]["content"] == text


def test_an_upload_that_is_refused_is_not_received(proxy: Proxy, upstream: Upstream) -> None:
    """The proxy does not collect it first."""
    with RawConnection(proxy.port) as caller:
        fields = [("authorization", "Bearer gw_wrong"), ("content-type", "audio/wav"), ("content-length", "400000000")]
        caller.request("POST", "/v1/files", fields)
        sent = 0
        while not select.select([caller.socket], [], [], 0.01)[0]:  # Caddy looks for an answer while there is more.
            caller.send(b"x" * 100_000)
            sent += 100_000
            assert sent < 50_000_000
        assert caller.read_head().status == 401


@pytest.mark.parametrize("status", [400, 404, 429, 500, 502, 503, 504, 529])
def test_errors_pass_unchanged(raw: RawClient, upstream: Upstream, status: int) -> None:
    value = {"error": {"message": "No.", "type": "some_error", "code": status}}
    upstream.answer(json_answer(value, status, [("retry-after", "17")]))
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    assert (answer.status, answer.json()) == (status, value)
    assert answer.header("retry-after") == "17"
    assert len(upstream.requests) == 1


def test_the_gateways_own_errors_are_in_the_format_of_the_api(raw: RawClient, upstream: Upstream) -> None:
    answer = raw.post(CHAT_PATH, CHAT, [("authorization", f"Bearer {GATEWAY_KEY}x")])
    assert answer.status == 401
    CHAT_DIALECT.check_error(answer.json())
    assert answer.header("x-request-id")


def test_connections_stay_open_on_both_sides(proxy: Proxy, gateway: GatewayProcess, upstream: Upstream) -> None:
    before = connections_to(gateway.port)
    for _ in range(10):
        with RawConnection(proxy.port) as caller:
            assert [call(caller).status for _ in range(2)] == [200, 200]
    # For each of its processes a proxy may have one of its own.
    assert connections_to(gateway.port) <= before + 4


def call(caller: RawConnection) -> Answer:
    caller.request("POST", CHAT_PATH, [BEARER, JSON], json.dumps(CHAT).encode())
    return caller.read_answer()


# What the proxy sends.


def test_the_gateway_is_told_who_called_and_how(to_upstream: Proxy, upstream: Upstream) -> None:
    """What the caller itself says of that is not believed."""
    fields = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https"), ("x-request-id", "mine")]
    RawClient(to_upstream.port).post(CHAT_PATH, CHAT, [("host", "localhost"), BEARER, *fields])
    (request,) = calls(upstream)
    assert request.values("x-forwarded-for") == ["127.0.0.1"]
    assert request.values("x-forwarded-proto") == ["http"]
    assert request.header("x-request-id") == "mine"
    assert request.header("authorization") == f"Bearer {GATEWAY_KEY}"
    assert request.version == "HTTP/1.1"
    assert (request.header("connection") or "keep-alive").lower() == "keep-alive"


def test_tls_ends_here(to_upstream: Proxy, upstream: Upstream) -> None:
    with to_upstream.connect_by_tls() as caller:
        caller.sendall(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert caller.recv(65536).startswith(b"HTTP/1.1 200")
    (request,) = calls(upstream)
    assert request.values("x-forwarded-proto") == ["https"]
    assert request.header("host") == "localhost"


def test_a_call_that_was_sent_is_not_sent_again(to_upstream: Proxy, upstream: Upstream) -> None:
    """It may have cost money already."""
    upstream.answer(play(End.RESET))
    answer = RawClient(to_upstream.port).post(CHAT_PATH, CHAT, [("host", "localhost"), BEARER])
    assert answer.status == 502
    assert len(calls(upstream)) == 1
