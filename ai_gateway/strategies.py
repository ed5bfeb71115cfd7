"""In which order are a route's targets asked? The strategies, each a function of one shape.

Whatever the strategy, the order holds all targets: those behind the first are asked if the ones before them fail. A
route that is sticky keeps the calls of one session, or those that begin alike, with one target, so that the provider's
cache of prompts stays warm; who that is, is a matter of a hash over both (rendezvous hashing: when a target goes, only
its own sessions move).
"""

from __future__ import annotations

import itertools
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b

from ai_gateway import traffic
from ai_gateway.calls import Call, Target
from ai_gateway.configuration import RouteRule
from ai_gateway.consumption import Consumption
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.registry import Snapshot

Strategy = Callable[[str, Sequence[Target], RouteRule, Snapshot], Sequence[Target]]

USUAL = Consumption(tokens=TokenUsage(input=1000, output=300))
"""What a call uses, for comparing prices."""

SESSION_HEADERS = (b"x-session-id", b"x-claude-code-session-id", b"session_id", b"session-id", b"x-user-id")
"""Where a call says what it belongs with, the most particular first."""

PREFIX_BYTES = 2048
"""How much of a body must be alike for two calls to begin alike: system prompts and tools stand at the beginning."""

_MODEL = re.compile(rb'"model"\s*:\s*"[^"]*"\s*,?')


def ordered(name: str, targets: Sequence[Target], rule: RouteRule, call: Call, snapshot: Snapshot) -> Sequence[Target]:
    """Put a route's targets in the order in which they are asked."""
    if rule.sticky:
        subject = subject_of(call, rule.sticky)
        if subject is not None:
            return by_hash(subject, targets, rule)
    return STRATEGIES[rule.strategy](name, targets, rule, snapshot)


def failover(name: str, targets: Sequence[Target], rule: RouteRule, snapshot: Snapshot) -> Sequence[Target]:
    """As they stand."""
    return targets


def weighted(name: str, targets: Sequence[Target], rule: RouteRule, snapshot: Snapshot) -> Sequence[Target]:
    """Drawn by their weights, one after the other."""
    # Exponentially distributed times, each at its target's rate: the order of their ends is such a draw.
    times = {target: random.expovariate(weight) for target, weight in weights_of(targets, rule)}
    return sorted(targets, key=times.__getitem__)


_turns: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)


def round_robin(name: str, targets: Sequence[Target], rule: RouteRule, snapshot: Snapshot) -> Sequence[Target]:
    """Each in its turn."""
    first = next(_turns[name]) % len(targets)
    return [*targets[first:], *targets[:first]]


def least_busy(name: str, targets: Sequence[Target], rule: RouteRule, snapshot: Snapshot) -> Sequence[Target]:
    """Who has the fewest calls under way; of equals, any."""
    return sorted(_shuffled(targets), key=traffic.under_way)


def lowest_latency(name: str, targets: Sequence[Target], rule: RouteRule, snapshot: Snapshot) -> Sequence[Target]:
    """The better of two that are drawn (the power of two choices: if all calls ran to the very best, it would not be
    that for long), then the others by how fast they are."""
    drawn = random.sample(targets, min(2, len(targets)))
    first = min(drawn, key=traffic.expected_wait)
    return [first, *sorted((each for each in targets if each != first), key=traffic.expected_wait)]


def cheapest(name: str, targets: Sequence[Target], rule: RouteRule, snapshot: Snapshot) -> Sequence[Target]:
    """By what a usual call costs; those without a price last."""
    return sorted(targets, key=lambda target: _cost(target, snapshot))


STRATEGIES: Mapping[str, Strategy] = {
    "failover": failover,
    "weighted": weighted,
    "round_robin": round_robin,
    "least_busy": least_busy,
    "lowest_latency": lowest_latency,
    "cheapest": cheapest,
}
"""By the values of `Route.Strategy`."""


def _shuffled(targets: Sequence[Target]) -> Sequence[Target]:
    return random.sample(targets, len(targets))


def _cost(target: Target, snapshot: Snapshot) -> float:
    provider = snapshot.providers.get(target.provider)
    row = provider.row if provider is not None else ""
    price = snapshot.prices.of(target.provider, row, target.model or "", time.time())
    return float("inf") if price is None else price.cost(USUAL)


def weights_of(targets: Sequence[Target], rule: RouteRule) -> list[tuple[Target, int]]:
    """Pair the targets with their weights; those without have 1."""
    return list(zip(targets, rule.weights or (1,) * len(targets), strict=True))


def subject_of(call: Call, sticky: str) -> bytes | None:
    """Tell what a call is kept together by: its session, or how its body begins. None if it has nothing of the kind."""
    if sticky == "session":
        return next((call.fields[name] for name in SESSION_HEADERS if call.fields.get(name)), None)
    if not isinstance(call.body, bytes):
        return None
    # The model is the same for all calls of a route; where it stands in the body is the SDK's whim.
    return _MODEL.sub(b"", call.body[:PREFIX_BYTES], count=1)


def by_hash(subject: bytes, targets: Sequence[Target], rule: RouteRule) -> Sequence[Target]:
    """Put the targets in an order that is the same for equal subjects, in proportion to their weights."""
    # Efraimidis and Spirakis: u ** (1 / weight), with a hash for the random number.
    scores = {
        target: unit(f"{target.provider}/{target.model}".encode(), subject) ** (1 / weight)
        for target, weight in weights_of(targets, rule)
    }
    return sorted(targets, key=scores.__getitem__, reverse=True)


def unit(name: bytes, subject: bytes) -> float:
    """Give a number above 0 and up to 1 that is the same each time for a subject under a name, and as good as random
    from one subject, or name, to the next."""
    digest = blake2b(name + b"\0" + subject, digest_size=8).digest()
    return (int.from_bytes(digest) + 1) / (2**64 + 1)
