"""What a call takes of its limits: the values that go between those who know limits and those who keep counters.

A *counter* is where one limit stands for one subject in one period: a value that is made once, and the same for all
calls of that period. A *charge* is what a call wants to take of a counter before it is sent. Charges are taken all or
none; afterwards each is settled by what was really used.

msgspec's structs, because every call makes a few of them: named tuples take four times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Protocol

import msgspec

MOST = 9 * 10**15
"""The most that a limit allows and a charge takes, of whatever it is; of nano-dollars it is nine million dollars. Up to
there every store counts exactly: Redis counts in doubles."""


class Algorithm(Enum):
    """How a counter counts."""

    RATE = "rate"
    """GCRA (the generic cell rate algorithm of ATM Forum's Traffic Management 4.0, the leaky bucket as a meter): one
    theoretical arrival time. `ceiling` in `window` seconds, all of it at once if nothing was taken for so long."""

    QUOTA = "quota"
    """What was spent and what is reserved, within `ceiling`, until `ends_at`."""

    CONCURRENCY = "concurrency"
    """How many charges are open."""


class Counter(msgspec.Struct, frozen=True, gc=False):
    """Where one limit stands for one subject, as those see it who count.

    `name` has the subject and the period in it. A soft counter never refuses: it only counts, and `ceiling` is what it
    is measured by. `window` is in seconds, and for rates only. `ends_at` is in seconds since 1970, 0 for never.
    """

    name: str
    algorithm: Algorithm
    ceiling: int
    window: int = 60
    ends_at: float = 0.0
    is_soft: bool = False


class Charges(msgspec.Struct, frozen=True, gc=False):
    """What a call wants to take, all or none: of each counter its amount, in requests, tokens or nano-dollars, which is
    0 to MOST. `call` names it."""

    call: str
    counters: Sequence[Counter]
    amounts: Sequence[int]


class State(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a counter stands: how much is used, how much can be taken still, and in how many seconds it is as good as
    new (0: it is, or it never will be). What is used may be more than the ceiling."""

    used: int
    remaining: int
    resets_in: float


class States(Protocol):
    """Where some counters stand, in their order. A store may make each when it is asked for."""

    def __getitem__(self, place: int, /) -> State: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[State]: ...


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Whether charges were taken. `states` are those of the counters after it, in their order. If they were not: the
    place of the first that was refused, and the seconds after which it would not be (None: nobody knows, for others
    hold what is missing)."""

    is_admitted: bool
    states: States
    refused: int | None = None
    retry_after: float | None = None
