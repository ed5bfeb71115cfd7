"""The values that travel through the gateway. They know no framework, no network and no policy.

A door makes a `Call` of what arrived; `gateway.py` answers with a `Reply`. On the way out a provider makes an
`UpstreamRequest`, a transport sends it and hands back an `UpstreamResponse`.

Header lists are `[(name, value), ...]` of bytes, names in lower case, in the order in which they arrived.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from asyncio import Future

    from ai_gateway.bodies import Reading
    from ai_gateway.errors import GatewayError
    from ai_gateway.protocols.dialect import Dialect


Headers = list[tuple[bytes, bytes]]

STANDARD_PORTS = {"https": 443, "http": 80}

_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f\\\"<>^`{|}]|\][^:/]")
"""What `urlsplit` lets pass, or silently takes out, though no URL may have it."""

_HOST_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?\.?")


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the values of this module: immutable, compared by what they hold, and silent about secrets.

    msgspec's structs, because a frozen dataclass takes ten times as long to make, and a call makes five of these.
    """

    hidden: ClassVar[tuple[str, ...]] = ()
    """Fields that `repr()` leaves out: they may hold credentials, or what a caller wrote."""

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in self.hidden)
        return f"{type(self).__name__}({', '.join(shown)})"


class IncomingBody(ABC):
    """A request body on its way in: read whole, or piece by piece, once."""

    @abstractmethod
    async def read(self, limit: int, seconds: float) -> bytes:
        """Read it whole. Raises BodyTooLarge above `limit` bytes, RequestTimeout after `seconds`,
        ClientDisconnected."""

    @abstractmethod
    def pieces(self, limit: int, seconds: float) -> AsyncIterator[bytes]:
        """Give it piece by piece, `seconds` at most between two. Raises what `read` raises."""


class WholeBody(IncomingBody):
    """A request body that is there at once. Its length is told in the head, and judged by that."""

    def __init__(self, content: bytes = b"") -> None:
        self._content = content

    async def read(self, limit: int, seconds: float) -> bytes:
        """See IncomingBody.read()."""
        return self._content

    async def pieces(self, limit: int, seconds: float) -> AsyncIterator[bytes]:
        """See IncomingBody.pieces()."""
        yield self._content


class Arrival(Value, frozen=True, kw_only=True):
    """What a door hands to the gateway: the head of a request, taken apart, and the body still to be read.

    `path` is relative to where the gateway is mounted and not yet checked. `fields` is `headers` as a mapping, for
    looking things up; of equal names it has the last. `received_at` is in seconds of `time.perf_counter()`. `client` is
    the caller's address, if the server knows it.
    """

    hidden: ClassVar[tuple[str, ...]] = ("headers", "fields", "body")

    method: str
    path: str
    query: bytes
    headers: Headers
    fields: Mapping[bytes, bytes]
    body: IncomingBody
    dialect: Dialect
    request_id: str
    received_at: float
    client: str | None = None


class Call(Value, frozen=True, kw_only=True):
    """One request of a caller as the policies see it: the path checked, and read from the body what routing needs.

    `body` is bytes for JSON, and an async iterator for everything that is only carried through (uploads). `models` is
    that member of the body, whatever it is: more models to be asked (`fallbacks.py`).
    The rest is as in `Arrival`.
    """

    hidden: ClassVar[tuple[str, ...]] = ("headers", "fields", "body", "reading")

    method: str
    path: str
    query: bytes
    headers: Headers
    fields: Mapping[bytes, bytes]
    body: bytes | AsyncIterator[bytes]
    dialect: Dialect
    request_id: str
    received_at: float
    model: str | None = None
    stream: bool = False
    models: Any = None
    reading: Reading | None = None
    """What was read of the body that came: whoever puts another one in its place need not look at this."""
    deadline: float | None = None
    """When the caller wants the call to be over, in seconds of `time.perf_counter()`."""
    hops: int = 0
    """How many gateways it came through before this one (`loops.py`)."""


def below_version(path: str) -> str:
    """Give a path below the version that it begins with: "chat/completions"."""
    return path.removeprefix("/v1beta/").removeprefix("/v1/")


class Caller(Value, frozen=True, kw_only=True):
    """Who is calling. `key_name` is the name of a gateway key, or None for a caller who is only passed through.

    `credential` is the provider credential that a passed-through caller brought along, as header name and value. The
    other fields are a virtual key's: its row, its owner and team, and what it may be used for. An empty list of what is
    allowed allows everything. `groups` are the groups whose rights the key has.
    """

    hidden: ClassVar[tuple[str, ...]] = ("credential", "metadata")

    key_name: str | None = None
    credential: tuple[bytes, bytes] | None = None
    key_id: Any = None
    user_id: Any = None
    group_id: Any = None
    groups: frozenset[Any] = frozenset()
    uses_every_route: bool = False
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str | int | float | bool] = msgspec.field(default_factory=dict)
    allowed_models: tuple[str, ...] = ()
    allowed_providers: tuple[str, ...] = ()
    allowed_endpoints: tuple[str, ...] = ()
    may_choose_fallbacks: bool = True
    records_bodies: bool = False
    guardrails: tuple[str, ...] = ()
    caching: str = ""

    @property
    def is_authenticated(self) -> bool:
        """Whether the caller holds a gateway key, and so may be served with a stored credential."""
        return self.key_name is not None


class Target(NamedTuple):
    """Where a call may go: a provider by its alias, and the model by the provider's own name (None: as the caller
    said)."""

    provider: str
    model: str | None


class Origin(NamedTuple):
    """Where a connection leads: connections are pooled by this, and shared by whatever has an equal one."""

    scheme: str
    host: str
    port: int
    allow_private: bool = False
    """Whether the host may resolve to a private, loopback or link-local address."""

    @property
    def host_header(self) -> bytes:
        """The value of the `host` header: the port is left out where it is the scheme's own."""
        return _host_header(self)


@lru_cache(maxsize=1024)
def _host_header(origin: Origin) -> bytes:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return (host if origin.port == STANDARD_PORTS[origin.scheme] else f"{host}:{origin.port}").encode("ascii")


ENDPOINTS = ("/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings")
"""What no base URL ends in: calls have these paths behind it."""


class BaseURL(NamedTuple):
    """A provider's base URL, parsed once: the origin, and a path prefix without a slash at the end."""

    origin: Origin
    prefix: str

    @classmethod
    def parse(cls, url: str, *, allow_private: bool = False) -> BaseURL:
        """Split an absolute http(s) URL. Raises ValueError saying what is wrong with any other."""
        if "@" in url:
            raise ValueError("A base URL has no user name and no password in it")  # Nor does a message show them.
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{url!r} is not a URL: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an absolute http:// or https:// URL")
        if parts.query or parts.fragment:
            raise ValueError(f"A base URL has no query and no fragment: {url!r}")
        if port == 0 or _NOT_IN_A_URL.search(url) or not parts.path.isascii():
            raise ValueError(f"{url!r} has a port or a character that no URL has")
        prefix = parts.path.rstrip("/")
        if prefix.endswith(ENDPOINTS):
            raise ValueError(f"{url!r} is the address of one endpoint: leave out what stands behind the version")
        origin = Origin(parts.scheme, _host(parts.hostname), port or STANDARD_PORTS[parts.scheme], allow_private)
        return cls(origin, prefix)


def _host(name: str) -> str:
    """Write a host name in ASCII. Raises ValueError if it is neither a name nor an IPv6 address."""
    if ":" in name and "%" not in name:
        return str(IPv6Address(name))
    try:
        host = name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{name!r} is not a host name") from error
    if not _HOST_NAME.fullmatch(host):
        raise ValueError(f"{name!r} is not a host name")
    return host


class UpstreamRequest(Value, frozen=True, kw_only=True):
    """What a provider wants sent. The transport adds `host` and the framing; everything else is here.

    `target` is the request target: path and query, percent-encoded, ASCII.
    `body_length` is the length of an iterator body where it is known; else the body goes out chunked.
    """

    hidden: ClassVar[tuple[str, ...]] = ("headers", "body")

    method: str
    origin: Origin
    target: bytes
    headers: Headers
    body: bytes | AsyncIterator[bytes] = b""
    body_length: int | None = None


class Interruptible(ABC):
    """What somebody else may end: an operator, or a process that stops."""

    __slots__ = ()

    @abstractmethod
    def interrupt(self, error: GatewayError) -> None:
        """End it: whoever reads it gets this error, behind what had arrived before."""


class UpstreamResponse(Interruptible):
    """An upstream's answer: its head, and a body that is read piece by piece and must be closed."""

    __slots__ = ("headers", "status")

    status: int
    headers: Headers

    @property
    def socket(self) -> UpstreamSocket | None:
        """The websocket that it opens, if it is such an answer."""
        return None

    def take_rest(self) -> bytes | None:
        """Give all of the body that was not read yet if it is there to its end, else None. Saves waiting for what need
        not be waited for; a response that cannot do it may always say None."""
        return None

    @abstractmethod
    async def read(self, patience: float | None = None) -> bytes | None:
        """Give the next bytes of the body, b"" at its end, or None if nothing came for `patience` seconds.

        None loses nothing: the next call goes on waiting. Raises UpstreamError if the upstream fails.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Give the connection back, or close it if the body was not read to its end. May be called more than once."""


Message = str | bytes
"""What goes through a websocket at a time: text or bytes, whichever its sender chose."""


SUBPROTOCOLS = b"sec-websocket-protocol"
"""The header by which the subprotocols of a websocket are offered."""


def subprotocols_in(fields: Mapping[bytes, bytes]) -> list[str]:
    """List the subprotocols that a handshake offers."""
    offered = fields.get(SUBPROTOCOLS, b"").decode("latin-1").split(",")
    return [name.strip() for name in offered if name.strip()]


class UpstreamSocket(UpstreamResponse):
    """A websocket that an upstream has accepted, with status 101: messages go both ways until one side closes it.

    `interrupted` gets the error that `interrupt` brings: whoever holds the socket waits for it, too.
    """

    __slots__ = ("interrupted", "subprotocol")

    interrupted: Future[GatewayError]
    subprotocol: str | None

    @property
    def socket(self) -> UpstreamSocket:
        """See UpstreamResponse.socket."""
        return self

    async def read(self, patience: float | None = None) -> bytes | None:
        """See UpstreamResponse.read(). What a socket brings are messages, and it has no body."""
        return b""

    def interrupt(self, error: GatewayError) -> None:
        """See UpstreamResponse.interrupt()."""
        if not self.interrupted.done():
            self.interrupted.set_result(error)

    @abstractmethod
    async def receive(self) -> Message:
        """Give the next message. Raises SocketClosed, or UpstreamError if the upstream fails."""

    @abstractmethod
    async def send(self, message: Message) -> None:
        """Send a message, as soon as the upstream takes it. Raises what `receive` raises."""

    @abstractmethod
    async def close(self, code: int, reason: str) -> None:
        """Say that it is over, and why."""


class ReplyBody(ABC):
    """The body of a reply that is sent while it is made. Who holds one must close it, whatever happens."""

    __slots__ = ()

    is_broken: bool
    """Whether it ended before it was whole, with no way to say so inside: the door must cut the connection."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    @abstractmethod
    async def __anext__(self) -> bytes:
        """Give the next bytes to send."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release everything that the reply holds. May be called more than once."""


class BodyAround(ReplyBody):
    """A reply's body that passes another one on. Whether it is whole is the other's to say."""

    __slots__ = ("_body",)

    def __init__(self, body: ReplyBody) -> None:
        self._body = body

    @property
    def is_broken(self) -> bool:  # type: ignore[override]
        """See ReplyBody."""
        return self._body.is_broken


class Reply(Value, frozen=True, kw_only=True):
    """What goes back to the caller. The door that sends it closes a `ReplyBody` when it is done with it."""

    hidden: ClassVar[tuple[str, ...]] = ("body",)

    status: int
    headers: Headers
    body: bytes | ReplyBody

    async def aclose(self) -> None:
        """Release what the body holds."""
        if isinstance(self.body, ReplyBody):
            await self.body.aclose()


Phases = tuple[tuple[str, float], ...]
"""Some of the phases of `Timeouts`, each with its seconds."""

UNLIMITED = frozenset(("stream", "total"))
"""The phases that have no limit if their seconds are 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait for an upstream, in seconds, phase by phase; and how long it may all take."""

    connect: float = 5.0
    """To resolve the name, open the socket and finish the TLS handshake."""
    pool: float = 5.0
    """For a free connection when the provider's connections are all busy."""
    write: float = 30.0
    """For the upstream to take the next piece of the request."""
    first_byte: float = 600.0
    """From the request's last byte to the response's status line: long, because a model may think for minutes."""
    idle: float = 300.0
    """Between two pieces of the response body."""
    stream: float = 0.0
    """From the response's head to its end. 0, for no limit: an answer that goes on coming holds no more than its caller
    does, who may hang up."""
    total: float = 0.0
    """From the arrival of the call to the end of its answer, with everything in between: other targets that were asked
    before, waits, the body. 0, for no limit."""
