"""What the gateway must achieve, beside others in the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.lineup import (
    ACCOUNTING,
    ACCOUNTING_IN_REDIS,
    BARE,
    DIRECT,
    DJANGO,
    EVERYTHING,
    EVERYTHING_IN_REDIS,
    LITELLM,
    NGINX,
    OBVIOUS,
    PASSTHROUGH,
    PORTKEY,
    TENSORZERO,
    TWO_WORKERS,
)
from tests.benchmarks.scenarios import Sample

Samples = Mapping[str, Sequence[Sample]]
"""The samples of one scenario by server."""

Results = Mapping[str, Samples]
"""Samples by scenario and server."""


def least(samples: Sequence[Sample], figure: str) -> float:
    """Give the smallest value of a figure: the sample that was disturbed the least."""
    return min(sample[figure] for sample in samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Something that must be achieved. `value` reads it from the samples of one scenario."""

    scenario: str
    text: str
    limit: float
    is_floor: bool = False
    value: Callable[[Samples], float]

    @property
    def demand(self) -> str:
        """The limit, in words."""
        return f"{'at least' if self.is_floor else 'at most'} {self.limit:g}"

    def measured(self, results: Results) -> float | None:
        """Read the value; None if a server that it needs was not measured, or failed."""
        try:
            return self.value(results[self.scenario])
        except (KeyError, ValueError):
            return None

    def is_met(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.limit if self.is_floor else value <= self.limit


def times(figure: str, one: str, other: str) -> Callable[[Samples], float]:
    """Read how many times as much one server takes as another."""
    return lambda samples: least(samples[one], figure) / least(samples[other], figure)


def beyond(figure: str, one: str, other: str) -> Callable[[Samples], float]:
    """Read by how much one server's figure is above another's."""
    return lambda samples: least(samples[one], figure) - least(samples[other], figure)


def worst(figure: str) -> Callable[[Samples], float]:
    """Read the largest value of the direct door."""
    return lambda samples: max(sample[figure] for sample in samples[DIRECT])


BARS = (
    Bar(
        scenario="request",
        text="usage, prices, limits in memory: µs CPU beyond the same without, per request",
        limit=60,
        value=beyond("cpu", ACCOUNTING, DIRECT),
    ),
    Bar(
        scenario="request",
        text="usage, prices, limits in Redis: µs CPU beyond the same without, per request",
        limit=150,
        value=beyond("cpu", ACCOUNTING_IN_REDIS, DIRECT),
    ),
    Bar(
        scenario="request",
        text="everything on: x CPU of the bare passthrough",
        limit=1.6,
        value=times("cpu", EVERYTHING, PASSTHROUGH),
    ),
    Bar(
        scenario="request",
        text="everything on, limits in Redis: x CPU of the bare passthrough",
        limit=1.6,
        value=times("cpu", EVERYTHING_IN_REDIS, PASSTHROUGH),
    ),
    Bar(
        scenario="request",
        text="everything on: x CPU of TensorZero, per request",
        limit=1.0,
        value=times("cpu", EVERYTHING, TENSORZERO),
    ),
    Bar(
        scenario="stream",
        text="everything on: x CPU of TensorZero, per chunk of a burst",
        limit=1.0,
        value=times("chunk", EVERYTHING, TENSORZERO),
    ),
    Bar(
        scenario="paced",
        text="everything on: x CPU of TensorZero, per chunk that comes alone",
        limit=1.0,
        value=times("chunk", EVERYTHING, TENSORZERO),
    ),
    Bar(
        scenario="request",
        text="Portkey: x CPU of everything on, per request",
        limit=6,
        is_floor=True,
        value=times("cpu", PORTKEY, EVERYTHING),
    ),
    Bar(
        scenario="request",
        text="LiteLLM: x CPU of everything on, per request",
        limit=40,
        is_floor=True,
        value=times("cpu", LITELLM, EVERYTHING),
    ),
    Bar(
        scenario="latency",
        text="everything on: ms added at one connection beyond what nginx adds, p50",
        limit=0.3,
        value=beyond("p50", EVERYTHING, NGINX),
    ),
    Bar(
        scenario="paced",
        text="everything on: x the age of nginx's chunks, p99 of 200 streams",
        limit=2.0,
        value=times("p99", EVERYTHING, NGINX),
    ),
    Bar(
        scenario="request",
        text="Django door without middleware: x CPU of the direct door",
        limit=2.5,
        value=times("cpu", DJANGO, DIRECT),
    ),
    Bar(
        scenario="workers",
        text="two workers: x CPU of one, per request",
        limit=1.25,
        value=times("cpu", TWO_WORKERS, EVERYTHING),
    ),
    Bar(
        scenario="request",
        text="direct door: x CPU of the bare ASGI application",
        limit=3.0,
        value=times("cpu", DIRECT, BARE),
    ),
    Bar(
        scenario="request",
        text="obvious implementation: x CPU of the direct door, per request",
        limit=15,
        is_floor=True,
        value=times("cpu", OBVIOUS, DIRECT),
    ),
    Bar(
        scenario="stream",
        text="obvious implementation: x CPU of the direct door, per stream of 100 chunks",
        limit=10,
        is_floor=True,
        value=times("cpu", OBVIOUS, DIRECT),
    ),
    Bar(
        scenario="translated",
        text="direct door: x CPU of a bare request, per translated chunk",
        limit=0.71,
        value=lambda samples: least(samples[DIRECT], "chunk") / least(samples[BARE], "cpu"),
    ),
    Bar(scenario="idle", text="threads with the idle streams", limit=13, value=worst("threads")),
    Bar(scenario="idle", text="KB for each idle stream", limit=30, value=worst("each")),
    Bar(scenario="disconnect", text="leaked upstream sockets", limit=0, value=worst("leaked")),
    Bar(scenario="big", text="bodies held at once for a 5 MiB body", limit=2.2, value=worst("copies")),
    Bar(
        scenario="big",
        text="ms: the longest ping beside a 5 MiB body, best round",
        limit=50,
        value=lambda samples: least(samples[DIRECT], "block"),
    ),
)
