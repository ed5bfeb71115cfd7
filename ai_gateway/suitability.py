"""Which of a call's targets can take it, and may? Those that it is not for are left out before anything is sent.

A target with conditions is asked only if they hold: if none of a route's targets is left, the call is refused. A target
whose model is known to lack what the call needs is left out only while another one has it: what is not known counts as
there, and if nobody has it the provider says so itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from ai_gateway.calls import Target
from ai_gateway.capabilities import MAX_REMEMBERED
from ai_gateway.conditions import unmet
from ai_gateway.configuration import PLAIN
from ai_gateway.errors import NoSuitableTarget
from ai_gateway.facts import Facts
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.registry import Snapshot


def meeting(route: str, targets: Sequence[Target], facts: Facts, snapshot: Snapshot) -> Sequence[Target]:
    """Give the targets of a route that are there for a call. Raises NoSuitableTarget if there is none."""
    if not snapshot.rules.get(route, PLAIN).conditions:
        return targets
    wanted = {target: what_it_wants(route, target, facts, snapshot) for target in targets}
    left = [target for target in targets if wanted[target] is None]
    if not left:
        reasons = " Or: ".join(dict.fromkeys(f"{reason}." for reason in wanted.values() if reason is not None))
        raise NoSuitableTarget(f"The route {route!r} is not there for this call. It wants {reasons}", param="model")
    return left


def what_it_wants(route: str, target: Target, facts: Facts, snapshot: Snapshot) -> str | None:
    """Say what a target of a route wants of calls that this one has not; None if it is there for it."""
    conditions = snapshot.rules.get(route, PLAIN).conditions.get(target)
    return None if conditions is None else unmet(conditions, facts)


def why_not(route: str, target: Target, facts: Facts, snapshot: Snapshot) -> tuple[str, str]:
    """Say of a target that was left out by what it was, and why in words."""
    wanted = what_it_wants(route, target, facts, snapshot)
    if wanted is not None:
        return "conditions", f"it wants {wanted}"
    return "capabilities", f"its model lacks {lack(capabilities_of(target, snapshot), facts)}"


NEEDS = {
    "images": ("images", "images"),
    "files": ("files", "files"),
    "audio": ("audio", "audio"),
    "tools": ("tools", "tools"),
    "structured_outputs": ("json_schema", "JSON Schemas"),
}
"""The columns of what models can do that are looked at, with the fact that needs each, and its name for people."""

COLUMNS = ("context_window", *NEEDS)


def able(targets: Sequence[Target], facts: Facts, snapshot: Snapshot) -> Sequence[Target]:
    """Give the targets whose models are not known to lack what a call needs; all of them if each lacks something.

    Only that in which they differ is looked at: the body of a call to models that are alike is not even decoded.
    """
    if len(targets) < 2 or not facts.call.dialect.is_generation:
        return targets
    differing = differences(tuple(targets), snapshot)
    if not differing:
        return targets
    left = [target for target in targets if lack(capabilities_of(target, snapshot), facts, differing) is None]
    return left or targets


def differences(targets: tuple[Target, ...], snapshot: Snapshot) -> Sequence[str]:
    """Name the columns in which the models of these targets differ. Remembered: a route has the same ones each time."""
    remembered = snapshot.capabilities.differences
    found = remembered.get(targets)
    if found is None:
        known = [capabilities_of(target, snapshot) for target in targets]
        found = tuple(name for name in COLUMNS if len({getattr(each, name) for each in known}) > 1)
        if len(remembered) < MAX_REMEMBERED:
            remembered[targets] = found
    return found


def lack(capabilities: Capabilities, facts: Facts, columns: Sequence[str] = COLUMNS) -> str | None:
    """Name what a model is known to lack, in these columns, that a call needs; None if nothing."""
    window = capabilities.context_window
    if window and "context_window" in columns and facts.input_tokens > window:
        return f"a context of more than {window} tokens"
    for column, (fact, name) in NEEDS.items():
        if column in columns and not getattr(capabilities, column) and getattr(facts.asked, fact):
            return name
    return None


def roomier(targets: Sequence[Target], than: Target, snapshot: Snapshot) -> list[Target]:
    """Put the targets for a prompt that was too long for one in order: those that are known to hold more first, those
    that are known to hold no more last."""
    least = capabilities_of(than, snapshot).context_window

    def rank(target: Target) -> int:
        window = capabilities_of(target, snapshot).context_window
        return 1 if not window else 0 if window > least else 2

    return sorted(targets, key=rank)


def capabilities_of(target: Target, snapshot: Snapshot) -> Capabilities:
    """Give what is known of a target's model."""
    provider = snapshot.providers.get(target.provider)
    return snapshot.capabilities.of(target.provider, provider.row if provider is not None else "", target.model or "")
