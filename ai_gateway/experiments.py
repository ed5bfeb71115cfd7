"""Which part of a route's experiment is a call? So many percent of the calls go to the targets on trial first.

A session stays in the part that it was drawn into, as long as the percentages are the same: a person who gets one model
now and another one a minute later tells nothing of either. Calls without a session are drawn one by one. The part is
what was drawn, not who answered in the end: a target on trial that fails is followed by the route's own, and its calls
count as its calls, or else the experiment would only see those that went well.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from ai_gateway import access, suitability
from ai_gateway.calls import Call, Target
from ai_gateway.configuration import PLAIN, RouteRule
from ai_gateway.meter import Meter
from ai_gateway.registry import Snapshot
from ai_gateway.strategies import subject_of, unit

CONTROL = "control"
"""The part of the calls that are served as ever."""


def take_part(meter: Meter, targets: Sequence[Target], snapshot: Snapshot) -> Sequence[Target]:
    """Put the target that a call is drawn for before the route's own, and note the part that the call has."""
    rule = snapshot.rules.get(meter.route)
    if rule is None or not rule.variants:
        return targets
    assert meter.call is not None
    name = rule.experiment or meter.route
    target = drawn(name, rule, meter.call)
    if target is not None and not _is_open(target, meter, snapshot):
        return targets  # Neither of it nor of the others, for it could not have been drawn.
    meter.variant = f"{name}:{target.provider}/{target.model}" if target is not None else f"{name}:{CONTROL}"
    return targets if target is None else [target, *(each for each in targets if each != target)]


def drawn(name: str, rule: RouteRule, call: Call) -> Target | None:
    """Draw the target on trial that a call goes to; None for the route's own."""
    point = _point(name, call)
    bound = 0
    for target, percent in rule.variants:
        bound += percent
        if point < bound:
            return target
    return None


def on_trial(meter: Meter, snapshot: Snapshot) -> list[Target]:
    """List the targets that a call might be drawn for."""
    rule = snapshot.rules.get(meter.route, PLAIN)
    return [share.target for share in rule.variants if _is_open(share.target, meter, snapshot)]


def _point(name: str, call: Call) -> float:
    """Give a call its place between 0 and 100: the same for all of a session, in each experiment another one."""
    session = subject_of(call, "session")
    if session is None:
        return random.uniform(0, 100)
    return 100 * unit(name.encode(), session)


def _is_open(target: Target, meter: Meter, snapshot: Snapshot) -> bool:
    is_there = target.provider in snapshot.providers and access.may_use_provider(meter.caller, target.provider)
    return is_there and suitability.what_it_wants(meter.route, target, meter.facts, snapshot) is None
