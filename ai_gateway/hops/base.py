"""What a hop is: one way in which a call reaches a provider, and its answer the caller."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

from ai_gateway import deadlines, server_timing
from ai_gateway.calls import Call, Headers, Reply, Target, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import UpstreamProtocolError, UpstreamRedirect, UpstreamRefusedCredential
from ai_gateway.meter import Meter
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import Request
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.protocol import Outgoing
from ai_gateway.providers import Provider
from ai_gateway.registry import Snapshot

NOT_RETURNED = frozenset(
    # Hop by hop, and what concerns the provider's host alone.
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade set-cookie set-cookie2 alt-svc strict-transport-security server via date location content-location "
    b"access-control-allow-origin access-control-allow-credentials access-control-expose-headers "
    b"access-control-allow-headers access-control-allow-methods access-control-max-age "
    # What a browser would take for the will of the gateway's own site.
    b"clear-site-data refresh content-security-policy content-security-policy-report-only www-authenticate report-to "
    b"reporting-endpoints nel service-worker-allowed "
    # Written anew.
    b"x-request-id request-id server-timing x-accel-buffering".split()
)
"""Response headers that never reach a caller."""

NOT_TRANSLATED = (
    *(b"content-", b"vary", b"etag", b"digest", b"repr-digest"),
    *(b"x-ratelimit-", b"anthropic-", b"openai-", b"x-stainless-", b"x-goog-", b"x-amzn-"),
)
"""How the response headers begin that speak of a body which the caller does not get, or of limits in a format that it
does not know. Beside its own body, what the provider says it varies by stands: of what it looked at, some was the
caller's (`accept`)."""

REDIRECTS = frozenset((301, 302, 303, 307, 308))

HOPELESS = frozenset((400, 401, 402, 403, 404, 405, 406, 410, 411, 413, 414, 415, 422))
"""Statuses that a repetition of the same request cannot heal. Told to the SDKs, which else retry some for minutes."""


class Attempt:
    """One target's turn with a call: who calls, whom, and since when."""

    __slots__ = (
        "call",
        "caller",
        "credential",
        "deadline",
        "is_last",
        "is_probe",
        "is_refused",
        "meter",
        "number",
        "provider",
        "snapshot",
        "target",
        "timeouts",
    )

    def __init__(self, call: Call, meter: Meter, snapshot: Snapshot, target: Target, number: int) -> None:
        self.call = call
        self.meter = meter
        self.caller = meter.caller
        self.snapshot = snapshot
        self.target = target
        self.number = number
        self.provider: Provider = snapshot.providers[target.provider]
        self.timeouts = snapshot.timeouts.of_target(meter.route, target)
        self.deadline = deadlines.of(call, self.timeouts)
        self.credential: str | None = None
        """The name of the stored credential that is used, where the provider has several."""
        self.is_last = False
        """Whether there is no other target to be asked, so that to wait for this one is worth it."""
        self.is_probe = False
        """Whether it finds out for all others if the target is well again."""
        self.is_refused = False
        """Whether its answer is that the prompt is refused, and nothing else; of interest while there is another
        target."""

    @property
    def capabilities(self) -> Capabilities:
        """What the target's model can do."""
        return self.snapshot.capabilities.of(self.provider.name, self.provider.row, self.target.model or "")


class Hop(ABC):
    """One way in which a call reaches a provider. Made anew for each attempt."""

    __slots__ = ("attempt",)

    to_translate: int = 0
    """How many bytes of the caller's request are read and written anew."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt

    def read(self) -> None:  # noqa: B027
        """Read the caller's request, if it is to be translated and that was not done. Nobody has to call this or
        `write`, but both touch nothing that anybody else changes, so that another thread may do what takes time. Raises
        BadRequest for what cannot be read."""

    def write(self) -> None:  # noqa: B027
        """Write the provider's request, if it is translated and that was not done. Raises BadRequest for what it cannot
        say."""

    @abstractmethod
    def request(self) -> UpstreamRequest:
        """Write the request. Raises what `Provider.build` raises, and BadRequest for what cannot be translated."""

    @abstractmethod
    async def judge(self, response: UpstreamResponse) -> Reply:
        """Make a reply of an answer whose status says nothing bad about the provider. Whoever calls this closes the
        response if it raises."""

    def local(self) -> Reply | None:
        """Answer without asking anybody, where that is possible."""
        return None


class Translating(Hop):
    """A way on which the request is translated."""

    def __init__(self, attempt: Attempt, body: bytes) -> None:
        super().__init__(attempt)
        self.to_translate = len(body)
        self._body = body
        self._outgoing = Outgoing(body={})
        self._asked: Request | None = None
        self._written: bytes | None = None

    @property
    def _request(self) -> Request:
        """What the caller asks for."""
        self.read()
        assert self._asked is not None
        return self._asked

    def read(self) -> None:
        """See Hop.read()."""
        if self._asked is None:
            self._asked = self._read()

    def write(self) -> None:
        """See Hop.write()."""
        if self._written is None:
            self._outgoing = self._write()
            self._written = dumps(self._outgoing.body)

    @abstractmethod
    def _read(self) -> Request:
        """Read the caller's request. Raises BadRequest."""

    @abstractmethod
    def _write(self) -> Outgoing:
        """Write the provider's. Raises BadRequest."""


def check_status(attempt: Attempt, response: UpstreamResponse) -> None:
    """Raise for an answer that is a redirect, or that refuses the gateway's own credential."""
    if response.status in REDIRECTS:
        raise UpstreamRedirect("The provider answered with a redirect, which this gateway does not follow.")
    if response.status == 401 and attempt.caller.is_authenticated:
        raise refused_credential(attempt)


def refused_credential(attempt: Attempt) -> UpstreamRefusedCredential:
    """Make the error for a provider that refuses a credential which is not the caller's."""
    return UpstreamRefusedCredential(
        f"The provider {attempt.provider.name!r} refused this gateway's own credential. The operator has to renew it."
    )


async def read_whole(response: UpstreamResponse, limit: int) -> bytes:
    """Read an answer to its end. Raises UpstreamProtocolError above `limit` bytes."""
    rest = response.take_rest()
    if rest is None:
        parts, total = [], 0
        while part := await response.read():
            parts.append(part)
            total += len(part)
            if total > limit:
                raise UpstreamProtocolError(f"The provider's answer is longer than {limit} bytes.")
        rest = b"".join(parts)
    await response.aclose()
    return rest


def passed_headers(attempt: Attempt, response: UpstreamResponse, status: int | None = None) -> Headers:
    """Select the upstream's headers that go back with its own body, and add the gateway's own."""
    headers: Headers = []
    tells_retry = False
    dropped = NOT_RETURNED
    for name, value in response.headers:
        if name in dropped:
            if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
                dropped = dropped | {token.strip().lower() for token in value.split(b",")}
            elif name in (b"x-request-id", b"request-id"):
                headers.append((b"x-upstream-request-id", value))
            continue
        tells_retry = tells_retry or name == b"x-should-retry"
        headers.append((name, value))
    if len(dropped) > len(NOT_RETURNED):
        headers = [header for header in headers if header[0] not in dropped]
    if (status or response.status) in HOPELESS and not tells_retry:
        headers.append((b"x-should-retry", b"false"))
    headers += own_headers(attempt)
    return headers


def translated_headers(attempt: Attempt, response: UpstreamResponse, content_type: bytes) -> Headers:
    """Select the upstream's headers that mean something beside a body of another format, and add the gateway's own."""
    headers = [header for header in passed_headers(attempt, response) if not header[0].startswith(NOT_TRANSLATED)]
    return [(b"content-type", content_type), *headers]


def own_headers(attempt: Attempt) -> Headers:
    """Write the headers that every answer of a provider gets from the gateway."""
    call, meter = attempt.call, attempt.meter
    request_id = call.request_id.encode()
    return [
        (b"x-request-id", request_id),
        (b"request-id", request_id),
        server_timing.header(call.received_at, meter.sent_at, meter.queued),
        *_target_headers(attempt.target.provider, attempt.target.model, attempt.number),
    ]


@lru_cache(maxsize=1024)
def _target_headers(provider: str, model: str | None, number: int) -> Headers:
    """Write what tells of the target. Remembered, because most calls go to the same few."""
    headers = [(b"x-gateway-provider", provider.encode()), (b"x-gateway-attempts", b"%d" % number)]
    if model is not None and model.isascii() and model.isprintable():
        headers.append((b"x-gateway-model", model.encode()[:256]))
    return headers
