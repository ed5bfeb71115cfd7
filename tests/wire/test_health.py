"""The health endpoints: what they tell, and to whom."""

from __future__ import annotations

import time

import pytest

import ai_gateway
from tests.conftest import StartGateway
from tests.gateway_process import GatewayProcess
from tests.raw_client import RawClient
from tests.upstream import Upstream
from tests.wire.samples import BEARER, CHAT, CHAT_PATH

pytestmark = pytest.mark.usefixtures("quiescent")


def test_health_tells_that_the_process_is_up_and_nothing_else(raw: RawClient) -> None:
    answer = raw.get("/health")
    assert answer.status == 200
    assert answer.json() == {"status": "healthy", "version": ai_gateway.__version__}


def test_ready_tells_that_calls_can_be_served(raw: RawClient, upstream: Upstream) -> None:
    answer = raw.get("/health/ready")
    assert (answer.status, answer.json()) == (200, {"status": "ready"})
    assert not upstream.requests


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_head_works(raw: RawClient, path: str) -> None:
    assert raw.call("HEAD", path).status == 200


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/providers"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_done_there(raw: RawClient, method: str, path: str) -> None:
    answer = raw.call(method, path, [BEARER], b"{}")
    assert answer.status in (403, 405)


@pytest.mark.parametrize("path", ["/health?x=/v1/", "/health?/v1/models", "/health/?x"])
def test_a_query_string_changes_nothing(raw: RawClient, upstream: Upstream, path: str) -> None:
    """T67."""
    assert raw.get(path, [("user-agent", "kube-probe/1.30")]).json()["status"] == "healthy"
    assert not upstream.requests


@pytest.mark.parametrize(
    "path", ["/health/..%2fv1/models", "/health/../v1/models", "/health%2f..%2fv1/models", "/healthz"]
)
def test_health_is_no_way_around_the_keys(raw: RawClient, upstream: Upstream, path: str) -> None:
    """T67."""
    answer = raw.get(path, [("user-agent", "kube-probe/1.30"), ("x-provider", "openai")])
    assert answer.status in (400, 401, 404)
    assert not upstream.requests


@pytest.mark.parametrize("agent", ["kube-probe/1.30", "GoogleHC/1.0", "ELB-HealthChecker/2.0"])
def test_a_health_checkers_name_opens_nothing(raw: RawClient, upstream: Upstream, agent: str) -> None:
    """T67."""
    assert raw.post(CHAT_PATH, CHAT, [("user-agent", agent)]).status == 401
    assert not upstream.requests


@pytest.mark.parametrize("headers", [[], [BEARER], [("authorization", "Bearer wrong")]])
def test_the_state_of_the_providers_is_not_for_everybody(raw: RawClient, headers: list[tuple[str, str]]) -> None:
    answer = raw.get("/health/providers", headers)
    assert answer.status == 403
    assert b"openai" not in answer.body


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/providers", "/api/hello"])
def test_every_answer_has_a_request_id(raw: RawClient, path: str) -> None:
    answer = raw.get(path, [("x-request-id", "chosen-by-the-caller")])
    assert (answer.header("x-request-id"), answer.header("request-id")) == ("chosen-by-the-caller",) * 2


def test_what_is_not_ready_is_named_by_both_doors(start_gateway: StartGateway) -> None:
    away = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/no/such/folder/db.sqlite3"}}
    answer = RawClient(start_gateway(site={"DATABASES": away}).port).get("/health/ready")
    assert (answer.status, answer.json()["status"]) == (503, "unavailable")
    assert answer.json()["problems"] == ["database"]


def test_a_strangers_host_name_is_refused_in_json(gateway: GatewayProcess, raw: RawClient) -> None:
    gateway.expects_traceback = True  # Django logs such a host name with one.
    answer = raw.get("/health/providers", [("host", "elsewhere.example")])
    assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_body_for_the_providers_is_not_received(raw: RawClient) -> None:
    """T72: it would go to the disk before anybody asked who sends it."""
    with raw.connect() as connection:
        connection.request("POST", "/health/providers", [("content-length", "500000000"), ("expect", "100-continue")])
        assert connection.read_head().status == 405


def test_the_metrics_token_opens_the_state_of_the_providers(strict: RawClient, upstream: Upstream) -> None:
    strict.post(CHAT_PATH, CHAT, [BEARER])
    strict.post(CHAT_PATH, CHAT, [("authorization", "Bearer sk-own"), ("x-provider", "unreachable")])
    answer = strict.get("/health/providers", [("authorization", "Bearer token-for-metrics")])
    providers = answer.json()["providers"]
    assert providers["openai"]["configured"] is True
    assert providers["openai"]["last"]["ok"] is True
    assert providers["unreachable"]["last"]["error"] == "upstream_unreachable"
    assert b"stored" not in answer.body
    assert len(upstream.requests) == 1


def test_a_provider_that_is_probed_is_known_to_be_away_before_a_call_asks_it(strict: RawClient) -> None:
    last, deadline = None, time.monotonic() + 10
    while last is None and time.monotonic() < deadline:
        answer = strict.get("/health/providers", [("authorization", "Bearer token-for-metrics")])
        last = answer.json()["providers"]["probed"]["last"]
    assert last is not None
    assert (last["probed"], last["ok"], last["error"]) == (True, False, "upstream_unreachable")
