"""A request to count a prompt's tokens, at a provider that does not count in the caller's format.

The provider's own counter is asked where it has one. Where it has none, or does not know this model, the answer is an
estimate, marked by `x-gateway-estimated: input_tokens`: Claude Code takes any error for a reason to guess far too high.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ai_gateway.calls import Headers, Reply, UpstreamRequest, UpstreamResponse
from ai_gateway.consumption import UNUSED
from ai_gateway.errors import BadRequest
from ai_gateway.hops.base import Attempt, Translating, check_status, own_headers, read_whole, translated_headers
from ai_gateway.hops.generation import MAX_ERROR, read_answer, read_object, told_error, translated_request_headers
from ai_gateway.protocols import COUNTERS, DIALECTS, PROTOCOLS, model_in
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import Request
from ai_gateway.protocols.counting import Counter, estimate
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.protocol import Head, Outgoing

CALLERS: Mapping[str, str] = {
    "/v1/messages/count_tokens": "anthropic_messages",
    "/v1/responses/input_tokens": "openai_responses",
}
"""The formats whose counters have a path of their own. Google's stands behind the model."""

NO_COUNTER = frozenset((404, 405, 501))
"""Statuses that say that there is no counter here, whatever the documentation says."""


def counter_of(path: str) -> Counter | None:
    """Tell whose counter a path asks for; None for any other path."""
    format = "gemini" if path.endswith(":countTokens") else CALLERS.get(path)
    return COUNTERS[format] if format is not None else None


def has_counter(attempt: Attempt, counter: Counter) -> bool:
    """Whether the attempt's provider counts in this format."""
    provider = attempt.provider
    formats = attempt.capabilities.formats or provider.dialects
    return counter.format in formats and (not counter.endpoint or counter.endpoint in provider.endpoints)


class Counting(Translating):
    """A count, by the provider's counter in another format or by estimate."""

    def __init__(self, attempt: Attempt, ours: Counter) -> None:
        call = attempt.call
        if not isinstance(call.body, bytes) or call.model is None:
            raise BadRequest("The request names no model.", param="model")
        super().__init__(attempt, call.body)
        self._model = attempt.target.model or call.model
        self._ours = ours
        self._theirs = next((each for each in COUNTERS.values() if has_counter(attempt, each)), None)
        attempt.meter.consumption = UNUSED
        self._head = Head(model=call.model, stream=False, query=call.query, fields=call.fields)

    def local(self) -> Reply | None:
        """See Hop.local()."""
        return self._estimated(own_headers(self.attempt)) if self._theirs is None else None

    def request(self) -> UpstreamRequest:
        """See Hop.request()."""
        attempt, theirs = self.attempt, self._theirs
        assert theirs is not None
        self.write()
        path = theirs.target(self._model)
        headers = translated_request_headers(attempt.call, self._outgoing.headers)
        dialect = DIALECTS["google" if model_in(path) else DIALECTS[theirs.format].family]
        translated = msgspec.structs.replace(
            attempt.call,
            path=path,
            query=b"",
            headers=headers,
            fields=dict(headers),
            body=self._written,
            dialect=dialect,
            model=self._model,
        )
        return attempt.provider.build(translated, attempt.caller, self._model)

    def _read(self) -> Request:
        return self._ours.read_request(read_object(self._body), self._head, self.attempt.snapshot.carrier)

    def _write(self) -> Outgoing:
        attempt, theirs = self.attempt, self._theirs
        assert theirs is not None
        destination = Destination(
            provider=attempt.provider.name,
            model=self._model,
            format=theirs.format,
            capabilities=attempt.capabilities,
        )
        return theirs.write_request(self._request, destination)

    async def judge(self, response: UpstreamResponse) -> Reply:
        """See Hop.judge()."""
        theirs = self._theirs
        assert theirs is not None
        check_status(self.attempt, response)
        body = await read_whole(response, MAX_ERROR)
        headers = translated_headers(self.attempt, response, b"application/json")[1:]
        if response.status in NO_COUNTER:
            return self._estimated(headers)
        if response.status != 200:
            error = PROTOCOLS[theirs.format].read_error(response.status, dict(response.headers), body)
            raise told_error(self.attempt, error)
        return self._reply(theirs.read(read_answer(body)), headers)

    def _estimated(self, headers: Headers) -> Reply:
        return self._reply(estimate(self._request), [*headers, (b"x-gateway-estimated", b"input_tokens")])

    def _reply(self, tokens: int, headers: Headers) -> Reply:
        body = dumps(self._ours.write(tokens))
        own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        return Reply(status=200, headers=[*own, *headers], body=body)
