"""The tables, as text and as Markdown."""

from __future__ import annotations

import math
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata

from tests.benchmarks.bars import BARS, Bar, Results, Samples, least
from tests.benchmarks.lineup import BARE, EVERYTHING, OBVIOUS, PEERS, TWO_WORKERS
from tests.benchmarks.peers import Installed
from tests.benchmarks.scenarios import Sample, Scenario
from tests.benchmarks.suite import SCENARIOS

Failures = Mapping[str, Mapping[str, str]]
"""Why a server gave no sample, by scenario and server."""

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

ANSWERS = (
    ("request", "cpu", "µs CPU a request"),
    ("request", "core", "requests/s of a core"),
    ("prompt", "cpu", "µs CPU a prompt of 200 KiB"),
    ("stream", "chunk", "µs CPU a chunk, in a burst"),
    ("paced", "chunk", "µs CPU a chunk, one by one"),
)
WAITING = (
    ("latency", "p50", "added p50, one connection"),
    ("latency", "first", "added to the first chunk, p50"),
    ("rate", "p50", "added p50 at 50/s"),
    ("rate", "p99", "added p99 at 50/s"),
    ("request", "p50", "p50 at saturation"),
    ("request", "p99", "p99 at saturation"),
    ("paced", "p99", "age of a chunk p99, 200 streams"),
    ("crowd", "p99", "age of a chunk p99, 1,000 streams"),
)
HOLDING = (
    ("crowd", "started", "start, s"),
    ("crowd", "idle", "MiB idle"),
    ("crowd", "warm", "MiB after requests"),
    ("crowd", "each", "KB a stream, 1,000 streams"),
    ("crowd", "failed", "% of them failed"),
)

Column = tuple[str, str, str]
"""A scenario, one of its figures, and what the table calls it."""


def middle(samples: Sequence[Sample], figure: str) -> float:
    """Give the median of a figure."""
    return statistics.median(sample[figure] for sample in samples)


def report(results: Results, failures: Failures) -> Iterator[str]:
    """Write everything, line by line."""
    for name, samples in results.items():
        yield from _table(SCENARIOS[name], samples, failures.get(name, {}))
    lines = [_verdict(bar, value) for bar in BARS if (value := bar.measured(results)) is not None]
    if lines:
        yield from ("", "Bars", *lines)
    yield from ("", ", ".join(f"{name} {version}" for name, version in machine().items()))


def _verdict(bar: Bar, value: float) -> str:
    return f"{'met   ' if bar.is_met(value) else 'MISSED'}  {value:9.2f}  {bar.text} ({bar.demand})"


def _table(scenario: Scenario, samples: Samples, failures: Mapping[str, str]) -> Iterator[str]:
    rounds = max((len(of_peer) for of_peer in samples.values()), default=0)
    yield from ("", f"{scenario.name}: {scenario.title} (least / median of {rounds})")
    ratios = ["x bare", "x obvious"] if "cpu" in scenario.units else []
    rows = [["", *scenario.units.values(), *ratios]]
    rows += [_row(scenario, name, samples) for name in PEERS if samples.get(name)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *cells in rows:
        yield "  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])])
    for name, reason in failures.items():
        yield f"{name.ljust(widths[0])}  failed: {reason}"


def _row(scenario: Scenario, name: str, samples: Samples) -> list[str]:
    own = samples[name]
    cells = [f"{number(least(own, figure))} / {number(middle(own, figure))}" for figure in scenario.units]
    if "cpu" in scenario.units:
        cells += [_ratio(own, samples.get(other)) for other in (BARE, OBVIOUS)]
    return [name, *cells]


def _ratio(own: Sequence[Sample], other: Sequence[Sample] | None) -> str:
    return f"{least(own, 'cpu') / least(other, 'cpu'):.3g}" if other else "-"


def number(value: float) -> str:
    """Write a figure with as many digits as mean something."""
    if math.isinf(value):
        return "never"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


# Markdown, for docs/performance.md.


def written(page: str, results: Results, failures: Failures) -> str:
    """Give a page with its figures replaced by those of this run. Raises ValueError if it has no place for them."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    figures = "\n".join(markdown(results, failures))
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"


def markdown(results: Results, failures: Failures) -> Iterator[str]:
    """Write what compares the servers, the bars, and what was measured with what."""
    for title, columns in (
        ("What it costs", ANSWERS),
        ("How long it keeps callers waiting, in milliseconds", WAITING),
        ("What it takes to hold", HOLDING),
    ):
        measured = [column for column in columns if column[0] in results]
        if measured:
            yield from (f"{title}:", "", *_comparison(results, failures, measured), "")
    if workers := results.get("workers"):
        yield from (_workers(workers), "")
    yield from ("| | bar | measured | |", "|---|---|---|---|")
    for bar in BARS:
        value = bar.measured(results)
        if value is not None:
            yield f"| {bar.text} | {bar.demand} | {number(value)} | {'met' if bar.is_met(value) else '**missed**'} |"
    yield from ("", f"{', '.join(f'{name} {version}' for name, version in machine().items())}.")
    absent = [f"{peer.description} ({peer.why_not()})" for peer in PEERS.values() if peer.why_not()]
    if absent:
        yield from ("", f"Left out: {'; '.join(absent)}.")


def _comparison(results: Results, failures: Failures, columns: Sequence[Column]) -> Iterator[str]:
    yield f"| | {' | '.join(title for *_, title in columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for name, peer in PEERS.items():
        cells = [_cell(results, failures, name, scenario, figure) for scenario, figure, _ in columns]
        if any(cells):
            yield f"| {peer.description} | {' | '.join(cells)} |"


def _cell(results: Results, failures: Failures, name: str, scenario: str, figure: str) -> str:
    samples = results[scenario].get(name)
    if samples:
        most = max(sample[figure] for sample in samples)
        return number(most if figure == "core" else least(samples, figure))
    return "failed" if name in failures.get(scenario, {}) else ""


def _workers(samples: Samples) -> str:
    told = (f"{number(least(samples[name], 'cpu'))} µs" for name in (EVERYTHING, TWO_WORKERS) if samples.get(name))
    return f"CPU per request with everything on, by one worker and by two: {' and '.join(told)}."


def machine() -> Mapping[str, str]:
    """Describe the software that figures depend on."""
    packages = ("django", "uvicorn", "uvloop", "httptools", "httpx", "httpcore", "anyio", "sniffio", "msgspec")
    own = {"python": platform.python_version(), **{package: _version(package) for package in packages}}
    peers = (peer for peer in PEERS.values() if isinstance(peer, Installed) and not peer.why_not())
    return {**own, **dict(peer.version().split(" ", 1) for peer in peers)}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
