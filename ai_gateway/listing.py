"""Which models are there? `GET /v1/models` and `GET /v1/models/{id}` without `x-provider`, for all providers at once;
and the same below `/v1beta`, for Google's clients.

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
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from ai_gateway.access import may_list, may_use_provider
from ai_gateway.calls import Call, Caller, Reply, Target
from ai_gateway.errors import GatewayError, ModelNotFound
from ai_gateway.model_lists import EPOCH, SHAPES, Model, methods_of, read_query
from ai_gateway.protocols import GEMINI_METHODS, dialect_of
from ai_gateway.providers import Provider
from ai_gateway.registry import Snapshot
from ai_gateway.replies import own_reply
from ai_gateway.routing import default_provider
from ai_gateway.transports import Transport

logger = logging.getLogger("ai_gateway")

PATHS = ("/v1/models", "/v1beta/models")

PATIENCE = 2.0
"""Seconds that a provider may take to list its models."""

REMEMBERED = 300.0
"""Seconds for which a list is kept."""

MAX_LIST_BYTES = 8 * 1024 * 1024

MOST_PAGES = 10
"""Pages of a provider's list that are read."""

INPUT_LIMITS = (
    "inputTokenLimit",
    "max_input_tokens",
    "context_length",
    "context_window",
    "max_context_length",
    "max_model_len",
)
OUTPUT_LIMITS = ("outputTokenLimit", "max_tokens", "max_completion_tokens", "max_output_tokens")
"""What providers call the sizes of their models: Google, Anthropic, OpenRouter and Together, Groq, Mistral, vLLM."""

_remembered: dict[Provider, tuple[float, list[Model]]] = {}


def is_asked(call: Call) -> bool:
    """Whether a call asks for the gateway's own list, or for one entry of it."""
    if call.method not in ("GET", "HEAD") or b"x-provider" in call.fields:
        return False
    return asked_id(call.path) is not None and not call.path.endswith(GEMINI_METHODS)


def asked_id(path: str) -> str | None:
    """Give the id of the model that a path below `/models` names, "" for all of them; None for another path."""
    for prefix in PATHS:
        if path == prefix:
            return ""
        if path.startswith(prefix + "/"):
            return path[len(prefix) + 1 :]
    return None


async def answer(call: Call, caller: Caller, snapshot: Snapshot, transport: Transport) -> Reply:
    """Answer with the list, or with the one entry that the path names. Raises ModelNotFound, BadRequest."""
    models = await collect(call, caller, snapshot, transport)
    shape = SHAPES[call.dialect.family]
    wanted = asked_id(call.path)
    if wanted:
        document = shape.write(_find(wanted, models, default_provider(call, snapshot)))
    else:
        document = shape.write_list(models, read_query(call.query))
    body = msgspec.json.encode(document)
    return own_reply(body, call.request_id, is_head=call.method == "HEAD")


def _find(wanted: str, models: Sequence[Model], default: str) -> Model:
    """Give the model that a call of this name would be for: without a provider, it is the default's."""
    known = {model.id: model for model in models}
    found = known.get(wanted) or known.get(f"{default}/{wanted}")
    if found is None:
        raise ModelNotFound(f"The model {wanted[:128]!r} is not listed by this gateway.", param="model")
    return replace(found, id=wanted)


async def collect(call: Call, caller: Caller, snapshot: Snapshot, transport: Transport) -> list[Model]:
    """List what this caller may ask for: routes first, then provider by provider."""
    providers = _visible(call, caller, snapshot)
    lists = await asyncio.gather(*(_list(call, caller, provider, snapshot, transport) for provider in providers))
    listed: dict[str, Model] = {}
    for model in (model for each in lists for model in each):
        listed.setdefault(model.id, model)
    routes = snapshot.routes if caller.is_authenticated else {}
    known = {name: _of_route(name, targets, listed) for name, targets in routes.items()}
    for model in listed.values():
        known.setdefault(model.id, model)
    return [model for model in known.values() if may_list(caller, model.id, snapshot)]


def _of_route(name: str, targets: Sequence[Target], listed: Mapping[str, Model]) -> Model:
    """Make the entry of a route: it takes and gives what every model behind it does, as far as that is known."""
    behind = [model for target in targets if (model := listed.get(f"{target.provider}/{target.model}"))]
    return Model(
        id=name,
        owner="gateway",
        label=name,
        input_limit=min((model.input_limit for model in behind if model.input_limit), default=0),
        output_limit=min((model.output_limit for model in behind if model.output_limit), default=0),
        methods=methods_of(behind[0]) if behind else (),
    )


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


def lists(provider: Provider, model: str) -> bool | None:
    """Whether a provider has a model, by the list that was fetched last or by its configuration. None: nobody knows, or
    the list is too old."""
    if model in provider.models:
        return True
    found = _remembered.get(provider)
    if found is None or time.monotonic() >= found[0]:
        return None
    return any(each.id == f"{provider.name}/{model}" for each in found[1])


async def _fetch(
    call: Call, caller: Caller, provider: Provider, snapshot: Snapshot, transport: Transport
) -> list[Model]:
    """Ask a provider for its list, page by page."""
    pages = Pages(provider)
    while not pages.is_over:
        pages.add(await _fetch_page(pages, call, caller, provider, snapshot, transport))
    return list(pages.models.values())


async def _fetch_page(
    pages: Pages, call: Call, caller: Caller, provider: Provider, snapshot: Snapshot, transport: Transport
) -> bytes:
    # The caller's headers stay out of it: the list is everybody's.
    path, query = pages.path, pages.query.encode()
    plain = msgspec.structs.replace(
        call, method="GET", path=path, query=query, headers=[], fields={}, dialect=dialect_of(path, {})
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
    return body


class Pages:
    """A provider's list while it comes, for whoever asks for its pages: the path and the query that the next one is
    asked for with, the models that have come, by id, and whether there is no more to ask for."""

    def __init__(self, provider: Provider) -> None:
        self.path, _, self.query = provider.models_path.partition("?")
        self.models: dict[str, Model] = {}
        self.is_over = False
        self._provider = provider
        self._left = MOST_PAGES

    def add(self, body: bytes) -> None:
        """Take a page. One with nothing new is the last, and so is the last that is read. Raises ValueError for what is
        no list."""
        before = len(self.models)
        models, self.query = read_page(self._provider, body)
        self.models.update((model.id, model) for model in models)
        self._left -= 1
        self.is_over = not (self.query and self._left) or len(self.models) == before


def read_page(provider: Provider, body: bytes) -> tuple[list[Model], str]:
    """Read a page of a provider's list, in OpenAI's, Anthropic's or Google's shape, or a bare array; and the query that
    the next page is asked for with, "" behind the last one. Raises ValueError if it is none of these."""
    document = msgspec.json.decode(body)
    entries = document.get("data", document.get("models")) if isinstance(document, dict) else document
    if not isinstance(entries, list):
        raise ValueError("not a list of models")
    models = [_read(provider, entry) for entry in entries if isinstance(entry, dict) and isinstance(_id_in(entry), str)]
    return models, _next_page(provider, document) if isinstance(document, dict) else ""


def _next_page(provider: Provider, document: Mapping[str, Any]) -> str:
    """Tell how the next page is asked for: Google names it, of Anthropic's it is the last model of this one."""
    token, last = document.get("nextPageToken"), document.get("last_id")
    if isinstance(token, str) and token:
        more = {"pageToken": token}
    elif document.get("has_more") is True and isinstance(last, str) and last:
        more = {"after_id": last}
    else:
        return ""
    return urlencode([*parse_qsl(provider.models_path.partition("?")[2]), *more.items()])


def _id_in(entry: Mapping[str, Any]) -> Any:
    return entry.get("id", entry.get("name"))


def _read(provider: Provider, entry: Mapping[str, Any]) -> Model:
    id = _id_in(entry)
    created, created_at = entry.get("created"), entry.get("created_at")
    methods = entry.get("supportedGenerationMethods")
    return replace(
        _named(provider, id.removeprefix("models/")),
        label=str(entry.get("display_name") or entry.get("displayName") or id),
        created=created if isinstance(created, int) else 0,
        created_at=created_at if isinstance(created_at, str) else EPOCH,
        input_limit=_limit(entry, INPUT_LIMITS),
        output_limit=_limit(entry, OUTPUT_LIMITS),
        methods=tuple(filter(_is_text, methods)) if isinstance(methods, list) else (),
    )


def _limit(entry: Mapping[str, Any], names: Sequence[str]) -> int:
    """Read the first of these members that is a number of tokens; 0 for none."""
    return next((value for name in names if type(value := entry.get(name)) is int and value > 0), 0)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _named(provider: Provider, model: str) -> Model:
    return Model(id=f"{provider.name}/{model}", owner=provider.name, label=model)
