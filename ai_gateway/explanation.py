"""Where would a call go, and why? The decisions of a call, taken as a call takes them, with nothing sent.

For people: `gateway_explain` prints one, and the admin shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from ai_gateway import access, intake, keys, routing
from ai_gateway.calls import Arrival, Call, Caller, Headers, IncomingBody, Target
from ai_gateway.errors import GatewayError
from ai_gateway.providers import Provider
from ai_gateway.registry import Snapshot


@dataclass(frozen=True, slots=True)
class TargetFinding:
    """One target, and what stands in its way."""

    target: Target
    url: str
    problem: str | None = None


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


def explain(model: str, caller: Caller, snapshot: Snapshot, *, path: str, headers: Headers) -> Explanation:
    """Explain a call for a model, as this caller, at this path."""
    arrival = intake.read_arrival("POST", path, path.encode(), b"", headers, NoBody())
    call = make_call(arrival, model)
    reason = reason_of(call, snapshot)
    try:
        intake.check_head(arrival)
        access.check_arrival(arrival, caller)
        targets = access.permitted(call, caller, routing.resolve(call, snapshot), snapshot)
    except GatewayError as error:
        return Explanation(reason, error=f"{error.status} {error.code}: {error.message}")
    return Explanation(reason, [_look_at(call, caller, target, snapshot) for target in targets])


class NoBody(IncomingBody):
    """The body of a call that nobody sends."""

    async def read(self, limit: int, seconds: float) -> bytes:
        """See IncomingBody.read()."""
        return b"{}"

    async def pieces(self, limit: int, seconds: float) -> None:  # type: ignore[override]
        """See IncomingBody.pieces()."""


def make_call(arrival: Arrival, model: str) -> Call:
    """Make the call that an arrival with this model in its body would become."""
    return Call(
        method=arrival.method,
        path=arrival.path,
        query=b"",
        headers=arrival.headers,
        fields=arrival.fields,
        body=b"{}",
        dialect=arrival.dialect,
        request_id=arrival.request_id,
        received_at=perf_counter(),
        model=model,
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
        kept = f"; calls are kept together by their {rule.sticky}" if rule is not None and rule.sticky else ""
        return f"{model!r} is a route, whose targets are asked {order}{kept}"
    alias = model.partition("/")[0].lower()
    if "/" in model and (alias in snapshot.providers or alias in snapshot.broken):
        return f"the model names the provider {alias!r}"
    if call.dialect.family in routing.FAMILY_PROVIDERS:
        return f"nothing names a provider, and the path speaks the API of {call.dialect.family}"
    return f"nothing names a provider, so the default one is asked, {snapshot.default_provider!r}"


def _look_at(call: Call, caller: Caller, target: Target, snapshot: Snapshot) -> TargetFinding:
    provider: Provider = snapshot.providers[target.provider]
    try:
        keys.check_access(caller, provider)
        request = provider.build(call, caller, None)
    except GatewayError as error:
        return TargetFinding(target, provider.base_url, f"{error.status} {error.code}: {error.message}")
    origin = request.origin
    return TargetFinding(target, f"{origin.scheme}://{origin.host_header.decode()}{request.target.decode()}")
