"""May a request that was sent be sent again? Yes, to a provider that knows it by a key and does the work once.

Which providers do is for their documentation to promise (`Provider.idempotency_header`); no row of the catalogue sets
it, since none of the large ones promises it for generation. A key that the caller sent goes along unchanged; else the
gateway makes one, the same for each repetition of a call at a target, and another one for every other target.
"""

from __future__ import annotations

from uuid import UUID, uuid5

from ai_gateway.calls import Target, UpstreamRequest
from ai_gateway.providers import Provider

HEADER = b"idempotency-key"
"""What it is called nearly everywhere."""


def mark(request: UpstreamRequest, provider: Provider, call_id: str, target: Target) -> None:
    """Put a key into a request that asks for work, if it has none. `call_id` is a UUID in hexadecimal digits."""
    name = header_of(provider)
    if request.method == "POST" and not any(given == name for given, _ in request.headers):
        key = uuid5(UUID(call_id), f"{target.provider}/{target.model}")
        request.headers.append((name, str(key).encode()))


def mark_anew(request: UpstreamRequest, provider: Provider, call_id: str, target: Target) -> None:
    """Put a key into a request in place of the one that it has, for other work."""
    name = header_of(provider)
    request.headers[:] = [header for header in request.headers if header[0] != name]
    mark(request, provider, call_id, target)


def header_of(provider: Provider) -> bytes:
    """Tell the name of the header with a provider's key, in lower case; empty if it has none."""
    return provider.idempotency_header.lower().encode("latin-1")


def is_kept(provider: Provider) -> bool:
    """Whether a provider does the work of a repeated request once. Keys belong to an account, and several credentials
    may be of several accounts: which one the repetition would be sent with is drawn."""
    return bool(provider.idempotency_header) and len(provider.credentials) < 2
