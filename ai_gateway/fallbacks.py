"""Whom does the caller itself want asked if the first one fails? By the header or the body of the call, in this order:

    x-gateway-fallbacks: groq/llama-4, fast
    {"model": "gpt-5", "models": ["groq/llama-4", "fast"]}      OpenRouter's form; `route` beside it says nothing more

Each is read as the model of a call is: a route, provider/model, or a model of the default provider. Each must be open
to the caller's key, and a key may be barred from all of this. They come behind the targets that the call has anyway,
and `RETRIES` bounds how many of them are asked.

A call that is addressed to OpenRouter itself keeps its `models`: they are OpenRouter's names. So does a call that is
passed on with a credential of its caller's own, which is for no other provider. And so do the calls of other endpoints,
embeddings for example: OpenRouter may heed them there too, so a key that is held to something is held to it there.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ai_gateway import access, routing, suitability
from ai_gateway.bodies import MAX_MODEL, without
from ai_gateway.calls import Call, Caller, Target
from ai_gateway.errors import BadRequest, InvalidBody, NoSuitableTarget, PermissionDenied
from ai_gateway.facts import Facts
from ai_gateway.protocols import with_model
from ai_gateway.registry import Snapshot

HEADER = b"x-gateway-fallbacks"

MOST = 8
"""Names that a call may have."""

KEEPS_ITS_OWN = "openrouter"
"""The provider that takes `models` itself."""


def are_named(call: Call) -> bool:
    """Whether a call names any. Most do not, and this is all that they notice of it."""
    return call.models is not None or HEADER in call.fields


def taken_from(
    call: Call, caller: Caller, targets: Sequence[Target], route: str, snapshot: Snapshot
) -> tuple[Call, list[str]]:
    """Give the names, and the call without those of its body. Raises PermissionDenied, InvalidBody, BadRequest, and
    ModelNotFound for one of OpenRouter's names that is not open to the caller."""
    if not caller.is_authenticated:
        return call, []
    if not (call.dialect.is_generation or call.dialect.is_session):
        _check_left(call, caller, targets)
        return call, []
    names = [name.strip() for name in call.fields.get(HEADER, b"").decode("latin-1").split(",")]
    kept: list[str] = []
    if call.models is not None:
        if not route and _is_for_openrouter(targets, snapshot):
            kept = _read_models(call.models)
        else:
            names += _read_models(call.models)
            call = _without_models(call)
    wanted = [name for name in dict.fromkeys(names) if name and name != call.model]
    if wanted:
        _check_permission(caller)
    if len(wanted) > MOST:
        raise BadRequest(f"A call may name {MOST} fallbacks at most.", param="models")
    _check_kept(kept, caller, targets[:1])
    return call, wanted


def _check_left(call: Call, caller: Caller, targets: Sequence[Target]) -> None:
    """Check names in the body of an endpoint's call, which nobody takes out. For others than OpenRouter they may be
    anything, and who may use everything may say anything."""
    if call.models is not None and (caller.allowed_models or not caller.may_choose_fallbacks):
        _check_kept(_read_models(call.models), caller, targets)


def _check_kept(names: Sequence[str], caller: Caller, targets: Sequence[Target]) -> None:
    """Check names that go on to a provider. Raises PermissionDenied, and ModelNotFound for one that is not open."""
    if names:
        _check_permission(caller)
    for name in names:
        for target in targets:
            if not access.may_use_model(caller, target.provider, name):
                raise access.not_found(name)


def _check_permission(caller: Caller) -> None:
    if not caller.may_choose_fallbacks:
        raise PermissionDenied("This key may not choose fallbacks (x-gateway-fallbacks, models).")


def targets_of(
    names: Sequence[str], call: Call, caller: Caller, targets: Sequence[Target], snapshot: Snapshot
) -> Sequence[Target]:
    """Put the targets of the names behind those of the call. Raises ModelNotFound for one that is not open to the
    caller, and BadRequest for one that can be no fallback."""
    order = dict.fromkeys(targets)
    for name in names:
        # What x-provider says is about the call's own model.
        fields = {key: value for key, value in call.fields.items() if key != b"x-provider"}
        other = msgspec.structs.replace(call, model=name, path=with_model(call.path, name), fields=fields)
        found = access.permitted(other, caller, routing.resolve(other, snapshot), snapshot)
        route = routing.route_of(other, snapshot)
        if route is not None:
            _check_route(route, call, caller, snapshot)
            try:
                found = suitability.meeting(route, found, Facts(other, caller), snapshot)
            except NoSuitableTarget:
                continue  # It was named in case that it does.
        order.update(dict.fromkeys(found))
    return list(order)


def _check_route(route: str, call: Call, caller: Caller, snapshot: Snapshot) -> None:
    """Raise BadRequest for a route that must not be had beside what is asked of calls that name it as their model."""
    if snapshot.limits.are_on_route(route):
        raise BadRequest(f"The route {route!r} has limits of its own, and so can be no fallback.", param="models")
    rule, own = snapshot.rules.get(route), snapshot.rules.get(routing.route_of(call, snapshot) or "")
    if rule is None or not rule.guardrails:
        return
    asked = {guard.name for guard in snapshot.guards.everywhere}.union(caller.guardrails, own.guardrails if own else ())
    if not asked.issuperset(rule.guardrails):
        raise BadRequest(
            f"The route {route!r} has guardrails that this call has not, and so can be no fallback.", param="models"
        )


def _read_models(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidBody('"models" must be a list of names.', param="models")
    if any(len(each) > MAX_MODEL for each in value):
        raise InvalidBody(f'A name in "models" has more than {MAX_MODEL} characters.', param="models")
    return [each.strip() for each in value]


def _without_models(call: Call) -> Call:
    """Take the names, and what OpenRouter's form has beside them, out of a body; it keeps the model that it had."""
    assert isinstance(call.body, bytes)
    return msgspec.structs.replace(call, body=without(call.body, ("models", "route")), models=None)


def _is_for_openrouter(targets: Sequence[Target], snapshot: Snapshot) -> bool:
    first = snapshot.providers.get(targets[0].provider)
    return first is not None and KEEPS_ITS_OWN in (first.name, first.row)
