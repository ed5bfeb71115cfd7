"""A provider that speaks the caller's format, on a route whose streams go on elsewhere when they die.

The request passes as it is. The answer is read and written anew from its first event, because its end may come from
somebody else, and all of it must be of one piece. What a provider adds to its format of its own is lost by that; so a
stream that nobody could go on with is passed on as ever.
"""

from __future__ import annotations

from ai_gateway.calls import Headers, Reply, UpstreamResponse
from ai_gateway.errors import BadRequest
from ai_gateway.hops.base import Attempt, passed_headers
from ai_gateway.hops.generation import read_object, stream_reply
from ai_gateway.hops.native import Native
from ai_gateway.listeners import MeaningListener
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.conversation import Request
from ai_gateway.protocols.protocol import Head
from ai_gateway.protocols.splicing import Splice, is_possible
from ai_gateway.translation import Translation


def rewritable(attempt: Attempt) -> Request | None:
    """Read a call whose stream somebody else could go on with. None for any other, as for one that is not understood:
    its provider will say what is wrong with it."""
    call = attempt.call
    if not call.stream or call.model is None or not isinstance(call.body, bytes):
        return None
    try:
        request = PROTOCOLS[call.dialect.name].read_request(
            read_object(call.body), _head(attempt), attempt.snapshot.carrier
        )
    except BadRequest:
        return None
    return request if is_possible(request) else None


def _head(attempt: Attempt) -> Head:
    call = attempt.call
    return Head(model=call.model or "", stream=call.stream, query=call.query, fields=call.fields)


class Rewriting(Native):
    """A call passed on as it is, and its stream written anew."""

    __slots__ = ("_has_read", "_request", "to_translate")

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt)
        body = attempt.call.body
        self.to_translate = len(body) if isinstance(body, bytes) else 0
        self._has_read = False
        self._request: Request | None = None

    def read(self) -> None:
        """See Hop.read()."""
        if not self._has_read:
            self._has_read = True
            self._request = rewritable(self.attempt)

    async def _stream(self, response: UpstreamResponse) -> Reply:
        self.read()
        request = self._request
        if request is None:
            return await super()._stream(response)
        attempt = self.attempt
        model = attempt.target.model or request.model
        protocol = PROTOCOLS[attempt.call.dialect.name]
        carrier = attempt.snapshot.carrier.bound(attempt.provider.name, model)
        attempt.meter.listener = listener = MeaningListener(attempt.call, model)
        translation = Translation(
            splitter=protocol.splitter(),
            reader=protocol.stream_reader(),
            writer=Splice(protocol.stream_writer(request, carrier, _head(attempt))),
            emulation=None,
            model=model,
            listener=listener,
        )
        headers: Headers = passed_headers(attempt, response)
        return await stream_reply(attempt, response, translation, headers)
