"""Websockets through an outbound proxy, and what becomes of a session whose proxy does not lead on."""

from __future__ import annotations

import asyncio
import ssl
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from websockets.asyncio.server import ServerConnection, serve

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import ConnectFailed, ConnectTimeout, GatewayError
from ai_gateway.transports.httpx import HttpxTransport
from ai_gateway.transports.tunnels import LONGEST_ANSWER
from tests.factories import run
from tests.outbound_proxy import HTTP_ANSWER, PATIENCE, OutboundProxy

LONG = Timeouts(connect=PATIENCE, first_byte=PATIENCE, write=PATIENCE)
SCHEMES = ["http", "socks5", "socks5h"]

Make = Callable[..., OutboundProxy]
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def make() -> Iterator[Make]:
    """Start proxies."""
    running: list[OutboundProxy] = []

    def start(user: str = "", password: str = "", tls: ssl.SSLContext | None = None) -> OutboundProxy:
        running.append(OutboundProxy(user, password, tls))
        return running[-1]

    yield start
    for proxy in running:
        proxy.stop()


@asynccontextmanager
async def echoing(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A provider that repeats what it is told; gives its port."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0, ssl=tls, compression=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def open_session(
    proxy: str, port: int, *, host: str = "provider.test", scheme: str = "http", authority: str | None = None
) -> UpstreamResponse:
    """Ask for a websocket at a host that only a proxy knows."""
    origin = Origin(scheme, host, port, False)
    request = UpstreamRequest(method="GET", origin=origin, target=b"/v1/realtime?model=m", headers=[])
    transport = HttpxTransport(proxy=proxy, ca_file=authority)
    try:
        return await transport.sockets().send(request, LONG)
    finally:
        await transport.aclose()


async def talk(opened: UpstreamResponse) -> list[str | bytes]:
    """Say something, and hear it again."""
    assert opened.socket is not None
    for message in ("text \U0001f600", b"\x00" * 100_000):
        await opened.socket.send(message)
    heard = [await opened.socket.receive() for _ in range(2)]
    await opened.aclose()
    return heard


HEARD = ["text \U0001f600", b"\x00" * 100_000]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_messages_pass_through_a_proxy_which_is_told_the_providers_name(make: Make, scheme: str) -> None:
    proxy = make()

    async def session() -> int:
        async with echoing() as port:
            assert await talk(await open_session(f"{scheme}://127.0.0.1:{proxy.port}", port)) == HEARD
            return port

    assert proxy.asked == [f"provider.test:{run(session())}"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_within_the_tunnel_the_provider_shows_its_certificate(
    make: Make, tls: tuple[ssl.SSLContext, str], run: Run, scheme: str
) -> None:
    proxy = make()

    async def session() -> None:
        async with echoing(tls[0]) as port:
            given = {"host": "localhost", "scheme": "https", "authority": tls[1]}
            assert await talk(await open_session(f"{scheme}://127.0.0.1:{proxy.port}", port, **given)) == HEARD

    run(session())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_one_that_is_not_trusted_ends_the_tunnel(
    make: Make, tls: tuple[ssl.SSLContext, str], run: Run, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = make()

    async def session() -> None:
        async with echoing(tls[0]) as port:
            with pytest.raises(ConnectFailed, match="TLS handshake"):
                await open_session(f"{scheme}://127.0.0.1:{proxy.port}", port, host="localhost", scheme="https")
            assert await asyncio.to_thread(proxy.left.acquire, timeout=PATIENCE)

    run(session())
    assert not [record.getMessage() for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_for_another_name_ends_the_tunnel(make: Make, tls: tuple[ssl.SSLContext, str], scheme: str) -> None:
    proxy = make()

    async def session() -> None:
        async with echoing(tls[0]) as port:
            given = {"host": "provider.test", "scheme": "https", "authority": tls[1]}
            with pytest.raises(ConnectFailed, match="TLS handshake") as caught:
                await open_session(f"{scheme}://127.0.0.1:{proxy.port}", port, **given)
            assert "provider.test" in str(caught.value.detail)

    run(session())
    assert proxy.left.acquire(timeout=PATIENCE)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_the_proxy_itself_may_speak_tls(make: Make, tls: tuple[ssl.SSLContext, str], run: Run) -> None:
    proxy = make(tls=tls[0])

    async def session() -> None:
        async with echoing(tls[0]) as port:
            given = {"host": "localhost", "scheme": "https", "authority": tls[1]}
            assert await talk(await open_session(f"https://localhost:{proxy.port}", port, **given)) == HEARD

    run(session())
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_proxy_gets_its_credentials_and_nobody_else_does(make: Make, scheme: str) -> None:
    proxy = make("ann", "p@ss:w rd")

    async def session() -> None:
        async with echoing() as port:
            opened = await open_session(f"{scheme}://ann:p%40ss%3Aw%20rd@127.0.0.1:{proxy.port}", port)
            assert await talk(opened) == HEARD

    run(session())


def failure(proxy: str, **others: str) -> GatewayError:
    """The error of a session that comes to nothing."""
    with pytest.raises(GatewayError) as raised:
        run(open_session(proxy, 9, **others))
    return raised.value


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("given", ["", "ann:canary@"])
def test_a_proxy_that_does_not_take_the_credentials_refuses(make: Make, scheme: str, given: str) -> None:
    proxy = make("ann", "secret")
    error = failure(f"{scheme}://{given}127.0.0.1:{proxy.port}")
    assert (type(error), error.message) == (ConnectFailed, "The outbound proxy refused the connection.")
    assert "canary" not in f"{error} {error.detail}"
    assert proxy.left.acquire(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("scheme", "answer", "message"),
    [
        ("http", b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", "refused"),
        ("http", b"HTTP/1.1 101 Switching\r\n\r\n", "refused"),
        ("http", HTTP_ANSWER + b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "said more"),
        ("http", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP"),
        ("http", b"x" * (LONGEST_ANSWER + 1000), "HTTP"),
        ("http", b"HTTP/1.1 200 Connec", "hung up"),
        ("socks5", b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00", "refused"),
        ("socks5", b"\x05\x00\x00\x03\x04abcd\x00\x00more", "said more"),
        ("socks5", b"\x05\x00\x00\x04" + bytes(18) + b"x", "said more"),
        ("socks5", b"\x05\x00\x00", "hung up"),
        # It has led on, whatever its own address is, and then said no more.
        ("socks5", b"\x05\x00\x00\x03\x04abcd\x00\x00", "The provider hung up"),
        ("socks5", b"\x05\x00\x00\x04" + bytes(18), "The provider hung up"),
    ],
)
def test_a_proxy_that_does_not_lead_on_is_a_failure_to_connect(
    make: Make, scheme: str, answer: bytes, message: str
) -> None:
    proxy = make()
    proxy.answer = answer
    error = failure(f"{scheme}://127.0.0.1:{proxy.port}")
    assert (type(error), message in error.message) == (ConnectFailed, True)
    assert proxy.left.acquire(timeout=PATIENCE)


def test_who_speaks_something_else_is_no_proxy_of_socks() -> None:
    async def session() -> None:
        async with await asyncio.start_server(_answer_in_http, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ConnectFailed, match="does not speak SOCKS5"):
                await open_session(f"socks5://127.0.0.1:{port}", 80)

    run(session())


async def _answer_in_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(3)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    writer.close()


def test_a_proxy_that_is_not_there_is_named_as_what_is_missing(make: Make) -> None:
    proxy = make()
    proxy.stop()
    assert failure(f"http://127.0.0.1:{proxy.port}").message == "The outbound proxy cannot be reached."


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_proxy_that_says_nothing_is_given_up_in_time(
    make: Make, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    proxy = make()
    proxy.answer = b""
    monkeypatch.setattr("tests.transports.test_tunnels.LONG", Timeouts(connect=0.2))
    assert isinstance(failure(f"{scheme}://127.0.0.1:{proxy.port}"), ConnectTimeout)
    assert proxy.left.acquire(timeout=PATIENCE)


@pytest.mark.parametrize(("host", "asked"), [("::1", "[::1]:9"), ("10.1.2.3", "10.1.2.3:9")])
def test_an_address_is_written_as_the_proxy_reads_it(make: Make, host: str, asked: str) -> None:
    http, socks = make(), make()
    http.answer, socks.answer = b"HTTP/1.1 502 no\r\n\r\n", b"\x05\x04\x00\x01" + bytes(6)
    failure(f"http://127.0.0.1:{http.port}", host=host)
    failure(f"socks5://127.0.0.1:{socks.port}", host=host)
    assert (http.asked, socks.asked) == ([asked], [asked.replace("[", "").replace("]", "")])


def test_what_is_no_proxy_is_refused_when_the_transport_is_made() -> None:
    for wrong in ("ftp://proxy.example", f"socks5://ann:{'x' * 256}@proxy.example"):
        with pytest.raises(ValueError, match=r"proxy|SOCKS5"):
            HttpxTransport(proxy=wrong)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://ann:canary@proxy.example",
        "ann:canary@proxy.example",
        "http://ann:canary/@proxy.example:80",
        "http://ann:canary@",
        f"socks5://ann:{'canary' * 50}@proxy.example",
    ],
    ids=["another scheme", "no scheme", "a slash in the password", "no host", "too long"],
)
def test_an_address_that_cannot_be_read_is_not_shown(address: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - what it says is asserted.
        HttpxTransport(proxy=address)
    told = "".join(traceback.format_exception(refused.value))
    assert "canary" not in told
    assert "outbound proxy" in str(refused.value) or "SOCKS5" in str(refused.value)
