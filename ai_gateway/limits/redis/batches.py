"""What is sent to Redis at a time, and what it answers, as `script.py` has it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from ai_gateway.charges import Algorithm, Charge, Settlement, State, Verdict
from ai_gateway.limits.redis.script import CONCURRENCY, QUOTA, RATE

MICROS = 1_000_000
"""Microseconds of a second."""


class Settled(NamedTuple):
    """What a call settles."""

    call: str
    settlements: Sequence[Settlement]


class Wanted(msgspec.Struct, eq=False):
    """What a call wants to take, or whoever looks to know: `mode` is one of the script's, `ttl` in microseconds.

    `seeds` are what quotas begin with that Redis does not have, by counter. `answered` gets the answer. What is renewed
    has none, for nobody waits for it.
    """

    mode: int
    call: str
    charges: Sequence[Charge]
    ttl: int = 0
    answered: asyncio.Future[Answer] | None = None
    seeds: dict[str, int] = {}


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
    """The answers to a batch. `time` is that of Redis, in microseconds since 1970. A late batch was not looked at.
    `broken` has the errors of what could not be done, for its keys hold something else."""

    time: int
    is_late: bool
    answers: list[Answer]
    broken: list[str]


def encode(
    tag: str,
    settled: Iterable[Settled],
    wanted: Iterable[Wanted],
    *,
    seed: int = 0,
    deadline: int = 0,
    time: int = 0,
) -> tuple[list[str], bytes]:
    """Write a batch: the keys that the script touches, and its argument. Times are in microseconds since 1970.

    `seed` is what a quota begins with of which nothing else is known; -1 has it asked for.
    """
    places: dict[str, int] = {}

    def fields(charge: Charge, seed: int = seed) -> tuple[Any, ...]:
        counter, algorithm = charge.counter, charge.algorithm
        # By identity: an Enum's hash is worked out in Python, and this runs for every charge of every call.
        if algorithm is Algorithm.QUOTA:
            code, name = QUOTA, f"quota:{counter}"
        elif algorithm is Algorithm.RATE:
            code, name = RATE, f"rate:{counter}"
        else:
            code, name = CONCURRENCY, f"concurrency:{counter}"
        place = places.get(name)
        if place is None:
            place = places[name] = len(places) + 1
        return place, code, charge.amount, charge.ceiling, charge.window, charge.ends_at, charge.is_soft, seed

    endings = [(call, fields(each.charge), each.actual) for call, settlements in settled for each in settlements]
    beginnings = []
    for each in wanted:
        seeds = each.seeds
        charges = [fields(charge, seeds.get(charge.counter, seed)) for charge in each.charges]
        beginnings.append((each.mode, each.call, each.ttl, charges))
    argument = _encoder.encode((deadline, time, endings, beginnings))
    keys: list[str] = []
    for name in places:
        keys += (f"{{{tag}}}:{name}", f"{{{tag}}}:open-{name}")
    return keys or [f"{{{tag}}}:"], argument


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Answers)


def decode(answers: bytes) -> Answers:
    """Read the answers to a batch. Raises msgspec.DecodeError."""
    return _decoder.decode(answers)
