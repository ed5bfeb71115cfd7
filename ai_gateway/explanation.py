"""Where would a call go, and why? The decisions of a call, taken as a call takes them, with nothing sent.

For people: `gateway_explain` prints one, and the admin shows it. How well targets are is known to the processes that
serve calls, so the command knows nothing of it, and the admin what its own process knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from ai_gateway import access, breakers, fallbacks, intake, keys, routing, suitability
from ai_gateway.bodies import read_routing
from ai_gateway.calls import Arrival, Call, Caller, Headers, IncomingBody, Target
from ai_gateway.errors import GatewayError
from ai_gateway.facts import Facts
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
    one."""

    reason: str
    targets: Sequence[TargetFinding] = ()
    error: str | None = None

    @property
    def is_served(self) -> bool:
        """Whether some target can be asked."""
        return self.error is None and any(finding.problem is None for finding in self.targets)


def explain(
    model: str, caller: Caller, snapshot: Snapshot, *, path: str, headers: Headers, body: bytes = EMPTY
) -> Explanation:
    """Explain a call for a model, as this caller, at this path. What the body says of a model does not count."""
    arrival = intake.read_arrival("POST", path, path.encode(), b"", headers, NoBody())
    reason, targets = "", []
    try:
        call = make_call(arrival, model, body)
        reason = reason_of(call, snapshot)
        intake.check_head(arrival)
        access.check_arrival(arrival, caller)
        found = access.permitted(call, caller, routing.resolve(call, snapshot), snapshot)
        facts, route = Facts(call, caller), routing.route_of(call, snapshot) or ""
        targets = _unfit(route, found, facts, snapshot)
        found = suitability.meeting(route, found, facts, snapshot)
        call, names = fallbacks.taken_from(call, caller, found, route, snapshot)
        found = fallbacks.targets_of(names, call, caller, found, snapshot)
    except GatewayError as error:
        return Explanation(reason, targets, error=f"{error.status} {error.code}: {error.message}")
    asked = suitability.able(found, facts, snapshot)
    unable = [_left_out(route, each, facts, snapshot) for each in found if each not in asked]
    order = breakers.ordered(asked)
    return Explanation(reason, [*(_look_at(call, caller, each, snapshot) for each in order), *unable, *targets])


def _unfit(route: str, targets: Sequence[Target], facts: Facts, snapshot: Snapshot) -> list[TargetFinding]:
    """Find the targets whose conditions do not hold."""
    unfit = [target for target in targets if suitability.what_it_wants(route, target, facts, snapshot) is not None]
    return [_left_out(route, target, facts, snapshot) for target in unfit]


def _left_out(route: str, target: Target, facts: Facts, snapshot: Snapshot) -> TargetFinding:
    _, why = suitability.why_not(route, target, facts, snapshot)
    return TargetFinding(target, "", f"left out: {why}")


class NoBody(IncomingBody):
    """The body of a call that nobody sends."""

    async def read(self, limit: int, seconds: float) -> bytes:
        """See IncomingBody.read()."""
        return EMPTY

    async def pieces(self, limit: int, seconds: float) -> None:  # type: ignore[override]
        """See IncomingBody.pieces()."""


def make_call(arrival: Arrival, model: str, body: bytes = EMPTY) -> Call:
    """Make the call that an arrival with this body would become, if this was its model. Raises InvalidBody."""
    said = read_routing(body)
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


def reason_of(call: Call, snapshot: Snapshot) -> str:
    """Say in words by which of the rules of `routing.py` a call's targets are chosen."""
    if b"x-provider" in call.fields:
        return "x-provider names the provider"
    model = call.model or ""
    if model in snapshot.routes:
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


def _look_at(call: Call, caller: Caller, target: Target, snapshot: Snapshot) -> TargetFinding:
    provider: Provider = snapshot.providers[target.provider]
    try:
        keys.check_access(caller, provider)
        request = provider.build(call, caller, None)
    except GatewayError as error:
        return TargetFinding(target, provider.base_url, f"{error.status} {error.code}: {error.message}")
    origin, state = request.origin, breakers.state_of(target)
    note = f"last, because its breaker is {state}" if state in ("open", "resting") else ""
    return TargetFinding(target, f"{origin.scheme}://{origin.host_header.decode()}{request.target.decode()}", note=note)
