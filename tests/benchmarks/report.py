"""The tables, and the bars that the direct door has to clear."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from tests.benchmarks.scenarios import SCENARIOS, Sample, Scenario
from tests.benchmarks.servers import (
    ACCOUNTED,
    ACCOUNTED_IN_REDIS,
    BARE,
    DIRECT,
    OBVIOUS,
    PASSTHROUGH,
    PEERS,
)

Results = Mapping[str, Mapping[str, Sequence[Sample]]]
"""Samples by scenario and server."""


def least(samples: Sequence[Sample], figure: str) -> float:
    """Give the smallest value of a figure: the sample that was disturbed the least."""
    return min(sample[figure] for sample in samples)


def middle(samples: Sequence[Sample], figure: str) -> float:
    """Give the median of a figure."""
    return statistics.median(sample[figure] for sample in samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Something that the direct door must achieve. `value` reads it from the samples of one scenario."""

    scenario: str
    text: str
    limit: float
    is_floor: bool = False
    value: Callable[[Mapping[str, Sequence[Sample]]], float]

    def line(self, results: Results) -> str | None:
        """Say whether it is achieved; None if nothing was measured that would tell."""
        try:
            value = self.value(results[self.scenario])
        except (KeyError, ValueError):  # A server was not measured, or failed.
            return None
        is_met = value >= self.limit if self.is_floor else value <= self.limit
        return f"{'ok    ' if is_met else 'MISSED'}  {value:9.2f}  {self.text}"


def cheaper(samples: Mapping[str, Sequence[Sample]]) -> float:
    """Give how many times less CPU the direct door takes than the obvious implementation."""
    return least(samples[OBVIOUS], "cpu") / least(samples[DIRECT], "cpu")


def added(samples: Mapping[str, Sequence[Sample]], peer: str) -> float:
    """Give what a server takes more than the bare passthrough, in requests to the bare ASGI app."""
    return (least(samples[peer], "cpu") - least(samples[PASSTHROUGH], "cpu")) / least(samples[BARE], "cpu")


def worst(figure: str) -> Callable[[Mapping[str, Sequence[Sample]]], float]:
    """Read the largest value of the direct door."""
    return lambda samples: max(sample[figure] for sample in samples[DIRECT])


BARS = (
    Bar(
        scenario="request",
        text="times the CPU of the bare ASGI app (at most 3.0)",
        limit=3.0,
        value=lambda samples: least(samples[DIRECT], "cpu") / least(samples[BARE], "cpu"),
    ),
    Bar(
        scenario="request",
        text="times cheaper than the obvious implementation, per request (at least 15)",
        limit=15,
        is_floor=True,
        value=cheaper,
    ),
    Bar(
        scenario="request",
        text="of a bare request: what usage, prices and limits in memory cost (at most 0.71: 60 µs where it costs 84)",
        limit=0.71,
        value=lambda samples: added(samples, ACCOUNTED),
    ),
    Bar(
        scenario="request",
        text="of a bare request: the same with limits in Redis (at most 1.79: 150 µs where it costs 84)",
        limit=1.79,
        value=lambda samples: added(samples, ACCOUNTED_IN_REDIS),
    ),
    Bar(
        scenario="stream",
        text="times cheaper than the obvious implementation, per stream of 100 chunks (at least 10)",
        limit=10,
        is_floor=True,
        value=cheaper,
    ),
    Bar(
        scenario="translated",
        text="times the CPU of a bare request, per translated chunk (at most 0.71: 60 µs where a request costs 84)",
        limit=0.71,
        value=lambda samples: least(samples[DIRECT], "chunk") / least(samples[BARE], "cpu"),
    ),
    Bar(scenario="idle", text="threads with the idle streams (at most 13)", limit=13, value=worst("threads")),
    Bar(scenario="idle", text="KB for each idle stream (at most 30)", limit=30, value=worst("each")),
    Bar(scenario="disconnect", text="leaked upstream sockets (0)", limit=0, value=worst("leaked")),
    Bar(scenario="big", text="bodies held at once for a 5 MiB body (at most 2.2)", limit=2.2, value=worst("copies")),
    Bar(
        scenario="big",
        text="ms: the longest ping beside a 5 MiB body, best round (below 50)",
        limit=50,
        value=lambda samples: least(samples[DIRECT], "block"),
    ),
)


def report(results: Results) -> Iterator[str]:
    """Write everything, line by line."""
    for name, samples in results.items():
        yield from _table(SCENARIOS[name], samples)
    lines = [line for bar in BARS if (line := bar.line(results))]
    if lines:
        yield from ("", "Bars for the direct door", *lines)
    yield from ("", ", ".join(f"{name} {version}" for name, version in machine().items()))


def _table(scenario: Scenario, samples: Mapping[str, Sequence[Sample]]) -> Iterator[str]:
    rounds = max((len(of_peer) for of_peer in samples.values()), default=0)
    yield from ("", f"{scenario.name}: {scenario.title} (least / median of {rounds})")
    ratios = ["x bare", "x obvious"] if "cpu" in scenario.units else []
    rows = [["", *scenario.units.values(), *ratios]]
    rows += [_row(scenario, name, samples) for name in PEERS if samples.get(name)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *cells in rows:
        yield "  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])])


def _row(scenario: Scenario, name: str, samples: Mapping[str, Sequence[Sample]]) -> list[str]:
    own = samples[name]
    cells = [f"{_number(least(own, figure))} / {_number(middle(own, figure))}" for figure in scenario.units]
    if "cpu" in scenario.units:
        cells += [_ratio(own, samples.get(other)) for other in (BARE, OBVIOUS)]
    return [name, *cells]


def _ratio(own: Sequence[Sample], other: Sequence[Sample] | None) -> str:
    return f"{least(own, 'cpu') / least(other, 'cpu'):.3g}" if other else "-"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def machine() -> Mapping[str, str]:
    """Describe the software that figures depend on."""
    packages = ("django", "uvicorn", "uvloop", "httptools", "httpx", "httpcore", "anyio", "sniffio", "msgspec")
    return {"python": platform.python_version(), **{package: _version(package) for package in packages}}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
