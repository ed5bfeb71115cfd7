"""What the calls under way of one event loop have reserved, so that it does not expire while they live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from ai_gateway.charges import Algorithm, Charges, Counter
from ai_gateway.limits.redis.batches import MICROS, Wanted
from ai_gateway.limits.redis.script import LONGEST_CALL, RENEW

LOOKS = 6
"""How often in the time in which a reservation expires they are looked through. What was not renewed since the last
look but one is: so a reservation lives on for two thirds of its time, whatever goes wrong with one renewal."""


NOT_RESERVED = (0,)


class Held(msgspec.Struct, eq=False):
    """What one call has reserved. Times are in seconds of one clock, whichever."""

    reserved: dict[str, tuple[Counter, int, int]]
    """By the names of the counters: which one, how much, and when Redis was known to have it, in microseconds by its
    clock."""
    ttl: float
    since: float
    renewed_at: float


class Holdings:
    """What calls have reserved, by call."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def __contains__(self, call: str) -> bool:
        return call in self._held

    def add(self, charges: Charges, ttl: float, now: float, known_at: int) -> None:
        """Note what a call has reserved now. Rates reserve nothing: what they have let through flows off by itself."""
        reserved = {
            counter.name: (counter, amount, known_at)
            for counter, amount in zip(charges.counters, charges.amounts, strict=True)
            if counter.algorithm is not Algorithm.RATE
        }
        if not reserved:
            return
        held = self._held.get(charges.call)
        if held is None:
            self._held[charges.call] = Held(reserved, ttl, now, now)
        else:
            held.reserved |= reserved

    def confirm(self, charges: Charges, known_at: int) -> None:
        """Note that Redis has what was renewed."""
        held = self._held.get(charges.call)
        if held is not None:
            for counter, amount in zip(charges.counters, charges.amounts, strict=True):
                if counter.name in held.reserved:
                    held.reserved[counter.name] = (counter, amount, known_at)

    def drop(self, charges: Charges) -> Sequence[int]:
        """Note what a call has reserved no more. Gives when Redis was known to have each of it; 0: it was not held."""
        held = self._held.get(charges.call)
        if held is None:
            return ()
        dropped = [held.reserved.pop(counter.name, NOT_RESERVED)[-1] for counter in charges.counters]
        if not held.reserved:
            self._held.pop(charges.call, None)
        return dropped

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()

    def bring_up_to_date(self, renewal: Wanted) -> bool:
        """Put into a renewal what its call has reserved now, and tell whether it has anything."""
        call = renewal.charges.call
        held = self._held.get(call)
        renewal.charges = _charges(call, held.reserved if held is not None else {})
        return held is not None

    def renewals(self, now: float, *, all_of_it: bool = False) -> Iterator[Wanted]:
        """Give what is to be renewed now, or all there is, and note that it was.

        A call that lives for ever has been forgotten by whoever was to end it: its reservations are left to expire.
        """
        for call, held in list(self._held.items()):
            if now - held.since > LONGEST_CALL:
                self._held.pop(call, None)
            elif all_of_it or now - held.renewed_at >= held.ttl / LOOKS:
                held.renewed_at = now
                yield Wanted(RENEW, _charges(call, held.reserved), round(held.ttl * MICROS))


def _charges(call: str, reserved: Mapping[str, tuple[Counter, int, int]]) -> Charges:
    return Charges(call, [each[0] for each in reserved.values()], [each[1] for each in reserved.values()])
