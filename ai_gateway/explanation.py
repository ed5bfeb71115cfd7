"""Where would a call go, and why? The decisions of a call, taken as a call takes them, with nothing sent.

Nothing is drawn either, and no guardrail is asked: of experiments, copies, guardrails and the cache it is only told
what they would do with such a call.

For people: `gateway_explain` prints one, and the admin shows it. How well targets are is known to the processes that
serve calls, so the command knows nothing of it, and the admin what its own process knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from ai_gateway import access, breakers, gateway, intake, keys, listing, response_cache, routing, suitability
from ai_gateway.bodies import read
from ai_gateway.cache_policy import wishes_of
from ai_gateway.calls import Arrival, Call, Caller, Headers, Target, WholeBody
from ai_gateway.configuration import PLAIN, Share
from ai_gateway.errors import GatewayError
from ai_gateway.fingerprints import Uncacheable
from ai_gateway.guarding import guards_of
from ai_gateway.guardrails.register import Broken, Guard
from ai_gateway.meter import Meter
from ai_gateway.providers import Provider
from ai_gateway.registry import Snapshot
from ai_gateway.strategies import SESSION_HEADERS

EMPTY = b"{}"
"""The body of a call of which nobody says more."""


@dataclass(frozen=True, slots=True)
class TargetFinding:
    """One target, and what stands in its way; or how it stands if it is asked last. One that is left out has no
    address."""

    target: Target
    url: str
    problem: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the targets were chosen, the targets in their order, and the error that a caller would get if there is
    one. `asides` are sentences on what else happens to such a call."""

    reason: str
    targets: Sequence[TargetFinding] = ()
    error: str | None = None
    asides: Sequence[str] = ()

    @property
    def is_served(self) -> bool:
        """Whether some target can be asked."""
        return self.error is None and any(finding.problem is None for finding in self.targets)


def explain(
    model: str, caller: Caller, snapshot: Snapshot, *, path: str, headers: Headers, body: bytes = EMPTY
) -> Explanation:
    """Explain a call for a model, as this caller, at this path. What the body says of a model does not count."""
    arrival = intake.read_arrival("POST", path, path.encode(), b"", headers, WholeBody(body))
    meter = Meter(arrival, caller)
    reason, asides, found = "", [], []
    try:
        call = meter.call = make_call(arrival, model, body)
        reason = reason_of(call, snapshot)
        intake.check_head(arrival)
        access.check_arrival(arrival, caller)
        meter.route = routing.route_of(call, snapshot) or ""
        found = [*access.permitted(call, caller, routing.resolve(call, snapshot), snapshot)]
        asides = [*asides_of(meter, found, snapshot)]
        asked = gateway.able(meter, gateway.open_to(meter, call, found, snapshot), snapshot)
    except GatewayError as error:
        unfit = [each for each in found if suitability.what_it_wants(meter.route, each, meter.facts, snapshot)]
        targets = [_left_out(each, suitability.why_not(meter.route, each, meter.facts, snapshot)[1]) for each in unfit]
        targets += gone(meter.route, caller, snapshot)
        return Explanation(reason, targets, f"{error.status} {error.code}: {error.message}", asides)
    there = [_look_at(meter.call, caller, each, snapshot) for each in breakers.ordered(asked)]
    left_out = [_left_out(Target(each["provider"], each["model"]), each["why"]) for each in meter.trail]
    return Explanation(reason, [*there, *left_out, *gone(meter.route, caller, snapshot)], asides=asides)


def gone(route: str, caller: Caller, snapshot: Snapshot) -> list[TargetFinding]:
    """Give the targets of a route whose providers cannot be asked at all: calls pass them over without a word."""
    if not access.may_use_route(caller, route, snapshot):
        return []
    reasons = ((target, why_gone(target.provider, snapshot)) for target in snapshot.routes.get(route, ()))
    return [_left_out(target, why) for target, why in reasons if why]


def why_gone(alias: str, snapshot: Snapshot) -> str:
    """Say why a provider cannot be asked, or "" of one that can. For the operator, not for callers."""
    if alias in snapshot.providers:
        return ""
    if alias in snapshot.broken:
        return f"its provider is not set up correctly: {snapshot.broken[alias].rstrip('.')}"
    return "its provider is switched off" if alias in snapshot.switched_off else "there is no such provider"


def how_it_stands(target: Target, provider: Provider) -> str:
    """Say what is against a target of a provider that can be asked, as far as this process knows without asking."""
    state = breakers.state_of(target)
    if state in ("open", "resting"):
        return f"last, because its breaker is {state}"
    if target.model and listing.lists(provider, target.model) is False:
        return "the provider's list has no such model"
    return ""


def _left_out(target: Target, why: str) -> TargetFinding:
    return TargetFinding(target, "", f"left out: {why}")


def make_call(arrival: Arrival, model: str, body: bytes = EMPTY) -> Call:
    """Make the call that an arrival with this body would become, if this was its model. Raises InvalidBody."""
    said = read(body).members
    return Call(
        method=arrival.method,
        path=arrival.path,
        query=b"",
        headers=arrival.headers,
        fields=arrival.fields,
        body=body,
        dialect=arrival.dialect,
        request_id=arrival.request_id,
        received_at=perf_counter(),
        model=model,
        stream=said.stream is True,
        models=said.models,
    )


ORDERS = {
    "failover": "in order",
    "weighted": "at random by weight",
    "round_robin": "in turn",
    "least_busy": "by how busy they are",
    "lowest_latency": "by how fast they are",
    "cheapest": "by what they cost",
}
"""The strategies in words."""


ASKERS = {"key": "with the same key", "user": "by the same user", "everyone": "by anybody"}
"""Whose equal calls share an answer, by the scope of the cache."""


def reason_of(call: Call, snapshot: Snapshot) -> str:
    """Say in words by which of the rules of `routing.py` a call's targets are chosen."""
    if b"x-provider" in call.fields:
        return "x-provider names the provider"
    model = call.model or ""
    if snapshot.routes.get(model):
        rule = snapshot.rules.get(model)
        order = ORDERS[rule.strategy if rule is not None else "failover"]
        kept = f"; {_kept(call, rule.sticky)}" if rule is not None and rule.sticky else ""
        return f"{model!r} is a route, whose targets are asked {order}{kept}"
    alias = model.partition("/")[0].lower()
    if "/" in model and (alias in snapshot.providers or alias in snapshot.broken):
        return f"the model names the provider {alias!r}"
    if call.dialect.family in routing.FAMILY_PROVIDERS:
        return f"nothing names a provider, and the path speaks the API of {call.dialect.family}"
    return f"nothing names a provider, so the default one is asked, {snapshot.default_provider!r}"


def _kept(call: Call, sticky: str) -> str:
    """Say what keeps calls together, and what this one is kept by."""
    if sticky != "session":
        return "calls are kept together by how they begin"
    name = next((name.decode() for name in SESSION_HEADERS if call.fields.get(name)), None)
    this = f"this one by {name}" if name else "this one has none"
    return f"calls are kept together by their session, {this}"


def asides_of(meter: Meter, targets: Sequence[Target], snapshot: Snapshot) -> Iterator[str]:
    """Say in sentences what happens to a call besides its being sent to a target, in the order in which it happens."""
    rule = snapshot.rules.get(meter.route, PLAIN)
    yield from (_guarded_by(guard) for guard in guards_of(meter, snapshot))
    if snapshot.cache is not None:
        yield _cached(meter, targets, snapshot)
    yield from (f"{_percent(share)} of the calls go to {_named(share)} first, on trial" for share in rule.variants)
    yield from (f"{_percent(share)} of the calls are copied to {_named(share)}" for share in rule.mirrors)


def _guarded_by(guard: Guard) -> str:
    if isinstance(guard.guardrail, Broken):
        then = "lets everything pass" if guard.passes_failures or guard.is_monitor else "nothing passes"
        return f"the guardrail {guard.name!r} fails, and {then}: {guard.guardrail.reason.rstrip('.')}"
    then = ", and only notes what it finds" if guard.is_monitor else ""
    return f"the guardrail {guard.name!r} is asked about the {' and the '.join(guard.stages)}{then}"


def _cached(meter: Meter, targets: Sequence[Target], snapshot: Snapshot) -> str:
    """Say whether a call may be answered from the cache. Whether there is an answer is not looked up."""
    assert snapshot.cache is not None
    assert meter.call is not None
    if not response_cache.is_for(meter, snapshot):
        return "the cache is not for such calls"
    wishes = wishes_of(meter.call.fields)
    try:
        response_cache.length_of(meter.call, wishes, snapshot.cache)
        response_cache.name_of(meter, meter.call, targets, snapshot.cache)
    except Uncacheable as reason:
        return f"the cache is passed by: {reason}"
    taken = f"an answer to an equal call {ASKERS[snapshot.cache.scope]} is taken from the cache"
    kept = f"a new one is kept for {response_cache.seconds_kept(meter, wishes, snapshot)} s"
    if not wishes.reads:
        return f"the cache is not looked into, as the caller wants it, and {kept}"
    return f"{taken}, and {kept}" if wishes.keeps else f"{taken}, and no new one is kept, as the caller wants it"


def _percent(share: Share) -> str:
    return f"{share.percent:g} %"


def _named(share: Share) -> str:
    return f"{share.target.provider}/{share.target.model}"


def _look_at(call: Call, caller: Caller, target: Target, snapshot: Snapshot) -> TargetFinding:
    provider: Provider = snapshot.providers[target.provider]
    try:
        keys.check_access(caller, provider)
        request = provider.build(call, caller, None)
    except GatewayError as error:
        return TargetFinding(target, provider.base_url, f"{error.status} {error.code}: {error.message}")
    url = f"{request.origin.scheme}://{request.origin.host_header.decode()}{request.target.decode()}"
    return TargetFinding(target, url, note=how_it_stands(target, provider))
