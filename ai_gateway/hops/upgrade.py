"""A session: a websocket to a provider, which is opened as any call is made, and lives on when its opener is done.

Its way ends where the provider has accepted it. Until then it may fail as any call, and go to the next target; its
refusal is an HTTP answer like others. What passes afterwards is not the business of a hop (`sessions.py`).
"""

from __future__ import annotations

from urllib.parse import quote, unquote_plus

import msgspec

from ai_gateway.calls import (
    SUBPROTOCOLS,
    Reply,
    ReplyBody,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamSocket,
    subprotocols_in,
)
from ai_gateway.errors import PermissionDenied, UpgradeRequired, UpstreamProtocolError
from ai_gateway.hops.base import Attempt, Hop, check_status, passed_headers, read_whole
from ai_gateway.listeners.sessions import SessionListener
from ai_gateway.protocols import realtime
from ai_gateway.protocols.provider_errors import error_code

LONGEST_REFUSAL = 1 << 20

OF_THE_HANDSHAKE = (b"sec-websocket-", b"content-")
"""How the headers of an answer to a handshake begin that are for the two at its ends."""

DECIDED_HERE = frozenset(("model", "deployment"))
"""Query parameters, in any case, that say which model is asked: what is authorised is what is sent."""


class Upgrade(Hop):
    """A call for a websocket."""

    __slots__ = ()

    def request(self) -> UpstreamRequest:
        """See Hop.request()."""
        attempt = self.attempt
        model = attempt.target.model
        call = msgspec.structs.replace(attempt.call, query=with_model(attempt.call.query, model), model=model)
        request = attempt.provider.build(call, attempt.caller, model)
        offered = [name for name in subprotocols_in(call.fields) if not name.startswith(realtime.KEY_SUBPROTOCOL)]
        headers = [*request.headers, (SUBPROTOCOLS, ", ".join(offered).encode())] if offered else request.headers
        return msgspec.structs.replace(request, headers=headers)

    async def judge(self, response: UpstreamResponse) -> Reply:
        """See Hop.judge()."""
        check_status(self.attempt, response)
        headers = [
            header for header in passed_headers(self.attempt, response) if not header[0].startswith(OF_THE_HANDSHAKE)
        ]
        if response.socket is not None:
            self.attempt.meter.listener = SessionListener()
            return Reply(status=101, headers=headers, body=Accepted(self.attempt, response, response.socket))
        if response.status < 400:
            raise UpstreamProtocolError(f"The provider answered a websocket's handshake with {response.status}.")
        body = await read_whole(response, LONGEST_REFUSAL)
        self.attempt.meter.error_code = error_code(body)
        content_type = dict(response.headers).get(b"content-type", b"application/json")
        headers += [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
        return Reply(status=response.status, headers=headers, body=body)


class Accepted(ReplyBody):
    """What a websocket that was accepted has in place of a body: the socket, and the attempt that opened it."""

    __slots__ = ("_response", "attempt", "socket")

    is_broken = False

    def __init__(self, attempt: Attempt, response: UpstreamResponse, socket: UpstreamSocket) -> None:
        self.attempt = attempt
        self.socket = socket
        self._response = response

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """See ReplyBody.aclose()."""
        await self._response.aclose()


def with_model(query: bytes, model: str | None) -> bytes:
    """Write a query with this model, and no other."""
    kept = [pair for pair in query.split(b"&") if pair and _name(pair) not in DECIDED_HERE]
    return b"&".join([b"model=" + quote(model, safe="").encode(), *kept] if model is not None else kept)


def _name(pair: bytes) -> str:
    return unquote_plus(pair.partition(b"=")[0].decode("latin-1")).lower()


def check_request(attempt: Attempt) -> None:
    """Check a request that is no websocket.

    Raises UpgradeRequired for one that has to be, and PermissionDenied for what leads past the gateway: a session by
    WebRTC, or a provider's key for one, that the holder of a gateway's key would get with the operator's credential.
    """
    call = attempt.call
    if call.dialect.is_session:
        raise UpgradeRequired(
            "Realtime sessions are websockets here. Connect with ws:// or wss://, to a server that speaks them with "
            "the gateway's direct door."
        )
    is_way_past = attempt.caller.is_authenticated and realtime.leads_past(call.path)
    if is_way_past and not attempt.snapshot.allows_client_secrets:
        raise PermissionDenied(
            "This gateway gives out no keys of its providers, and no sessions that go past it. Connect to /v1/realtime "
            "with a gateway key. The operator can allow it (CLIENT_SECRETS)."
        )
