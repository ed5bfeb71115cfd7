"""Metrics for Prometheus, with the package `prometheus-client` (extra `prometheus`).

They stand in that package's own registry: a site that shows it already (django-prometheus does) shows these, too. What
calls were is counted when they are written down, so that the sums are those of the usage records. What there is at the
moment (calls under way, breakers, connections) is looked at when somebody asks.

A process counts for itself, and with several workers one of them answers for all. So with PROMETHEUS_MULTIPROC_DIR set,
which `rungateway --workers` does, all of them keep their numbers in files of that directory, and whoever is asked adds
them up. That rather than to have each worker answer for itself: behind one port nobody can choose whom to ask, and
counters must not go back when a worker is replaced. Each worker then looks every few seconds at what there is at the
moment.

There is a bounded number of series: see `cardinality.py`, and `retelling.py` for endpoints and kinds of failures.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from ai_gateway import __version__, breakers, gateway, ledger, lifespan, overload, scraping
from ai_gateway.allowances import LimitRule
from ai_gateway.calls import Target
from ai_gateway.daemons import Daemon
from ai_gateway.meter import Entry
from ai_gateway.money import dollars
from ai_gateway.signals import call_finished, calls_finished, limit_reached
from ai_gateway.telemetry import METRICS_DIRECTORY, fates, prometheus_files
from ai_gateway.telemetry.cardinality import Names
from ai_gateway.telemetry.retelling import attempts_of, endpoint_of, output_of, own_seconds

logger = logging.getLogger("ai_gateway")

SAMPLE = 5.0
"""Seconds between two looks at what there is at the moment, in a process that others answer for."""

COMPLAINT = 600.0
"""Seconds between two lines of the log that say that the disk has no room for metrics."""

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
OUTPUT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1)
OVERHEAD_SECONDS = (
    *(0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1),
)

STATES = {"closed": 0, "resting": 1, "half-open": 2, "open": 3}

TOKENS = {
    "input": "input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
    "input_audio": "input_audio_tokens",
    "input_image": "input_image_tokens",
    "output_audio": "output_audio_tokens",
    "output_image": "output_image_tokens",
}
"""The buckets of tokens, which are disjoint, by their names as labels."""

MODEL = ("provider", "model")

prometheus_files.use()

# What calls were.

REQUESTS = Counter(
    "ai_gateway_requests",
    "Finished calls of callers.",
    (*MODEL, "endpoint", "outcome", "status"),
)
MIRRORED = Counter("ai_gateway_mirrored_requests", "Copies of calls that were sent to mirrors.", MODEL)
DURATION = Histogram(
    "ai_gateway_request_duration_seconds", "From a call's arrival to the end of its answer.", MODEL, buckets=SECONDS
)
FIRST_TOKEN = Histogram(
    "ai_gateway_time_to_first_token_seconds", "From a call's arrival to the first token.", MODEL, buckets=SECONDS
)
OUTPUT_TOKEN = Histogram(
    "ai_gateway_time_per_output_token_seconds",
    "The time that a stream took for each token behind the first.",
    MODEL,
    buckets=OUTPUT_SECONDS,
)
OVERHEAD = Histogram(
    "ai_gateway_overhead_seconds",
    "The gateway's own time, from a call's arrival until it was sent on; of calls that were sent once.",
    buckets=OVERHEAD_SECONDS,
)
QUEUED = Histogram("ai_gateway_queue_seconds", "How long calls waited for a place, of those that did.", buckets=SECONDS)
USED = Counter("ai_gateway_tokens", "Tokens used, in disjoint buckets.", (*MODEL, "bucket"))
COST = Counter("ai_gateway_cost_dollars", "What calls cost.", MODEL)
SAVED = Counter("ai_gateway_saved_dollars", "What answers from the cache cost when providers gave them.", MODEL)
UNPRICED = Counter("ai_gateway_unpriced_requests", "Calls of which nobody knows what they cost.", MODEL)
FAILURES = Counter("ai_gateway_upstream_failures", "Attempts that failed.", (*MODEL, "kind"))
REATTEMPTS = Counter(
    "ai_gateway_reattempts",
    "Attempts after the first: at the same target (retry), or at another (fallback).",
    ("provider", "kind"),
)
GUARDRAILS = Counter(
    "ai_gateway_guardrails",
    "What guardrails did: blocked, changed, monitored, failed.",
    ("guardrail", "stage", "action"),
)
LIMITS = Counter("ai_gateway_limits_reached", "Counters of limits that came to refuse calls.", ("limit",))

# What there is at the moment.

INFO = Gauge("ai_gateway_info", "The version of the gateway.", ("version",), multiprocess_mode="livemax")
IN_FLIGHT = Gauge("ai_gateway_calls_in_flight", "Calls under way.", multiprocess_mode="livesum")
WAITING = Gauge("ai_gateway_calls_waiting", "Calls that wait for a place.", multiprocess_mode="livesum")
TURNED_AWAY = Counter("ai_gateway_calls_turned_away", "Calls for which there was no place.")
AT_PROVIDER = Gauge(
    "ai_gateway_provider_calls_in_flight",
    "Calls under way at a provider that has a limit of its own.",
    ("provider",),
    multiprocess_mode="livesum",
)
FOR_PROVIDER = Gauge(
    "ai_gateway_provider_calls_waiting", "Calls that wait for it.", ("provider",), multiprocess_mode="livesum"
)
BREAKER = Gauge(
    "ai_gateway_breaker_state",
    "How a target stands: 0 closed, 1 resting, 2 half-open, 3 open. Of several workers the worst.",
    MODEL,
    multiprocess_mode="livemax",
)
CONNECTIONS = Gauge(
    "ai_gateway_upstream_connections", "Connections to providers.", ("state",), multiprocess_mode="livesum"
)
WITHOUT_CONNECTION = Gauge(
    "ai_gateway_upstream_connections_wanted", "Calls that wait for a connection.", multiprocess_mode="livesum"
)
LEDGER_WAITING = Gauge(
    "ai_gateway_ledger_entries_waiting", "Finished calls that are not written down yet.", multiprocess_mode="livesum"
)
LEDGER = Counter(
    "ai_gateway_ledger_entries",
    "What became of the records of calls: written, kept in the journal, rejected by the database, lost.",
    ("fate",),
)
SPANS = Counter(
    "ai_gateway_otel_spans",
    "What became of the spans for OpenTelemetry: sent, dropped because too many waited, failed to be sent.",
    ("fate",),
)
METRIC_EXPORTS = Counter(
    "ai_gateway_otel_metric_exports",
    "What became of the exports of metrics for OpenTelemetry: sent, failed.",
    ("fate",),
)


names = Names()


def connect() -> None:
    """Listen, and answer who asks."""
    call_finished.connect(hear, Entry, dispatch_uid="ai_gateway.telemetry.prometheus")
    calls_finished.connect(hear_batch, Entry, dispatch_uid="ai_gateway.telemetry.prometheus")
    limit_reached.connect(hear_limit, LimitRule, dispatch_uid="ai_gateway.telemetry.prometheus")
    scraping.source = write
    if sampler.begin not in lifespan.on_start:
        lifespan.on_start.append(sampler.begin)


class Room:
    """The room for metrics on the disk. What has none is not counted, and everything else goes on."""

    def __init__(self) -> None:
        self._told_at = -math.inf

    def use(self, count: Callable[[], object]) -> None:
        """Count something that may need more of it."""
        try:
            count()
        except OSError as error:
            if time.monotonic() - self._told_at > COMPLAINT:
                self._told_at = time.monotonic()
                logger.error("Metrics are incomplete, there is no room for them: %s", error)


room = Room()


def hear(entry: Entry, **_: object) -> None:
    """Count a finished call."""
    sampler.begin()
    room.use(lambda: _count(entry))


def _count(entry: Entry) -> None:
    model = names.of_call(entry)
    if entry.is_mirror:
        MIRRORED.labels(*model).inc()
    else:
        _count_request(entry, model)
    for bucket, column in TOKENS.items():
        if number := getattr(entry, column):
            USED.labels(*model, bucket).inc(number)
    if entry.cost_nanos is None:
        UNPRICED.labels(*model).inc()
    elif entry.cost_nanos:
        COST.labels(*model).inc(float(dollars(entry.cost_nanos)))
    if entry.saved_nanos:
        SAVED.labels(*model).inc(float(dollars(entry.saved_nanos)))
    _count_attempts(entry)
    for each in entry.trail or ():
        if "guardrail" in each:
            GUARDRAILS.labels(each["guardrail"], each["stage"], each["action"]).inc()


def _count_request(entry: Entry, model: tuple[str, str]) -> None:
    status = f"{entry.status // 100}xx" if entry.status else "none"
    REQUESTS.labels(*model, endpoint_of(entry), entry.outcome, status).inc()
    DURATION.labels(*model).observe(entry.duration_ms / 1e3)
    if entry.queued_ms:
        QUEUED.observe(entry.queued_ms / 1e3)
    if entry.attempts == 1 and not entry.trail:
        OVERHEAD.observe(own_seconds(entry))
    if entry.first_token_ms is not None:
        FIRST_TOKEN.labels(*model).observe(entry.first_token_ms / 1e3)
        behind = output_of(entry) - 1
        if behind > 0:
            OUTPUT_TOKEN.labels(*model).observe((entry.duration_ms - entry.first_token_ms) / 1e3 / behind)


def _count_attempts(entry: Entry) -> None:
    before: Target | None = None
    for each in attempts_of(entry):
        model = names.of(each.provider, each.model)
        if each.kind:
            FAILURES.labels(*model, each.kind).inc()
        target = Target(each.provider, each.model)
        if before is not None:
            REATTEMPTS.labels(model[0], "retry" if target == before else "fallback").inc()
        before = target


def hear_batch(**_: object) -> None:
    """Count what became of records, as soon as their calls are counted: this process may be killed before it looks."""
    sampler.look_at_ledger()


def hear_limit(rule: LimitRule, **_: object) -> None:
    """Count that a limit began to refuse."""
    room.use(lambda: LIMITS.labels(rule.name).inc())


class Sampler:
    """Looks at what there is at the moment."""

    def __init__(self) -> None:
        os.register_at_fork(after_in_child=self._begin_anew)
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Begin; in a forked process as well, which has none of its parent's threads, and counts for itself."""
        self._seen: dict[Any, float] = {}
        self._unwell: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._daemon = Daemon("ai-gateway-metrics", self._go_on)

    def begin(self) -> None:
        """Look now and then from now on, if others answer for this process."""
        if not self._daemon.is_running and METRICS_DIRECTORY in os.environ:
            self._daemon.start()

    def _go_on(self) -> None:
        self.look()
        time.sleep(SAMPLE)

    def look(self) -> None:
        """Look."""
        with self._lock:
            room.use(self._look)

    def _look(self) -> None:
        INFO.labels(__version__).set(1)
        self._look_at_calls()
        self._look_at_breakers()
        self._look_at_connections()
        self._look_at_ledger()
        self._look_at_collector()

    def look_at_ledger(self) -> None:
        """Look at what became of the records of calls."""
        with self._lock:
            room.use(self._look_at_ledger)

    def _look_at_calls(self) -> None:
        IN_FLIGHT.set(overload.calls.taken)
        WAITING.set(overload.calls.waiting)
        self._rise(TURNED_AWAY, overload.calls.refused)
        for provider, bulkhead in list(overload.at_providers.items()):
            AT_PROVIDER.labels(provider).set(bulkhead.taken)
            FOR_PROVIDER.labels(provider).set(bulkhead.waiting)

    def _look_at_breakers(self) -> None:
        found: dict[tuple[str, str], int] = dict.fromkeys(self._unwell, 0)
        for target, finding in breakers.findings().items():
            provider, _, model = target.partition("/")
            labels = names.of(provider, model)
            found[labels] = max(found.get(labels, 0), STATES[str(finding["state"])])
        for labels, state in found.items():
            BREAKER.labels(*labels).set(state)
        self._unwell = {labels for labels, state in found.items() if state}

    def _look_at_connections(self) -> None:
        counts = [found for each in gateway.transports() if (found := each.connections()) is not None]
        CONNECTIONS.labels("busy").set(sum(each.busy for each in counts))
        CONNECTIONS.labels("idle").set(sum(each.idle for each in counts))
        WITHOUT_CONNECTION.set(sum(each.waiting for each in counts))

    def _look_at_ledger(self) -> None:
        found = ledger.ledger
        if found is None:
            return
        LEDGER_WAITING.set(found.spool.waiting)
        fates = {"written": found.writer.written, "rejected": found.writer.rejected}
        for fate, number in {**fates, "kept": found.spool.kept, "lost": found.spool.lost}.items():
            self._rise(LEDGER.labels(fate), number)

    def _look_at_collector(self) -> None:
        for counter, found in ((SPANS, fates.spans), (METRIC_EXPORTS, fates.metrics)):
            for fate, number in (("sent", found.sent), ("dropped", found.dropped), ("failed", found.failed)):
                if number:
                    self._rise(counter.labels(fate), number)

    def _rise(self, counter: Counter, to: float) -> None:
        """Have a counter follow a number that is counted elsewhere."""
        seen = self._seen.get(counter, 0.0)
        if to > seen:
            counter.inc(to - seen)
            self._seen[counter] = to


sampler = Sampler()


def write() -> bytes:
    """Write the metrics of this process; or of all that share its directory."""
    sampler.look()
    directory = os.environ.get(METRICS_DIRECTORY)
    if directory is None:
        return generate_latest(REGISTRY)
    for pid in dead(Path(directory)):
        with suppress(FileNotFoundError):  # Another worker, which is asked at the same time, was faster.
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)


def dead(directory: Path) -> Iterator[int]:
    """Find processes that are gone, and of which there still is what they had at the moment. Counters stay."""
    for file in directory.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            yield pid
        except PermissionError:
            continue  # It lives, and is somebody else's.
