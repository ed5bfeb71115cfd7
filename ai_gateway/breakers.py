"""Who is well enough to be asked first? Targets that fail are asked last for a while, and then by one call at a time.

A target's breaker opens after some failures in a row, or when a share of many calls of late have failed (`BREAKERS`).
It stays open for a while, longer each time in a row. Then one call is let through (half open): if that does well the
breaker closes, else it opens again. A provider that asks to be left alone for some seconds (`retry-after`) gets them.

Nobody is ever ejected: a target whose breaker is open is asked after all others, so the last one that is left is asked
in any case. What is known is in the memory of this process, and forgotten with it. What happens is told to `listeners`,
so that other processes may hear of it (`gossip.py`), and what they tell is taken over without being told again.

Whether a provider can be reached at all is learned from the calls, and where somebody asks providers on purpose
(`prober.py`), from that, too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ai_gateway.announcements import Listeners
from ai_gateway.calls import Target

REMEMBERED = 4096
"""Targets that are remembered: callers make up the names of some."""

SPARED = 16
"""Targets that are not well, and so are not the one that is forgotten for a new one."""

SLOTS = 10
"""Parts of the time that is "of late", by which it goes on."""

MUCH_LONGER = 1.0
"""Seconds by which a rest must be longer than the one under way to be worth telling."""

OPENED, HALF_OPEN, CLOSED, RESTING = "opened", "half-open", "closed", "resting"
"""What happens to a target."""


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


class Event(NamedTuple):
    """What happened to a target: one of the four above, why, for how many seconds, and when (Unix time)."""

    target: Target
    what: str
    reason: str
    seconds: float
    at: float


class Recent:
    """How many calls of late did well, and how many did not: counted in a ring, so it costs the same for any number."""

    __slots__ = ("_failed", "_slot", "_total", "failed", "total")

    def __init__(self) -> None:
        self.total = self.failed = 0
        self._total, self._failed = [0] * SLOTS, [0] * SLOTS
        self._slot = 0

    def add(self, now: float, window: float, *, is_good: bool) -> None:
        """Count a call, and forget those that are older than so many seconds."""
        slot = int(now * SLOTS / window)
        if slot != self._slot:
            self._go_on_to(slot)
        place = slot % SLOTS
        self.total += 1
        self._total[place] += 1
        if not is_good:
            self.failed += 1
            self._failed[place] += 1

    def _go_on_to(self, slot: int) -> None:
        # A slot from before is one of another window: the setting was changed.
        passed = slot - self._slot if slot > self._slot else SLOTS
        for each in range(slot - min(passed, SLOTS) + 1, slot + 1):
            place = each % SLOTS
            self.total -= self._total[place]
            self.failed -= self._failed[place]
            self._total[place] = self._failed[place] = 0
        self._slot = slot


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
    recent: Recent = field(default_factory=Recent)
    reason: str = ""
    """Why it opened, or rests."""
    heard_from: str = ""
    """The process that found that out, if it was another one."""

    def state(self, now: float) -> str:
        """Tell "closed", "open", "half-open" or "resting"."""
        if now < self.rests_until:
            return "resting"
        if not self.opened:
            return "closed"
        return "open" if now < self.open_until or self.is_probing else "half-open"

    def fail(self, now: float, policy: BreakerPolicy, *, is_out_of_reach: bool = False) -> bool:
        """Note a failure. Tells whether the breaker opened by it."""
        self.consecutive += 1
        self.is_out_of_reach = is_out_of_reach
        self.recent.add(now, policy.window, is_good=False)
        reason = self._reason_to_open(policy)
        if not reason:
            return False
        self.is_probing = False
        if now < self.open_until:
            return False
        self.opened += 1
        self.open_until = now + min(policy.open * self.opened, policy.longest)
        self.reason, self.heard_from = reason, ""
        return True

    def succeed(self, now: float, policy: BreakerPolicy) -> bool:
        """Note a success. Tells whether the breaker closed by it."""
        is_news = self.opened > 0
        if is_news:
            self.close()
        self.consecutive = 0
        self.recent.add(now, policy.window, is_good=True)
        return is_news

    def close(self) -> None:
        """Begin anew, but for the rest that the provider asked for."""
        self.consecutive = self.opened = 0
        self.open_until = 0.0
        self.is_probing = self.is_out_of_reach = False
        self.recent = Recent()
        self.reason = self.heard_from = ""

    def _reason_to_open(self, policy: BreakerPolicy) -> str:
        if self.is_probing:
            return "the probe failed"
        if self.consecutive >= policy.consecutive:
            return f"{self.consecutive} failure{'s' if self.consecutive > 1 else ''} in a row"
        recent = self.recent
        if recent.total >= policy.volume and 100 * recent.failed >= policy.percent * recent.total:
            return f"{recent.failed} of {recent.total} calls failed within {policy.window:g} s"
        return ""


listeners: Listeners[[Event]] = Listeners()
"""What is called when something happens to a target."""

_breakers: dict[Target, Breaker] = {}


def note(target: Target, policy: BreakerPolicy, *, is_good: bool, is_out_of_reach: bool = False) -> None:
    """Note how a target did, and of a failure whether it was its provider as a whole that failed."""
    breaker = _breakers.get(target)
    now = time.monotonic()
    if is_good:
        if breaker is not None and breaker.succeed(now, policy):
            _tell(target, CLOSED, "a call did well")
        return
    breaker = _of(target)
    if breaker.fail(now, policy, is_out_of_reach=is_out_of_reach):
        _tell(target, OPENED, breaker.reason, breaker.open_until - now)


def note_out_of_reach(provider: str, targets: Iterable[Target], policy: BreakerPolicy) -> None:
    """Note that a provider cannot be reached, for these targets of it and those that are known."""
    known = [target for target in list(_breakers) if target.provider == provider]
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
    _tell(target, HALF_OPEN, "a call finds out")
    return True


def end_probe(target: Target) -> None:
    """Note that a probe is over and said nothing about the target's health, because its caller left, for example. The
    next call is one."""
    breaker = _breakers.get(target)
    if breaker is not None:
        breaker.is_probing = False


def rest(target: Target, seconds: float, policy: BreakerPolicy) -> None:
    """Leave a target alone for some seconds, as its provider asked."""
    breaker, now = _of(target), time.monotonic()
    seconds = min(seconds, policy.longest)
    is_news = now + seconds > max(now, breaker.rests_until) + MUCH_LONGER
    breaker.rests_until = now + seconds
    if breaker.state(now) == "resting":
        breaker.reason, breaker.heard_from = "the provider asked for a pause", ""
    if is_news:
        _tell(target, RESTING, breaker.reason, seconds)


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
            _make_room()
        breaker = _breakers[target] = Breaker()
    return breaker


def _make_room() -> None:
    """Forget a target. One that is not well counts as new, up to some of them: names that callers make up must not put
    out what keeps calls away from a provider that is down."""
    now = time.monotonic()
    for _ in range(SPARED):
        target = next(iter(_breakers))
        breaker = _breakers.pop(target)
        if breaker.state(now) == "closed":
            return
        _breakers[target] = breaker
    _breakers.pop(next(iter(_breakers)))


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


class Standing(NamedTuple):
    """How a target stands that is not closed. `seconds_left` is until it is asked in its turn again; 0: now, by one
    call. `rests` is how many of them its provider wants to be left alone."""

    target: Target
    state: str
    failures: int
    opened: int
    seconds_left: float
    rests: float
    reason: str
    heard_from: str


def standings() -> list[Standing]:
    """Tell of every target that is not closed how it stands."""
    now = time.monotonic()
    # Other threads may add some meanwhile.
    states = [(target, breaker, breaker.state(now)) for target, breaker in list(_breakers.items())]
    return [_standing(target, breaker, state, now) for target, breaker, state in states if state != "closed"]


def standing(target: Target) -> Standing | None:
    """Tell how a target stands. None: it is closed."""
    breaker, now = _breakers.get(target), time.monotonic()
    if breaker is None or breaker.state(now) == "closed":
        return None
    return _standing(target, breaker, breaker.state(now), now)


def _standing(target: Target, breaker: Breaker, state: str, now: float) -> Standing:
    rests = round(max(0.0, breaker.rests_until - now), 1)
    left = round(max(0.0, breaker.open_until - now), 1) if breaker.opened else 0.0
    return Standing(
        *(target, state, breaker.consecutive, breaker.opened, max(left, rests), rests),
        *(breaker.reason, breaker.heard_from),
    )


def findings() -> dict[str, dict[str, object]]:
    """Tell of every target that is not closed, by "provider/model", how it stands."""
    return {
        f"{found.target.provider}/{found.target.model}": {
            "state": found.state,
            "failures": found.failures,
            "opened": found.opened,
            "seconds_left": found.seconds_left,
            "reason": found.reason,
            "heard_from": found.heard_from,
        }
        for found in standings()
    }


def is_probed(target: Target) -> bool:
    """Whether a call of this process is finding out how a target does."""
    breaker = _breakers.get(target)
    return breaker is not None and breaker.is_probing


def adopt(told: Standing, policy: BreakerPolicy) -> None:
    """Take over what another process found out. It makes a target's state worse only: what is better it closes."""
    breaker, now = _of(told.target), time.monotonic()
    is_open_for = told.seconds_left if told.opened else 0.0
    until = now + min(is_open_for, policy.longest)
    rests_until = now + min(told.rests, policy.longest)
    if (told.opened and until > breaker.open_until) or rests_until > max(now, breaker.rests_until):
        breaker.reason, breaker.heard_from = told.reason, told.heard_from
    breaker.rests_until = max(breaker.rests_until, rests_until)
    if told.opened:
        breaker.opened = max(breaker.opened, told.opened)
        breaker.consecutive = max(breaker.consecutive, told.failures)
        breaker.open_until = max(breaker.open_until, until)


def adopt_closed(target: Target) -> None:
    """Take over that a target did well. A rest that its provider asked for goes on."""
    breaker = _breakers.get(target)
    if breaker is not None:
        breaker.close()


def postpone(target: Target, seconds: float) -> None:
    """Leave a breaker open for some seconds more: it is another process's turn to find out."""
    breaker = _breakers.get(target)
    if breaker is not None and breaker.opened:
        breaker.open_until = time.monotonic() + seconds


def clear(target: Target) -> None:
    """Forget all that speaks against a target."""
    breaker = _breakers.get(target)
    if breaker is not None:
        breaker.close()
        breaker.rests_until = 0.0


def close(target: Target, reason: str) -> None:
    """Close a breaker because somebody says so who knows better, and tell of it."""
    clear(target)
    _tell(target, CLOSED, reason)


def _tell(target: Target, what: str, reason: str, seconds: float = 0.0) -> None:
    if listeners:
        listeners.tell(Event(target, what, reason, seconds, time.time()))


def forget() -> None:
    """Forget everything."""
    _breakers.clear()


def _forked() -> None:
    """Know what the parent knew, but let calls of our own find out what its calls were about to."""
    for breaker in _breakers.values():
        breaker.is_probing = False


os.register_at_fork(after_in_child=_forked)
