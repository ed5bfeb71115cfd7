"""Does it work? A real request to a provider, with one of its stored credentials, timed.

A provider that lists its models is asked for the list, which costs nothing. `gateway_check` prints the findings, and
the admin shows them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import msgspec

from ai_gateway.calls import Caller, UpstreamRequest
from ai_gateway.errors import GatewayError
from ai_gateway.explanation import NoBody, make_call
from ai_gateway.intake import read_arrival
from ai_gateway.providers import Auth, Credential, Provider
from ai_gateway.registry import Snapshot
from ai_gateway.transports import Transport

PATH = "/v1/models"
PATIENCE = 10.0
SHOWN = 300
"""Characters of a provider's answer that are shown."""

OPERATOR = Caller(key_name="operator")


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a request: the status, or the words for why there is none, and how long it took."""

    ok: bool
    what: str
    seconds: float = 0.0
    answer: str = ""


def variants(provider: Provider) -> Iterator[tuple[str, Provider]]:
    """Give the provider once for each of its credentials, by the credential's name."""
    for credential in provider.credentials or (Credential("", provider.api_key, 1) if provider.api_key else None,):
        if credential is None:
            yield "", provider
        else:
            yield credential.name, provider.with_options({"api_key": credential.secret, "credentials": ()})


async def probe(provider: Provider, snapshot: Snapshot, transport: Transport) -> Finding:
    """Ask a provider for its models."""
    if not provider.lists_models or provider.is_public:
        return Finding(True, "not asked: it does not list its models")
    if provider.api_key is None and provider.auth is not Auth.NONE:
        return Finding(False, "no credential")
    call = make_call(read_arrival("GET", PATH, PATH.encode(), b"", [], NoBody()), "")
    plain = msgspec.structs.replace(call, model=None, body=b"")
    began = perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            status, answer = await _ask(provider, provider.build(plain, OPERATOR, None), snapshot, transport)
    except TimeoutError:
        return Finding(False, f"no answer within {PATIENCE:g} s", perf_counter() - began)
    except GatewayError as error:
        return Finding(False, f"{error.code}: {error.message}", perf_counter() - began)
    return Finding(status == 200, str(status), perf_counter() - began, answer)


async def _ask(
    provider: Provider, request: UpstreamRequest, snapshot: Snapshot, transport: Transport
) -> tuple[int, str]:
    send = provider.send or transport.send
    response = await send(request, snapshot.timeouts.of(provider))
    try:
        body = b""
        while len(body) < SHOWN and (piece := await response.read()):
            body += piece
    finally:
        await response.aclose()
    return response.status, body[:SHOWN].decode("utf-8", "replace")


class Given(NoBody):
    """A request body that is there at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self, limit: int, seconds: float) -> bytes:
        """See IncomingBody.read()."""
        return self._body
