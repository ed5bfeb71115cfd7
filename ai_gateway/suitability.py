"""Which of a call's targets can take it, and may? Those that it is not for are left out before anything is sent.

A target with conditions is asked only if they hold: if none of a route's targets is left, the call is refused. A target
whose model is known to lack what the call needs is left out only while another one has it: what is not known counts as
there, and if nobody has it the provider says so itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from ai_gateway.calls import Target
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


def able(targets: Sequence[Target], facts: Facts, snapshot: Snapshot) -> Sequence[Target]:
    """Give the targets whose models are not known to lack what a call needs; all of them if each lacks something."""
    columns = [capabilities_of(target, snapshot) for target in targets]
    if len({_limits(each) for each in columns}) == 1:
        return targets  # Whatever it needs, they are alike. The body is not even looked at.
    left = [target for target, each in zip(targets, columns, strict=True) if lack(each, facts) is None]
    return left or targets


def lack(capabilities: Capabilities, facts: Facts) -> str | None:
    """Name what a model is known to lack that a call needs; None if nothing."""
    window = capabilities.context_window
    if window and facts.input_tokens > window:
        return f"a context of more than {window} tokens"
    if not facts.call.dialect.is_generation:
        return None
    asked = facts.asked
    needs = (
        ("images", asked.images, capabilities.images),
        ("files", asked.files, capabilities.files),
        ("audio", asked.audio, capabilities.audio),
        ("tools", asked.tools, capabilities.tools),
        ("JSON Schemas", asked.json_schema, capabilities.structured_outputs),
    )
    return next((name for name, is_needed, is_there in needs if is_needed and not is_there), None)


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


def _limits(each: Capabilities) -> tuple[object, ...]:
    return each.images, each.files, each.audio, each.tools, each.structured_outputs, each.context_window
