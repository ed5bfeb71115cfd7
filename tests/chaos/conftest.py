"""A gateway between chaotic providers and unsteady callers."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests import databases
from tests.chaos.provider import ChaosProviders
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import Door, GatewayProcess
from tests.upstream import Upstream
from tests.wire.ledger_reader import LedgerReader

PATIENCE = 15.0
"""Seconds until nothing is left of the calls."""

TIMEOUTS = {"connect": 0.5, "pool": 1, "write": 1, "first_byte": 0.8, "idle": 0.8}

LIMITS = [
    {"name": "requests", "scope": "key", "measure": "requests", "window": "total", "amount": 10**9},
    {"name": "tokens", "scope": "key", "measure": "tokens", "window": "total", "amount": 10**12},
    {"name": "cost", "scope": "key", "measure": "cost", "window": "total", "amount": "1000000"},
    {"name": "at once", "scope": "key", "measure": "concurrency", "amount": 1000},
    {"name": "provider", "scope": "provider", "measure": "tokens", "window": "total", "amount": 10**12},
]


class ChaosGateway:
    """A gateway, and a look inside and into what it has written down."""

    def __init__(self, process: GatewayProcess, ledger: LedgerReader) -> None:
        self.process = process
        self.ledger = ledger

    def inside(self, *, collect: bool = False) -> dict[str, dict[str, int]]:
        """Look inside."""
        url = f"{self.process.url}/inside{'?collect' if collect else ''}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            found: dict[str, dict[str, int]] = json.load(answer)
        return found

    def left(self) -> dict[str, int]:
        """Tell what is left of calls, in the process and in the counters of the limits."""
        left = self.inside()["left"]
        counters = self.ledger.query("SELECT sum(reserved) AS reserved FROM ai_gateway_limitcounter")
        reservations = self.ledger.query("SELECT count(*) AS n FROM ai_gateway_reservation WHERE is_open")
        left |= {"reserved": counters[0]["reserved"] or 0, "reservations": reservations[0]["n"]}
        return {name: number for name, number in left.items() if number}

    def rows(self) -> list[dict[str, Any]]:
        """Read all usage records."""
        return self.ledger.query("SELECT * FROM ai_gateway_usagerecord")


def wait_until_equal(what: str, get: Any, wanted: Any) -> None:
    """Wait until something is as it must be."""
    deadline = time.monotonic() + PATIENCE
    while (found := get()) != wanted:
        assert time.monotonic() < deadline, f"{what}: {found!r}, and not {wanted!r}"
        time.sleep(0.05)


class StartChaos(Protocol):
    """Starts a gateway."""

    def __call__(self, door: Door, **settings: Any) -> ChaosGateway: ...


@pytest.fixture
def providers(upstream: Upstream) -> ChaosProviders:
    """The providers."""
    return ChaosProviders(upstream)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections, and that nobody else can get."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def start_chaos(
    upstream: Upstream, closed_port: int, empty_database: databases.Database, tmp_path: Path
) -> Iterator[StartChaos]:
    """Start a gateway with all of these providers, routes over them, limits, prices and a ledger of its own."""
    started: list[GatewayProcess] = []

    def start(door: Door, **settings: Any) -> ChaosGateway:
        folder = tmp_path / f"gateway-{len(started)}"
        folder.mkdir()
        database = databases.copy_of(empty_database, folder)
        site = {"DATABASES": {"default": database}, "ROOT_URLCONF": "tests.chaos.site_urls"}
        chosen = {**chaos_settings(upstream.port, closed_port, upstream.listen_rudely()), **settings}
        started.append(GatewayProcess(door, chosen, tmp_path / f"gateway-{len(started)}.log", site=site))
        return ChaosGateway(started[-1], LedgerReader(database["NAME"]))

    yield start
    for process in started:
        process.stop()
        process.assert_log_in_order()


def chaos_settings(port: int, closed_port: int, rude_port: int) -> dict[str, Any]:
    """Write the settings."""

    def chat(alias: str, **options: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{port}/{alias}/v1"
        return {"BACKEND": "custom", "OPTIONS": {"base_url": url, "api_key": "sk-x", "allow_private": True, **options}}

    def messages(alias: str, **options: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{port}/{alias}"
        return {
            "BACKEND": "anthropic",
            "OPTIONS": {"base_url": url, "api_key": "sk-x", "allow_private": True, **options},
        }

    return {
        "PROVIDERS": {
            "alpha": chat("alpha"),
            "beta": chat("beta"),
            "gamma": chat("gamma", max_concurrency=3),
            "claude": messages("claude"),
            "billing": messages("billing", finish_within=1.0),
            "shadow": chat("shadow"),
            "closed": chat("closed", base_url=f"http://127.0.0.1:{closed_port}/v1"),
            "nowhere": chat("nowhere", base_url="http://chaos.invalid/v1"),
            "garbled": chat("garbled", base_url=f"https://127.0.0.1:{rude_port}/v1"),
        },
        "ROUTES": {
            "chat": ["alpha/m", "gamma/m", "beta/m"],
            "mixed": {"targets": ["gamma/m", "claude/m", "alpha/m", "billing/m"], "strategy": "round_robin"},
            "ill": {
                "targets": ["closed/m", "nowhere/m", "garbled/m", "beta/m", "claude/m"],
                "strategy": "least_busy",
            },
            "mirrored": {"targets": ["alpha/m", {"target": "shadow/m", "part": "mirror", "percent": 50}, "beta/m"]},
            "lone": ["beta/m"],
            "claude": {"targets": ["claude/m", "billing/m"], "strategy": "lowest_latency"},
        },
        "KEYS": {"team-a": GATEWAY_KEY},
        "TIMEOUTS": TIMEOUTS,
        "KEEP_ALIVE_INTERVAL": 0.3,
        "LIMITS": LIMITS,
        "LIMIT_STORE": {"BACKEND": "database", "TIMEOUT": 60},
        "PRICES": [{"model": "*", "input": "1", "output": "2"}],
        "USAGE_INTERVAL": 0.1,
    }
