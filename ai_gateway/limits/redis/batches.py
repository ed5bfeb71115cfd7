"""What is sent to Redis at a time, and what it answers, as `script.py` has it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from ai_gateway.charges import Algorithm, Charges, Counter, State, Verdict
from ai_gateway.limits.redis.script import CONCURRENCY, QUOTA, RATE

MICROS = 1_000_000
"""Microseconds of a second."""

REMEMBERED = 4096
"""Counters whose writing is remembered."""

CODES = {Algorithm.RATE: RATE, Algorithm.QUOTA: QUOTA, Algorithm.CONCURRENCY: CONCURRENCY}


class Settled(NamedTuple):
    """What a call settles, and what it used. `known_at` is when Redis was known to have each of the charges, 0 for
    never, and `ended_at` when they were settled, in microseconds by Redis's clock."""

    charges: Charges
    used: Sequence[int]
    known_at: Sequence[int] = ()
    ended_at: int = 0


def nothing_of(charges: Charges) -> Settled:
    """Settle charges by nothing."""
    return Settled(charges, [0] * len(charges.counters))


class Wanted(msgspec.Struct, eq=False):
    """What a call wants to take, or whoever looks to know: `mode` is one of the script's, `ttl` in microseconds.

    `seeds` are what quotas begin with that Redis does not have, and when that was read, in microseconds by its clock,
    by the names of the counters. `answered` gets the answer. What is renewed has none, for nobody waits for it.
    `is_doubtful` says that it was sent before, and that nobody knows what became of that.
    """

    mode: int
    charges: Charges
    ttl: int = 0
    answered: asyncio.Future[Answer] | None = None
    seeds: dict[str, tuple[int, int]] = {}
    is_doubtful: bool = False


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """What became of what was wanted. `refused` and `missing` are places of charges, `retry_after` is in seconds, and
    -1 if nobody knows."""

    code: int
    states: list[State]
    refused: int
    retry_after: float
    missing: list[int]

    def refusal(self) -> Verdict:
        """Read it as the verdict on a call that is not admitted."""
        return Verdict(False, self.states, self.refused, None if self.retry_after < 0 else self.retry_after)


class Answers(msgspec.Struct, array_like=True, frozen=True):
    """The answers to a batch. `time` is that of Redis, in microseconds since 1970, and `since` when it began to count,
    which a late batch is not told: it was not looked at. `broken` has the errors of what could not be done, and is
    nobody else's concern."""

    time: int
    since: int
    is_late: bool
    answers: list[Answer]
    broken: list[str]


class Written(NamedTuple):
    """How a counter is written: its two keys, and what the script has to know of it."""

    counter: Counter
    keys: tuple[bytes, bytes]
    entry: msgspec.Raw


class Writer:
    """Writes batches. `tag` is what all keys begin with, and `seed` what a quota begins with of which nothing else is
    known; -1 has it asked for. `unwritten` is for how many microseconds a call that ended may not be written down."""

    def __init__(self, tag: str, seed: int, unwritten: int) -> None:
        self._tag = tag
        self._since = f"{{{tag}}}:since".encode()
        self._seed = seed
        self._unwritten = unwritten
        self._written: dict[str, Written] = {}

    def write(
        self, settled: Iterable[Settled], wanted: Iterable[Wanted], *, deadline: int = 0, time: int = 0
    ) -> tuple[list[bytes], bytes]:
        """Write a batch: the keys that the script touches, and its argument. Times are in microseconds since 1970."""
        places: dict[int, int] = {}
        keys = [self._since]
        entries: list[msgspec.Raw] = []

        def places_of(counters: Sequence[Counter]) -> list[int]:
            """Give the places of counters. Each is written once, for all calls have the same objects."""
            found = []
            for counter in counters:
                place = places.get(id(counter))
                if place is None:
                    _, both, entry = self._known(counter)
                    keys.extend(both)
                    entries.append(entry)
                    place = places[id(counter)] = len(entries)
                found.append(place)
            return found

        endings = [
            (each.call, places_of(each.counters), each.amounts, used, known_at, ended_at)
            for each, used, known_at, ended_at in settled
        ]
        beginnings = []
        for each in wanted:
            charges, seeds = each.charges, each.seeds
            known = [seeds.get(counter.name) for counter in charges.counters] if seeds else ()
            beginnings.append((each.mode, charges.call, each.ttl, places_of(charges.counters), charges.amounts, known))
        argument = _encoder.encode((deadline, time, self._seed, self._unwritten, entries, endings, beginnings))
        return keys, argument

    def _known(self, counter: Counter) -> Written:
        """Give how a counter is written. Remembered, for every call has the same few."""
        known = self._written.get(counter.name)
        if known is None or known.counter != counter:
            if len(self._written) >= REMEMBERED:
                self._written.clear()
            known = self._written[counter.name] = self._new(counter)
        return known

    def _new(self, counter: Counter) -> Written:
        name = f"{counter.algorithm.value}:{counter.name}"
        keys = f"{{{self._tag}}}:{name}", f"{{{self._tag}}}:open-{name}"
        entry = (
            CODES[counter.algorithm],
            counter.ceiling,
            counter.window * MICROS,
            round(counter.ends_at * MICROS),
            counter.is_soft,
        )
        first, second = (key.encode("utf-8", "surrogatepass") for key in keys)
        return Written(counter, (first, second), msgspec.Raw(_encoder.encode(entry)))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Answers)


def decode(answers: bytes) -> Answers:
    """Read the answers to a batch. Raises msgspec.DecodeError."""
    return _decoder.decode(answers)
