"""Opening a connection: resolve the name, refuse addresses that must not be called, connect, shake hands.

The address is checked where the socket is opened, after the name was resolved, and the socket goes to the very address
that was checked. A check of the URL alone can be fooled by a name that resolves to 127.0.0.1, or to something else the
second time (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Callable
from itertools import zip_longest
from typing import TypeVar

import certifi

from ai_gateway.calls import Origin
from ai_gateway.errors import ConnectFailed, ConnectTimeout, PrivateAddressRefused, SocketsUnsupported
from ai_gateway.thread_pools import Full
from ai_gateway.transports import Transport
from ai_gateway.transports.lookups import Lookups

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Dialer:
    """Opens connections for one event loop."""

    def __init__(self, *, ca_file: str | None = None) -> None:
        # The environment has no say (SSL_CERT_FILE and the like): what is trusted is configured, or certifi's list.
        self._ca_file = ca_file or certifi.where()
        self._tls: ssl.SSLContext | None = None
        self._sockets: Transport | None = None
        self._lookups = Lookups()

    async def dial(self, origin: Origin, factory: Callable[[], P], seconds: float) -> P:
        """Open a connection within so many `seconds` and give its protocol. Raises ConnectFailed or UpstreamTimeout."""
        try:
            async with asyncio.timeout(seconds):
                return await self._connect(origin, factory, seconds)
        except TimeoutError:
            # Still nothing was sent, so this may be tried elsewhere like any failure to connect.
            raise ConnectTimeout("The provider did not accept a connection in time.", detail=f"{origin}") from None

    async def _connect(self, origin: Origin, factory: Callable[[], P], seconds: float) -> P:
        """Try the host's addresses in turn. One that swallows packets, as IPv6 does where it is set up badly, gets half
        of the time that is left, so that those behind it have their chance."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        tls = self._context() if origin.scheme == "https" else None
        failure: Exception | None = None
        addresses = alternate(await self.resolve(origin))
        for behind, address in zip(range(len(addresses) - 1, -1, -1), addresses, strict=True):
            try:
                async with asyncio.timeout((deadline - loop.time()) / 2 if behind else None):
                    _, protocol = await loop.create_connection(
                        factory, address, origin.port, ssl=tls, server_hostname=origin.host if tls else None
                    )
            except OSError as error:  # ssl.SSLError and TimeoutError are some, too.
                failure = error
            else:
                return protocol
        raise unreachable(origin, failure) from failure

    async def resolve(self, origin: Origin) -> list[str]:
        """Resolve the host to the addresses that may be called. Raises ConnectFailed; PrivateAddressRefused if there
        are only others."""
        try:
            addresses = await self._lookups.addresses(origin.host, origin.port)
        except (OSError, UnicodeError) as error:
            raise ConnectFailed("The provider's host name cannot be resolved.", detail=f"{origin}: {error}") from error
        except Full as error:
            raise ConnectFailed("Too many host names are being resolved.", detail=f"{origin}: {error}") from error
        allowed = addresses if origin.allow_private else [address for address in addresses if is_public(address)]
        if not allowed:
            raise PrivateAddressRefused(
                "The provider's host resolves to a private address, which this gateway does not call. The operator can "
                "allow it with the provider's option allow_private, or with ALLOW_PRIVATE_UPSTREAMS.",
                detail=f"{origin}: {', '.join(addresses)}",
            )
        return allowed

    def sockets(self) -> Transport:
        """Give the transport that opens websockets over connections of this dialer. Raises SocketsUnsupported without
        the extra that it needs."""
        if self._sockets is None:
            try:
                from ai_gateway.transports.websocket import WebsocketTransport
            except ImportError as error:
                raise SocketsUnsupported(
                    'This gateway lacks a package for websockets: pip install "django-ai-gateway[realtime]".'
                ) from error
            self._sockets = WebsocketTransport(self)
        return self._sockets

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._ca_file)
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


def unreachable(origin: Origin, failure: Exception | None) -> ConnectFailed:
    """Make the error for a host that cannot be connected to."""
    reason = "The TLS handshake with the provider failed." if isinstance(failure, ssl.SSLError) else None
    return ConnectFailed(reason or "The provider cannot be reached.", detail=f"{origin}: {failure}")


def alternate(addresses: list[str]) -> list[str]:
    """Let the two families of addresses alternate: what is wrong with one address is often wrong with its family."""
    first = [address for address in addresses if (":" in address) == (":" in addresses[0])]
    other = [address for address in addresses if address not in first]
    return [address for pair in zip_longest(first, other) for address in pair if address is not None]


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet. What wraps an IPv4 address is judged by that address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else None)
        if inner is None:
            return ip in UNICAST and ip.is_global and not any(ip in network for network in SPECIAL)
        ip = inner
    return ip.is_global and not ip.is_multicast and str(ip) not in OF_THE_HOST


NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""

UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out. What lies elsewhere is local, or wraps something in a way that is used no more."""

SPECIAL = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
"""Of it what is for documentation and protocols (RFC 6890, 9637); not every Python knows all of these."""

OF_THE_HOST = frozenset(("168.63.129.16",))
"""Addresses of the public internet that lead to the host that a virtual machine runs on: Azure's."""
