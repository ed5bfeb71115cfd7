"""Does it work? A real request to a provider, with one of its stored credentials, timed.

A provider that lists its models is asked for the list, which costs nothing. `gateway_check` prints the findings, the
admin shows them, and `prober.py` goes by them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter

import msgspec

from ai_gateway import failures
from ai_gateway.calls import Caller, Timeouts, UpstreamRequest, WholeBody
from ai_gateway.errors import GatewayError, UpstreamTimeout
from ai_gateway.explanation import make_call
from ai_gateway.failures import Failure
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
    status: int = 0
    """What the provider answered; 0 if it did not."""
    failure: Failure | None = None
    """What it means that it did not answer well."""


def variants(provider: Provider) -> Iterator[tuple[str, Provider]]:
    """Give the provider once for each of its credentials, by the credential's name."""
    for credential in provider.credentials or (Credential("", provider.api_key, 1) if provider.api_key else None,):
        if credential is None:
            yield "", provider
        else:
            yield credential.name, provider.with_options({"api_key": credential.secret, "credentials": ()})


def is_free(provider: Provider) -> bool:
    """Whether a provider can be asked for something that costs nothing."""
    return provider.lists_models and not provider.is_public


async def probe(provider: Provider, snapshot: Snapshot, transport: Transport, patience: float = PATIENCE) -> Finding:
    """Ask a provider for its models, and wait for so many seconds."""
    if not is_free(provider):
        return Finding(True, "not asked: it does not list its models")
    if provider.api_key is None and provider.auth is not Auth.NONE:
        return Finding(False, "no credential")
    call = make_call(read_arrival("GET", PATH, PATH.encode(), b"", [], WholeBody()), "")
    plain = msgspec.structs.replace(call, model=None, body=b"")
    timeouts = snapshot.timeouts.of(provider)
    # Who waits for a connection to be free learns nothing of the provider, and has to say so first.
    timeouts = replace(timeouts, pool=min(timeouts.pool, patience / 2))
    began = perf_counter()
    try:
        async with asyncio.timeout(patience):
            status, answer = await _ask(provider, provider.build(plain, OPERATOR, None), timeouts, transport)
    except TimeoutError:
        what = f"no answer within {patience:g} s"
        return Finding(False, what, perf_counter() - began, failure=failures.of_error(UpstreamTimeout(what)))
    except GatewayError as error:
        what = f"{error.code}: {error.message}"
        return Finding(False, what, perf_counter() - began, failure=failures.of_error(error))
    failure = None if status == 200 else failures.of_status(status)
    return Finding(failure is None, str(status), perf_counter() - began, answer, status, failure)


async def _ask(
    provider: Provider, request: UpstreamRequest, timeouts: Timeouts, transport: Transport
) -> tuple[int, str]:
    send = provider.send or transport.send
    response = await send(request, timeouts)
    try:
        body = b""
        while len(body) < SHOWN and (piece := await response.read()):
            body += piece
    finally:
        await response.aclose()
    return response.status, body[:SHOWN].decode("utf-8", "replace")
