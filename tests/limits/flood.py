"""A process of its own that asks a store for more than there is, each time a line on its input tells it to.

It is set up as a gateway process is. A line is `CALLS COUNTER CEILING`; what it writes is how many calls were admitted.
"""

from __future__ import annotations

import asyncio
import sys

import django

if __name__ == "__main__":
    django.setup()

from ai_gateway import limits
from ai_gateway.charges import Algorithm, Charges, Counter
from ai_gateway.ids import new_id


async def flood(calls: int, counter: str, ceiling: int) -> int:
    """Make calls at once, each of one unit, of which half is used; give the number of those that were admitted."""
    store = limits.store()
    counters = [
        Counter(f"{counter}:budget", Algorithm.QUOTA, 2 * ceiling),
        Counter(f"{counter}:rate", Algorithm.RATE, 10_000),
        Counter(f"{counter}:slots", Algorithm.CONCURRENCY, 10_000),
    ]

    async def call() -> bool:
        charges = Charges(new_id(), counters, [2, 1, 1])
        verdict = await store.admit(charges, 300.0)
        if verdict.is_admitted:
            store.settle(charges, [2, 2, 2])
        return verdict.is_admitted

    admitted = await asyncio.gather(*(call() for _ in range(calls)))
    await store.flush()
    await store.aclose()
    return sum(admitted)


if __name__ == "__main__":
    print("ready", flush=True)
    for line in sys.stdin:
        calls, counter, ceiling = line.split()
        print(asyncio.run(flood(int(calls), counter, int(ceiling))), flush=True)
