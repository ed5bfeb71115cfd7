"""Connections through an outbound proxy: by HTTP's CONNECT (RFC 9110, 9.3.6), or by SOCKS5 (RFC 1928, 1929).

The proxy is told the name of the host and looks it up itself, so which addresses may be called is its business. What
passes through the tunnel is the provider's and ours: TLS is spoken with the provider, whose certificate is checked as
it is without a proxy. Nothing is ever dialed past the proxy.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
from collections.abc import Callable
from typing import TypeVar, cast

import httpx

from ai_gateway.calls import Origin
from ai_gateway.errors import ConnectFailed
from ai_gateway.transports.dialing import Dialer, unreachable

P = TypeVar("P", bound=asyncio.BaseProtocol)

LONGEST_ANSWER = 16 * 1024
"""Bytes of the head with which a proxy answers."""

LONGEST_CREDENTIAL = 255
"""Bytes of a user's name, or of a password, in SOCKS5."""

PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}

STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")

SOCKS, NO_PASSWORD, PASSWORD = 5, 0, 2
IPV4, NAME, IPV6 = 1, 3, 4


def read_proxy(address: str) -> httpx.Proxy:
    """Read the address of a proxy, `http://user:password@host:port`, `https://…` or `socks5://…`. Raises ValueError for
    anything else, without a word of what it is: httpx shows what it cannot read, and that may be the password."""
    try:
        proxy = httpx.Proxy(address)
    except (ValueError, httpx.InvalidURL):
        proxy = None
    if proxy is None or not proxy.url.host:
        raise ValueError(
            "The address of the outbound proxy cannot be read. Write it as http://user:password@host:port, or with "
            "https:// or socks5://, and signs in the password with a percent sign (%2F for a slash)."
        )
    return proxy


class TunnelDialer(Dialer):
    """Opens connections through a proxy (`read_proxy`). Raises ValueError for credentials that SOCKS5 has no room for,
    too."""

    def __init__(self, proxy: str, *, ca_file: str | None = None) -> None:
        super().__init__(ca_file=ca_file)
        given = read_proxy(proxy)
        scheme, host = given.url.scheme, given.url.host
        self._credentials = given.raw_auth
        self._ask = ask_http if scheme in ("http", "https") else ask_socks
        if self._ask is ask_socks and any(len(each) > LONGEST_CREDENTIAL for each in self._credentials or ()):
            raise ValueError(f"SOCKS5 takes users and passwords of {LONGEST_CREDENTIAL} bytes at most.")
        # The operator has chosen it, wherever it is.
        self._proxy = Origin("https" if scheme == "https" else "http", host, given.url.port or PORTS[scheme], True)

    async def _connect(self, origin: Origin, factory: Callable[[], P], seconds: float) -> P:
        proxy = await self._reached(seconds)
        try:
            await self._ask(proxy, origin, self._credentials)
            if origin.scheme == "https":
                await self._secure(proxy, origin)
            if proxy.received:
                raise ConnectFailed("The outbound proxy said more than it was asked.", detail=f"{origin}")
        except BaseException:
            proxy.transport.abort()
            raise
        protocol = factory()
        proxy.transport.set_protocol(protocol)
        protocol.connection_made(proxy.transport)
        return protocol

    async def _reached(self, seconds: float) -> Negotiation:
        try:
            return await super()._connect(self._proxy, Negotiation, seconds)
        except ConnectFailed as error:
            raise ConnectFailed("The outbound proxy cannot be reached.", detail=error.detail) from error

    async def _secure(self, proxy: Negotiation, origin: Origin) -> None:
        """Speak TLS with the host at the other end of a tunnel. Its protocol comes later: it would hear of the end of a
        connection that it was never told of."""
        loop, tls = asyncio.get_running_loop(), self._context()
        try:
            secure = await loop.start_tls(proxy.transport, proxy, tls, server_hostname=origin.host)
        except OSError as error:
            raise unreachable(origin, error) from error
        assert secure is not None
        proxy.transport = secure


class Negotiation(asyncio.Protocol):
    """What is said to a proxy before it leads on."""

    def __init__(self) -> None:
        self.received = bytearray()
        """What it has said, and nobody has read."""
        self._news = asyncio.Event()
        self._is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop when something has come."""
        self.received += data
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop when the proxy has hung up."""
        self._is_over = True
        self._news.set()

    async def read(self, count: int) -> bytes:
        """Read so many bytes. Raises ConnectFailed if the proxy hangs up before."""
        while len(self.received) < count:
            await self._more()
        return self._taken(count)

    async def read_head(self) -> bytes:
        """Read the head of an answer. Raises ConnectFailed if the proxy hangs up before its end, or finds none."""
        while (end := self.received.find(b"\r\n\r\n")) < 0:
            if len(self.received) > LONGEST_ANSWER:
                raise ConnectFailed("The outbound proxy does not answer in HTTP.")
            await self._more()
        return self._taken(end + 4)

    async def _more(self) -> None:
        if self._is_over:
            raise ConnectFailed("The outbound proxy hung up.")
        self._news.clear()
        await self._news.wait()

    def _taken(self, count: int) -> bytes:
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken


async def ask_http(proxy: Negotiation, origin: Origin, credentials: tuple[bytes, bytes] | None) -> None:
    """Ask a proxy of HTTP to lead to an origin. Raises ConnectFailed."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    target = f"{host}:{origin.port}".encode("ascii", "replace")
    head = [b"CONNECT %b HTTP/1.1" % target, b"host: %b" % target]
    if credentials is not None:
        head.append(b"proxy-authorization: Basic " + base64.b64encode(b"%b:%b" % credentials))
    proxy.transport.write(b"\r\n".join(head) + b"\r\n\r\n")
    answer = await proxy.read_head()
    found = STATUS_LINE.match(answer)
    if found is None:
        raise ConnectFailed("The outbound proxy does not answer in HTTP.", detail=f"{origin}")
    if not found[1].startswith(b"2"):
        raise refused(origin, f"status {int(found[1])}")


async def ask_socks(proxy: Negotiation, origin: Origin, credentials: tuple[bytes, bytes] | None) -> None:
    """Ask a proxy of SOCKS5 to lead to an origin. Raises ConnectFailed."""
    methods = bytes((NO_PASSWORD,) if credentials is None else (NO_PASSWORD, PASSWORD))
    proxy.transport.write(bytes((SOCKS, len(methods))) + methods)
    version, method = await proxy.read(2)
    if version != SOCKS:
        raise ConnectFailed("The outbound proxy does not speak SOCKS5.", detail=f"{origin}")
    if method == PASSWORD and credentials is not None:
        await _log_in(proxy, origin, *credentials)
    elif method != NO_PASSWORD:
        raise refused(origin, "it wants credentials of another kind, or some")
    proxy.transport.write(bytes((SOCKS, 1, 0)) + _address(origin) + origin.port.to_bytes(2, "big"))
    _, answer, _, kind = await proxy.read(4)
    if answer:
        raise refused(origin, f"answer {answer}")
    bound = (await proxy.read(1))[0] if kind == NAME else 16 if kind == IPV6 else 4
    await proxy.read(bound + 2)  # Its own address there, and the port, are of no interest.


async def _log_in(proxy: Negotiation, origin: Origin, user: bytes, password: bytes) -> None:
    proxy.transport.write(bytes((1, len(user))) + user + bytes((len(password),)) + password)
    _, answer = await proxy.read(2)
    if answer:
        raise refused(origin, "it does not take the credentials")


def _address(origin: Origin) -> bytes:
    try:
        ip = ipaddress.ip_address(origin.host)
    except ValueError:
        name = origin.host.encode("ascii", "replace")
        return bytes((NAME, len(name))) + name
    return bytes((IPV4 if ip.version == 4 else IPV6,)) + ip.packed


def refused(origin: Origin, why: str) -> ConnectFailed:
    """Make the error for a proxy that does not lead on."""
    return ConnectFailed("The outbound proxy refused the connection.", detail=f"{origin}: {why}")
