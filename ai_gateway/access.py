"""What may this caller use? The endpoints, providers and models of its key, and the routes of its owner.

A pattern is a name with `*` for anything. One for models with a slash in it is compared with `provider/model`, one
without with the name of the route, or of the model whoever has it. A call by a route is judged by the route's name: the
models behind it are the operator's choice. A call whose model cannot be read is refused to a key that may use some
models only: what is authorised is what is sent. A body's model is believed where the body is known to decide, and not
at an endpoint that nobody knows, whose path may name another one.

What a caller may not use does not exist for it: the error is the same as for a model that nobody has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from urllib.parse import unquote

from ai_gateway.calls import Arrival, Call, Caller, Target, below_version
from ai_gateway.errors import ModelNotFound
from ai_gateway.patterns import fits
from ai_gateway.protocols import model_in
from ai_gateway.protocols.endpoints import COUNTING, ENDPOINTS, FORMS, JUDGING
from ai_gateway.registry import Snapshot
from ai_gateway.routing import route_of

MODEL_IN_PATH = re.compile(r"/v1[a-z]*/(?:models/(?=[^/]+\Z)|model/)(?P<model>[^/]+?)(?::[A-Za-z]+)?(?:/[a-z-]+)?")
"""Where Google's API and Amazon's have the name of the model."""

AGENTS = "agents/completions"
"""An endpoint of Mistral's at which an agent decides the model, whatever the body says besides."""

BODY_DECIDES = frozenset((*ENDPOINTS, *FORMS, *COUNTING, *JUDGING, "chat/completions", "complete", "conversations"))
"""Endpoints below the version, besides those that generate, whose body decides the model."""

COMPATIBLE = "/v1beta/openai/"
"""Below what Google has OpenAI's endpoints."""


def check_arrival(arrival: Arrival, caller: Caller) -> None:
    """Raise ModelNotFound for an endpoint, or a provider named in `x-provider`, that is not open to the caller."""
    if caller.allowed_endpoints and not any(
        fits(path, caller.allowed_endpoints) for path in (arrival.path, below_version(arrival.path))
    ):
        raise not_found(None)
    if caller.allowed_providers:
        named = arrival.fields.get(b"x-provider")
        if named is not None and not fits(named.decode("latin-1").strip().lower(), caller.allowed_providers):
            raise not_found(None)


def permitted(call: Call, caller: Caller, targets: Sequence[Target], snapshot: Snapshot) -> Sequence[Target]:
    """Give those of a call's targets that the caller may use. Raises ModelNotFound if there is none."""
    route = route_of(call, snapshot)
    if route is not None and not may_use_route(caller, route, snapshot):
        raise not_found(route)
    if not caller.allowed_models and not caller.allowed_providers:
        return targets
    in_path = model_in_path(call.path)
    if caller.allowed_models and in_path is None and not decides_itself(call):
        targets = [target for target in targets if may_use_every_model(caller, target.provider)]
        if not targets:
            raise not_found(None)
    if route is not None:
        if caller.allowed_models and not fits(route, caller.allowed_models):
            raise not_found(route)
        kept = [target for target in targets if may_use_provider(caller, target.provider)]
    else:
        kept = [target for target in targets if may_use_model(caller, target.provider, target.model or in_path)]
    if in_path is not None and in_path != call.model:
        # Whatever the body says besides.
        kept = [target for target in kept if may_use_model(caller, target.provider, in_path)]
    if not kept:
        raise not_found(call.model)
    return kept


def may_use_route(caller: Caller, name: str, snapshot: Snapshot) -> bool:
    """Whether a route is open to a caller by its rule, whatever the caller's key says."""
    rule = snapshot.rules.get(name)
    if rule is None or rule.is_public:
        return True
    if caller.key_id is None and caller.user_id is None:
        return caller.is_authenticated  # A key of the settings is the operator's own.
    return caller.uses_every_route or caller.user_id in rule.users or not rule.groups.isdisjoint(caller.groups)


def may_list(caller: Caller, model_id: str, snapshot: Snapshot) -> bool:
    """Whether an entry of the list of models is shown to a caller."""
    if model_id in snapshot.routes:
        by_key = not caller.allowed_models or fits(model_id, caller.allowed_models)
        targets = snapshot.routes[model_id]
        by_provider = any(may_use_provider(caller, target.provider) for target in targets)
        return by_key and by_provider and may_use_route(caller, model_id, snapshot)
    provider, _, model = model_id.partition("/")
    return may_use_model(caller, provider, model)


def may_use_provider(caller: Caller, alias: str) -> bool:
    """Whether a caller's key is for a provider."""
    return not caller.allowed_providers or fits(alias, caller.allowed_providers)


def may_use_model(caller: Caller, provider: str, model: str | None) -> bool:
    """Whether a caller's key is for a model of a provider, asked for without a route."""
    if not may_use_provider(caller, provider):
        return False
    if not caller.allowed_models:
        return True
    names = {True: f"{provider}/{model}", False: model}
    return model is not None and any(fnmatchcase(names["/" in each] or "", each) for each in caller.allowed_models)


def may_use_every_model(caller: Caller, provider: str) -> bool:
    """Whether a caller's key is for all models of a provider."""
    return not caller.allowed_models or not {"*", f"{provider}/*"}.isdisjoint(caller.allowed_models)


def not_found(model: str | None) -> ModelNotFound:
    """Make the error for whatever is not there, or not for this caller."""
    shown = f"The model {model[:128]!r}" if model else "What was asked for"
    return ModelNotFound(f"{shown} does not exist, or is not open to this key.", param="model")


def model_in_path(path: str) -> str | None:
    """Name the model that a path is for, if it says."""
    found = MODEL_IN_PATH.fullmatch(path)
    return unquote(found["model"]) if found else None


def decides_itself(call: Call) -> bool:
    """Whether the model that was read of a call is the one that a provider will take."""
    if call.dialect.is_session or model_in(call.path) is not None:
        return True
    if call.method != "POST":
        return False  # What is read or deleted is anybody's, and a body says nothing of it.
    if call.dialect.is_generation and call.dialect.family != "gemini":  # Whose paths may name a model otherwise.
        return True
    path = call.path
    below = path.removeprefix(COMPATIBLE) if path.startswith(COMPATIBLE) else below_version(path)
    return below in BODY_DECIDES and below != AGENTS
