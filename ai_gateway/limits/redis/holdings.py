"""What the calls under way of one event loop have reserved, so that it does not expire while they live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ai_gateway.charges import Algorithm, Charge
from ai_gateway.limits.redis.batches import MICROS, Wanted
from ai_gateway.limits.redis.script import LONGEST_CALL, RENEW

LOOKS = 6
"""How often in the time in which a reservation expires they are looked through. What was not renewed since the last
look but one is: so a reservation lives on for two thirds of its time, whatever goes wrong with one renewal."""


class Held(msgspec.Struct, eq=False):
    """What one call has reserved. Times are in seconds of one clock, whichever."""

    charges: list[Charge]
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

    def add(self, call: str, charges: Iterable[Charge], ttl: float, now: float) -> None:
        """Note what a call has reserved now. Rates reserve nothing: what they have let through flows off by itself."""
        reserved = [charge for charge in charges if charge.algorithm is not Algorithm.RATE]
        if not reserved:
            return
        held = self._held.get(call)
        if held is None:
            self._held[call] = Held(reserved, ttl, now, now)
        else:
            held.charges += reserved

    def drop(self, call: str, charges: Sequence[Charge]) -> None:
        """Note what a call has reserved no more."""
        held = self._held.get(call)
        if held is None:
            return
        dropped = {charge.counter for charge in charges}
        held.charges = [charge for charge in held.charges if charge.counter not in dropped]
        if not held.charges:
            self._held.pop(call, None)

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()

    def bring_up_to_date(self, renewal: Wanted) -> bool:
        """Put into a renewal what its call has reserved now, and tell whether it has anything."""
        held = self._held.get(renewal.call)
        renewal.charges = tuple(held.charges) if held is not None else ()
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
                yield Wanted(RENEW, call, tuple(held.charges), round(held.ttl * MICROS))
