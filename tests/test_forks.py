"""A forked process has none of its parent's calls, and does not count them among its own."""

from __future__ import annotations

import json
from typing import Any

from tests.forking import forked

BEFORE = """
import json
import django
django.setup()
from ai_gateway import breakers, mirrors, overload, retries, traffic
from ai_gateway.breakers import BreakerPolicy
from ai_gateway.calls import Target

target = Target("openai", "m")

def told():
    print(json.dumps({
        "calls": overload.calls.taken,
        "at the provider": overload.at_providers["openai"].taken,
        "copies": mirrors.copies.taken,
        "budget": [retries.budget.calls, retries.budget.repetitions],
        "targets": traffic.under_way(target),
        "breaker": breakers.state_of(target),
        "probed": breakers.is_probed(target),
    }))

assert overload.calls.enter(1) and overload.at_providers["openai"].enter(1) and mirrors.copies.enter(1)
retries.budget.calls = retries.budget.repetitions = 1
traffic.begin(target)
breakers.note(target, BreakerPolicy(consecutive=1, open=0.0), is_good=False)
assert breakers.begin(target)
locks = [overload.calls._lock, traffic._lock]
for lock in locks:
    lock.acquire()  # Another thread of the parent holds it.
"""
CHILD = """
with overload.calls._lock, traffic._lock:
    told()
"""
PARENT = """
for lock in locks:
    lock.release()
told()
"""


def test_a_forked_process_begins_with_no_calls() -> None:
    child, parent = map(json.loads, forked(BEFORE, CHILD, PARENT))
    nothing: dict[str, Any] = {"calls": 0, "at the provider": 0, "copies": 0, "budget": [0, 0], "targets": 0}
    everything: dict[str, Any] = {"calls": 1, "at the provider": 1, "copies": 1, "budget": [1, 1], "targets": 1}
    assert child == {**nothing, "breaker": "half-open", "probed": False}
    assert parent == {**everything, "breaker": "open", "probed": True}
