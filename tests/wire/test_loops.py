"""Gateways whose providers are gateways: one behind the other on purpose, and in a ring by mistake."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import databases
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.private_server import free_port
from tests.raw_client import RawClient
from tests.upstream import Upstream
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, DIALECTS, Dialect

PLACES = 40
"""Calls that a gateway serves at once here: one that calls itself has used them all up soon."""


class Gateways:
    """Gateways that are made one after the other, each with the providers that it is given."""

    def __init__(self, logs: Path, database: databases.Database) -> None:
        self._logs = logs
        self._site = {"DATABASES": {"default": database}}
        self._running = ExitStack()

    def start(self, port: int, provider: int) -> RawClient:
        """Start a gateway at a port, all of whose providers are at another one."""
        options = {"allow_private": True, "api_key": GATEWAY_KEY, "dialects": [each.name for each in DIALECTS]}
        at = {**options, "base_url": f"http://127.0.0.1:{provider}", "paths": [["/v1", "/v1"], ["/v1beta", "/v1beta"]]}
        names = ("openai", "anthropic", "gemini")  # Those that the paths of the three families lead to.
        own = {
            "PROVIDERS": {name: {"BACKEND": "custom", "OPTIONS": at} for name in names},
            "KEYS": {"team": GATEWAY_KEY},
            "MAX_CALLS": PLACES,
            "QUEUE": {"size": 0, "seconds": 0},
        }
        process = GatewayProcess(
            "direct", own, self._logs / f"{port}.log", site=self._site, arguments=("--port", str(port))
        )
        self._running.callback(process.stop)
        client = RawClient(process.port)
        self._running.callback(client.close)
        return client

    def stop(self) -> None:
        self._running.close()


@pytest.fixture
def gateways(tmp_path: Path, site_database: databases.Database) -> Iterator[Gateways]:
    made = Gateways(tmp_path, site_database)
    yield made
    made.stop()


def hops(upstream: Upstream) -> Mapping[str, str | None]:
    return {request.target: request.header("x-gateway-hops") for request in upstream.requests}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_gateway_that_is_its_own_provider_refuses_the_call_in_its_caller_s_format(
    gateways: Gateways, dialect: Dialect
) -> None:
    port = free_port()
    raw = gateways.start(port, port)
    answer = raw.post(dialect.path, dialect.body, [BEARER])
    assert answer.status == 508, answer.body
    dialect.check_error(answer.json())
    assert "come through more than 5 gateways" in answer.body.decode()
    assert answer.header("x-should-retry") == "false"


def test_gateways_in_a_ring_refuse_the_call(gateways: Gateways) -> None:
    first, second = free_port(), free_port()
    raw = gateways.start(first, second)
    gateways.start(second, first)
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    assert (answer.status, answer.json()["error"]["code"]) == (508, "loop_detected")
    assert raw.get("/v1/models", [BEARER]).status == 200  # Each asks the other for its models.


def test_two_gateways_in_a_row_serve_calls_and_tell_how_many_they_are(gateways: Gateways, upstream: Upstream) -> None:
    spoke = free_port()
    gateways.start(spoke, upstream.port)
    raw = gateways.start(free_port(), spoke)
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    assert answer.status == 200
    assert json.loads(bytes(upstream.request.body))["model"] == CHAT["model"]
    assert hops(upstream) == {CHAT_PATH: "2"}


@pytest.mark.parametrize("value", ["6", "99999999999", "-1", "x", ""])
def test_whoever_says_that_a_call_has_come_far_is_refused(raw: RawClient, upstream: Upstream, value: str) -> None:
    assert raw.post(CHAT_PATH, CHAT, [BEARER, ("x-gateway-hops", value)]).status == 508
    assert not upstream.requests


def test_what_a_caller_says_is_counted_on(raw: RawClient, upstream: Upstream) -> None:
    assert raw.post(CHAT_PATH, CHAT, [BEARER, ("x-gateway-hops", "3")]).status == 200
    assert hops(upstream) == {CHAT_PATH: "4"}
