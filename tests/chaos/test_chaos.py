"""Whatever befalls providers and callers: each call is answered as it must be, written down once, and leaves nothing.

What befalls them is drawn from a seed, which every failure names. A long run:

    GATEWAY_CHAOS_CALLS=5000 GATEWAY_CHAOS_SEED=7 pytest -n 0 tests/chaos/test_chaos.py
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from tests.chaos.callers import Got, draw_plan, make_calls
from tests.chaos.conftest import ChaosGateway, StartChaos, wait_until_equal
from tests.chaos.provider import ChaosProviders, Sent
from tests.chaos.verdict import Violation, judge, judge_row
from tests.conftest import MOST_THREADS
from tests.gateway_process import Door

CALLS = int(os.environ.get("GATEWAY_CHAOS_CALLS", "80"))
SEED = int(os.environ.get("GATEWAY_CHAOS_SEED", "1"))


@pytest.mark.parametrize(
    ("door", "seed", "repeats"),
    [("direct", SEED, False), ("direct", SEED + 1, True), ("django", SEED + 2, False), ("django", SEED + 3, True)],
    ids=["direct", "direct, ambiguous calls repeated", "django", "django, ambiguous calls repeated"],
)
def test_chaos(start_chaos: StartChaos, providers: ChaosProviders, door: Door, seed: int, repeats: bool) -> None:
    retries = {"ambiguous": repeats, "rounds": 2, "max_wait": 0.2, "percent": 100, "least": 10}
    gateway = start_chaos(door, RETRIES=retries)
    warm_up(gateway, providers)
    before = gateway.inside()["process"]

    results = asyncio.run(make_calls(gateway.process.port, [draw_plan(seed, number) for number in range(CALLS)]))

    wait_until_equal(f"seed {seed}: what is left of the calls", gateway.left, {})
    providers.upstream.wait_for(f"seed {seed}: the providers are left alone", lambda: providers.upstream.busy == 0)
    assert_all_well(seed, results, providers, judge)
    assert_written_down_once(gateway, providers, seed, results)
    assert_limits_agree_with_rows(gateway, seed)
    assert_serves(gateway, providers, seed)
    if not repeats:
        assert_ambiguous_calls_are_not_repeated(providers, seed)
    after = gateway.inside(collect=True)["process"]
    assert after["threads"] <= max(before["threads"], MOST_THREADS)
    assert after["files"] <= before["files"] + providers.upstream.open + 6


def warm_up(gateway: ChaosGateway, providers: ChaosProviders) -> None:
    """Make a few calls that go well, so that everything is there that stays."""
    providers.is_calm = True
    asyncio.run(make_calls(gateway.process.port, [draw_plan(0, number) for number in range(12)]))
    wait_until_equal("what is left of the first calls", gateway.left, {})
    providers.is_calm = False
    providers.log.clear()


def assert_all_well(
    seed: int, results: list[Got], providers: ChaosProviders, check: Callable[[Got, list[Sent]], None]
) -> None:
    """Check every call; tell of all that are wrong."""
    wrong = []
    for got in results:
        exchanges = providers.of_call(got.plan.number)
        try:
            check(got, exchanges)
        except Violation as violation:
            lines = [f"{got.plan.number}: {violation}", str(got), *map(str, exchanges)]
            wrong.append("\n    ".join(lines))
    assert not wrong, f"seed {seed}, {len(wrong)} of {len(results)} calls are wrong:\n" + "\n".join(wrong[:10])


def assert_written_down_once(gateway: ChaosGateway, providers: ChaosProviders, seed: int, results: list[Got]) -> None:
    """One usage record for each call."""
    wanted = {got.plan.request_id for got in results if got.has_answer}
    wanted |= {f"chaos-{seed}-{sent.call}" for sent in providers.log}
    wait_until_equal(f"seed {seed}: calls that are not written down", lambda: wanted - written(gateway), set())
    by_call: dict[str, list[dict[str, object]]] = {}
    for row in gateway.rows():
        if not row["is_mirror"]:
            by_call.setdefault(row["request_id"], []).append(row)
    assert_all_well(
        seed,
        results,
        providers,
        lambda got, exchanges: judge_row(got, exchanges, by_call.get(got.plan.request_id, [])),
    )


def written(gateway: ChaosGateway) -> set[str]:
    """The calls that are written down."""
    return {row["request_id"] for row in gateway.rows() if not row["is_mirror"]}


def assert_limits_agree_with_rows(gateway: ChaosGateway, seed: int) -> None:
    """Every counter stands at what the usage records say, once the last of them, of a copy for example, is written."""
    wait_until_equal(f"seed {seed}: what the records say", lambda: used_by_rows(gateway), used_by_limits(gateway))


def used_by_rows(gateway: ChaosGateway) -> dict[str, int]:
    """Sum up what the limits count: tokens and money of all calls but the copies, tokens of all providers."""
    buckets = "input_tokens cache_read_tokens cache_write_tokens cache_write_1h_tokens output_tokens reasoning_tokens"
    used = dict.fromkeys(("tokens", "cost", "provider"), 0)
    for row in gateway.rows():
        tokens = sum(row[bucket] for bucket in buckets.split())
        used["provider"] += tokens
        if not row["is_mirror"]:
            used["tokens"] += tokens
            used["cost"] += row["cost_nanos"] or 0
    return used


def used_by_limits(gateway: ChaosGateway) -> dict[str, int]:
    """Sum up the counters of these limits."""
    counters = gateway.ledger.query("SELECT name, spent FROM ai_gateway_limitcounter")
    names = ("tokens", "cost", "provider")
    return {name: sum(row["spent"] for row in counters if f":settings:{name}:" in row["name"]) for name in names}


def assert_serves(gateway: ChaosGateway, providers: ChaosProviders, seed: int) -> None:
    """Calls are served as if nothing had been."""
    providers.is_calm = True
    plans = [draw_plan(seed, number) for number in range(CALLS, CALLS + 40)]
    calm = [plan for plan in plans if plan.leaving.value == "never"]
    results = asyncio.run(make_calls(gateway.process.port, calm, at_once=4))
    assert_all_well(seed, results, providers, judge)
    assert [got.status for got in results] == [200] * len(calm), f"seed {seed}"


def assert_ambiguous_calls_are_not_repeated(providers: ChaosProviders, seed: int) -> None:
    """After a provider has taken a call and fallen silent, nobody else is asked."""
    for sent in providers.log:
        later = [other for other in providers.of_call(sent.call) if other.at > sent.at and other.provider != "shadow"]
        if sent.provider != "shadow" and "UNANSWERED" in sent.fault.name:
            assert not later, f"seed {seed}: {sent} was followed by {later}"
