"""Who is well enough to be asked first? Targets that fail are asked last for a while, and then by one call at a time.

A target's breaker opens after some failures in a row, or when a share of many calls of late have failed (`BREAKERS`).
It stays open for a while, longer each time in a row. Then one call is let through (half open): if that does well the
breaker closes, else it opens again. A provider that asks to be left alone for some seconds (`retry-after`) gets them.

Nobody is ever ejected: a target whose breaker is open is asked after all others, so the last one that is left is asked
in any case. What is known is known to this process only, and forgotten with it.

Whether a provider can be reached at all is learned from the calls, and where somebody asks providers on purpose
(`prober.py`), from that, too.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ai_gateway.calls import Target

REMEMBERED = 4096
"""Targets that are remembered: callers make up the names of some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """What `AI_GATEWAY["BREAKERS"]` says."""

    consecutive: int = 5
    """Failures in a row that open a breaker."""
    volume: int = 20
    """Calls of late below which their share of failures says nothing."""
    percent: float = 50
    """Percent of the calls of late that open a breaker if they failed."""
    window: float = 10.0
    """Seconds that are of late."""
    open: float = 30.0
    """Seconds for which a breaker is open at first."""
    longest: float = 300.0
    """Seconds for which a breaker is open, or a target rests, at most."""

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> BreakerPolicy:
        """Read an entry of the settings. Raises TypeError for an unknown name."""
        return cls(**entry)


@dataclass(slots=True)
class Breaker:
    """What is known of one target. Times are in seconds of `time.monotonic()`."""

    consecutive: int = 0
    opened: int = 0
    """How often it opened in a row."""
    open_until: float = 0.0
    rests_until: float = 0.0
    """Until when the provider wants to be left alone."""
    is_probing: bool = False
    is_out_of_reach: bool = False
    """Whether it was the provider as a whole that failed last, and not this target of it."""
    recent: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=1000))

    def state(self, now: float) -> str:
        """Tell "closed", "open", "half-open" or "resting"."""
        if now < self.rests_until:
            return "resting"
        if not self.opened:
            return "closed"
        return "open" if now < self.open_until or self.is_probing else "half-open"

    def fail(self, now: float, policy: BreakerPolicy, *, is_out_of_reach: bool = False) -> None:
        """Note a failure."""
        self.consecutive += 1
        self.is_out_of_reach = is_out_of_reach
        self.recent.append((now, False))
        if self.is_probing or self.consecutive >= policy.consecutive or self._fails_often(now, policy):
            self.is_probing = False
            if now >= self.open_until:
                self.opened += 1
                self.open_until = now + min(policy.open * self.opened, policy.longest)

    def succeed(self, now: float) -> None:
        """Note a success."""
        self.consecutive = 0
        if self.opened:
            self.opened, self.is_probing = 0, False
            self.recent.clear()
        self.recent.append((now, True))

    def _fails_often(self, now: float, policy: BreakerPolicy) -> bool:
        while self.recent and self.recent[0][0] < now - policy.window:
            self.recent.popleft()
        failures = sum(not is_good for _, is_good in self.recent)
        return len(self.recent) >= policy.volume and 100 * failures >= policy.percent * len(self.recent)


_breakers: dict[Target, Breaker] = {}


def note(target: Target, policy: BreakerPolicy, *, is_good: bool, is_out_of_reach: bool = False) -> None:
    """Note how a target did, and of a failure whether it was its provider as a whole that failed."""
    breaker = _breakers.get(target)
    now = time.monotonic()
    if is_good:
        if breaker is not None:
            breaker.succeed(now)
        return
    _of(target).fail(now, policy, is_out_of_reach=is_out_of_reach)


def note_out_of_reach(provider: str, targets: Iterable[Target], policy: BreakerPolicy) -> None:
    """Note that a provider cannot be reached, for these targets of it and those that are known."""
    known = [target for target in _breakers if target.provider == provider]
    for target in dict.fromkeys((*targets, *known)):
        note(target, policy, is_good=False, is_out_of_reach=True)


def note_within_reach(provider: str) -> None:
    """Note that a provider can be reached. Where a breaker is open because it could not, the next call finds out
    whether more than that is well. Targets that failed by answers of their own wait on."""
    now = time.monotonic()
    for target, breaker in list(_breakers.items()):
        if target.provider == provider and breaker.is_out_of_reach:
            breaker.open_until = min(breaker.open_until, now)


def begin(target: Target) -> bool:
    """Note that a target is asked now. The call that asks one that is half open is its probe: tells whether it is."""
    breaker = _breakers.get(target) if _breakers else None
    if breaker is None or breaker.state(time.monotonic()) != "half-open":
        return False
    breaker.is_probing = True
    return True


def end_probe(target: Target) -> None:
    """Note that a probe is over and said nothing about the target's health, because its caller left, for example. The
    next call is one."""
    breaker = _breakers.get(target)
    if breaker is not None:
        breaker.is_probing = False


def rest(target: Target, seconds: float, policy: BreakerPolicy) -> None:
    """Leave a target alone for some seconds, as its provider asked."""
    _of(target).rests_until = time.monotonic() + min(seconds, policy.longest)


def is_open(target: Target) -> bool:
    """Whether a target's breaker is open now."""
    return state_of(target) == "open"


def state_of(target: Target) -> str:
    """Tell how a target's breaker stands now."""
    breaker = _breakers.get(target)
    return "closed" if breaker is None else breaker.state(time.monotonic())


def _of(target: Target) -> Breaker:
    breaker = _breakers.get(target)
    if breaker is None:
        if len(_breakers) >= REMEMBERED:
            _breakers.pop(next(iter(_breakers)))
        breaker = _breakers[target] = Breaker()
    return breaker


def ordered(targets: Sequence[Target]) -> Sequence[Target]:
    """Put the targets that are not well behind the others. One that is half open is asked in its place, by one call."""
    if not _breakers or len(targets) < 2:
        return targets
    now = time.monotonic()
    well: list[Target] = []
    unwell: list[Target] = []
    for target in targets:
        breaker = _breakers.get(target)
        state = "closed" if breaker is None else breaker.state(now)
        (well if state in ("closed", "half-open") else unwell).append(target)
    return [*well, *unwell]


def findings() -> dict[str, dict[str, object]]:
    """Tell of every target that is not closed, by "provider/model", how it stands: its state, its failures in a row,
    how often it opened in a row, and in how many seconds it is asked in its turn again (0: now, by one call)."""
    now = time.monotonic()
    found: dict[str, dict[str, object]] = {}
    for target, breaker in _breakers.items():
        state = breaker.state(now)
        if state != "closed":
            found[f"{target.provider}/{target.model}"] = {
                "state": state,
                "failures": breaker.consecutive,
                "opened": breaker.opened,
                "seconds_left": round(max(0.0, breaker.open_until - now, breaker.rests_until - now), 1),
            }
    return found


def forget() -> None:
    """Forget everything."""
    _breakers.clear()
