"""What a call takes of its limits: the values that go between those who know limits and those who keep counters.

A *counter* is where one limit stands for one subject. A *charge* is what a call wants to take of a counter before it is
sent. Charges are taken all or none; afterwards each is settled by what was really used.

msgspec's structs, because a call makes a dozen of them: named tuples take four times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec


class Algorithm(Enum):
    """How a counter counts."""

    RATE = "rate"
    """GCRA (the generic cell rate algorithm of ATM Forum's Traffic Management 4.0, the leaky bucket as a meter): one
    theoretical arrival time. `ceiling` in `window` seconds, all of it at once if nothing was taken for so long."""

    QUOTA = "quota"
    """What was spent and what is reserved, within `ceiling`, until `ends_at`."""

    CONCURRENCY = "concurrency"
    """How many charges are open."""


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What a call wants to take of one counter.

    `counter` is the name of the counter, that of the period included. `amount` is in requests, tokens or nano-dollars.
    A soft charge is never refused: its counter only counts, and `ceiling` is what it is measured by. `window` is in
    seconds, and for rates only. `ends_at` is in seconds since 1970, 0 for never.
    """

    counter: str
    algorithm: Algorithm
    amount: int
    ceiling: int
    window: float = 60.0
    ends_at: float = 0.0
    is_soft: bool = False


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """What became of a charge: `actual` is what was used."""

    charge: Charge
    actual: int


class State(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a counter stands: how much is used, how much can be taken still, and in how many seconds it is as good as
    new (0: it is, or it never will be). What is used may be more than the ceiling."""

    used: int
    remaining: int
    resets_in: float


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Whether charges were taken. `states` are those of the counters after it, in the order of the charges. If they
    were not: the place of the first that was refused, and the seconds after which it would not be (None: nobody
    knows, for others hold what is missing)."""

    is_admitted: bool
    states: Sequence[State]
    refused: int | None = None
    retry_after: float | None = None
