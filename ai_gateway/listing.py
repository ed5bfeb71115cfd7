"""Which models are there? `GET /v1/models` and `GET /v1/models/{id}` without `x-provider`, for all providers at once.

Listed is what the caller may use: the routes, the models that a provider's configuration names, and what the providers
list themselves. A holder of a gateway key is shown every configured provider's list, fetched with the stored
credentials; anybody else the list of the one provider that its own credential is for. Model ids are `provider/model`,
which is what a call may name.

What a provider lists is remembered for a few minutes when it was fetched with a stored credential, and never when with
a caller's own. A provider that is slow or fails is left out: clients wait three seconds for this list (Claude Code).
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from ai_gateway.access import may_list, may_use_provider
from ai_gateway.calls import Call, Caller, Reply
from ai_gateway.errors import GatewayError, ModelNotFound
from ai_gateway.protocols import DIALECTS, GEMINI_METHODS
from ai_gateway.providers import Provider
from ai_gateway.registry import Snapshot
from ai_gateway.routing import default_provider
from ai_gateway.transports import Transport

logger = logging.getLogger("ai_gateway")

PATH = "/v1/models"

PATIENCE = 2.0
"""Seconds that a provider may take to list its models."""

REMEMBERED = 300.0
"""Seconds for which a list is kept."""

MAX_LIST_BYTES = 8 * 1024 * 1024

EPOCH = "1970-01-01T00:00:00Z"
"""What Anthropic's list says where no date is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One entry: the id to call it by, who has it, its name for people, and when it was made (Unix time, 0:
    unknown)."""

    id: str
    owner: str
    label: str
    created: int = 0
    created_at: str = EPOCH


_remembered: dict[Provider, tuple[float, list[Model]]] = {}


def is_asked(call: Call) -> bool:
    """Whether a call asks for the gateway's own list, or for one entry of it."""
    if call.method not in ("GET", "HEAD") or b"x-provider" in call.fields:
        return False
    is_models = call.path == PATH or call.path.startswith(PATH + "/")
    return is_models and not call.path.endswith(GEMINI_METHODS)


async def answer(call: Call, caller: Caller, snapshot: Snapshot, transport: Transport) -> Reply:
    """Answer with the list, or with the one entry that the path names. Raises ModelNotFound."""
    models = await collect(call, caller, snapshot, transport)
    is_anthropic = call.dialect.family == "anthropic"
    write = _write_anthropic if is_anthropic else _write_openai
    wanted = call.path[len(PATH) + 1 :]
    if wanted:
        found = next((model for model in models if model.id == wanted), None)
        if found is None:
            raise ModelNotFound(f"The model {wanted[:128]!r} is not listed by this gateway.", param="model")
        document: dict[str, Any] = write(found)
    elif is_anthropic:
        first, last = (models[0].id, models[-1].id) if models else (None, None)
        document = {"data": [write(model) for model in models], "has_more": False, "first_id": first, "last_id": last}
    else:
        document = {"object": "list", "data": [write(model) for model in models]}
    body = msgspec.json.encode(document)
    request_id = call.request_id.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id),
        (b"request-id", request_id),
    ]
    return Reply(status=200, headers=headers, body=b"" if call.method == "HEAD" else body)


def _write_openai(model: Model) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owner}


def _write_anthropic(model: Model) -> dict[str, Any]:
    return {"type": "model", "id": model.id, "display_name": model.label, "created_at": model.created_at}


async def collect(call: Call, caller: Caller, snapshot: Snapshot, transport: Transport) -> list[Model]:
    """List what this caller may ask for: routes first, then provider by provider."""
    names = snapshot.routes if caller.is_authenticated else ()
    models = [Model(id=name, owner="gateway", label=name) for name in names]
    providers = _visible(call, caller, snapshot)
    lists = await asyncio.gather(*(_list(call, caller, provider, snapshot, transport) for provider in providers))
    known: dict[str, Model] = {}
    for model in [*models, *(model for each in lists for model in each)]:
        known.setdefault(model.id, model)
    return [model for model in known.values() if may_list(caller, model.id, snapshot)]


def _visible(call: Call, caller: Caller, snapshot: Snapshot) -> list[Provider]:
    if caller.is_authenticated:
        return [provider for alias, provider in snapshot.configured.items() if may_use_provider(caller, alias)]
    public = [provider for provider in snapshot.providers.values() if provider.is_public]
    default = snapshot.providers.get(default_provider(call, snapshot))
    return [*public, default] if caller.credential is not None and default is not None else public


async def _list(
    call: Call, caller: Caller, provider: Provider, snapshot: Snapshot, transport: Transport
) -> list[Model]:
    """List a provider's models: those that its configuration names, and its own list."""
    named = [_named(provider, model) for model in provider.models]
    if not provider.lists_models or provider.is_public:
        return named
    remembered = _remembered.get(provider)
    if caller.is_authenticated and remembered is not None and time.monotonic() < remembered[0]:
        return [*named, *remembered[1]]
    try:
        async with asyncio.timeout(PATIENCE):
            fetched = await _fetch(call, caller, provider, snapshot, transport)
    except (GatewayError, TimeoutError, ValueError) as error:
        logger.warning("%s: %s does not list its models: %s", call.request_id, provider.name, error)
        fetched = remembered[1] if caller.is_authenticated and remembered is not None else []
    else:
        if caller.is_authenticated:
            _remembered[provider] = (time.monotonic() + REMEMBERED, fetched)
    return [*named, *fetched]


async def _fetch(
    call: Call, caller: Caller, provider: Provider, snapshot: Snapshot, transport: Transport
) -> list[Model]:
    # The caller's headers stay out of it: the list is everybody's.
    plain = msgspec.structs.replace(
        call, method="GET", path=PATH, query=b"", headers=[], fields={}, dialect=DIALECTS["openai"]
    )
    request = provider.build(plain, caller, None)
    send = provider.send or transport.send
    response = await send(request, snapshot.timeouts.of(provider))
    try:
        body = b""
        while chunk := await response.read():
            body += chunk
            if len(body) > MAX_LIST_BYTES:
                raise ValueError("the list is too long")
    finally:
        await response.aclose()
    if response.status != 200:
        raise ValueError(f"status {response.status}")
    return read_models(provider, body)


def read_models(provider: Provider, body: bytes) -> list[Model]:
    """Read a provider's list, in OpenAI's or Anthropic's shape, or a bare array. Raises ValueError if it is neither."""
    document = msgspec.json.decode(body)
    entries = document.get("data") if isinstance(document, dict) else document
    if not isinstance(entries, list):
        raise ValueError("not a list of models")
    return [_read(provider, entry) for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def _read(provider: Provider, entry: dict[str, Any]) -> Model:
    created, created_at = entry.get("created"), entry.get("created_at")
    return replace(
        _named(provider, entry["id"].removeprefix("models/")),
        label=str(entry.get("display_name") or entry["id"]),
        created=created if isinstance(created, int) else 0,
        created_at=created_at if isinstance(created_at, str) else EPOCH,
    )


def _named(provider: Provider, model: str) -> Model:
    return Model(id=f"{provider.name}/{model}", owner=provider.name, label=model)
