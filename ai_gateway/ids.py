"""Ids of calls and requests, in the order of time.

Tables and logs are indexed by them. An index whose keys come in their order grows at its end, where a batch touches one
page; one of random keys is changed all over, and a batch of 64 rows would write 64 pages more.
"""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """Make an id: UUID version 7 (RFC 9562, 5.7), milliseconds since 1970 first, as 32 hexadecimal digits."""
    return (time.time_ns() // 1_000_000).to_bytes(6).hex() + _random_part()


def first_id(seconds: float) -> str:
    """Give an id that is lower than all that are made from a time on, in seconds since 1970."""
    return f"{int(seconds * 1000):012x}70008000000000000000"


def new_request_id() -> str:
    """Make an id for a request: `req_`, milliseconds since 1970 in 12 hexadecimal digits, and 48 random bits."""
    return f"req_{(time.time_ns() // 1_000_000).to_bytes(6).hex()}{_random_part()[8:]}"


def _random_part() -> str:
    try:
        return _random.pop()
    except IndexError:
        _random.extend(_some_random())
        return _random.pop()


def _some_random() -> list[str]:
    """The last 20 digits of some ids: version 7, 12 random bits, variant 10, 62 random bits."""
    bits = int.from_bytes(os.urandom(BYTES * RANDOM), "big") & RANDOM_BITS | FIXED_BITS
    digits = bits.to_bytes(BYTES * RANDOM, "big").hex()
    return [digits[start : start + 2 * BYTES] for start in range(0, len(digits), 2 * BYTES)]


RANDOM = 256
"""How many ids' random parts are made at a time: one by one they cost many times as much."""

BYTES = 10
"""Bytes of an id that are not its time."""

FIXED_BITS = int("70008000000000000000" * RANDOM, 16)
RANDOM_BITS = int("0fff3fffffffffffffff" * RANDOM, 16)
"""Of all the random parts that are made at a time: what says version and variant, and what is random."""

_random: list[str] = []
os.register_at_fork(after_in_child=_random.clear)  # Or two processes would give the same ones.
