"""What a key used and what is left to it, asked for through both doors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import GATEWAY_KEY, StartGateway
from tests.raw_client import RawClient
from tests.wire.conftest import Start

READER = "gw_test-key-that-only-reads"
SETTINGS: dict[str, Any] = {
    "LIMITS": [{"name": "each key", "scope": "key", "measure": "requests", "window": "minute", "amount": 60}],
    "KEYS": {"team-a": GATEWAY_KEY, "reader": READER},
}

one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

WRITE = """
import datetime
from ai_gateway.models import UsageDaily
from ai_gateway.spending import today
for key in VirtualKey.objects.order_by("pk"):
    UsageDaily.objects.create(
        day=today(), slot=str(key.pk), key=key, requests=key.pk, input_tokens=10, cost_nanos=key.pk * 10**9
    )
result = list(VirtualKey.objects.order_by("pk").values_list("pk", flat=True))
"""


def test_a_key_of_the_settings_is_told_its_limits(start_gateway: StartGateway) -> None:
    raw = RawClient(start_gateway(**SETTINGS).port)
    answer = raw.get("/v1/usage", [("authorization", f"Bearer {READER}")])
    assert answer.status == 200
    assert answer.header("cache-control") == "no-store"
    assert answer.json()["key"] == "reader"
    assert answer.json()["spent"]["total"]["requests"] == 0
    assert [limit["name"] for limit in answer.json()["limits"]] == ["each key"]


def test_a_stranger_is_told_nothing(start_gateway: StartGateway) -> None:
    raw = RawClient(start_gateway(**SETTINGS).port)
    for credential in ([], [("authorization", "Bearer gw_not-a-key")], [("authorization", "Bearer sk-theirs")]):
        answer = raw.get("/v1/usage", credential)
        assert answer.status == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"


def test_other_methods_than_get_and_head(start_gateway: StartGateway) -> None:
    raw = RawClient(start_gateway(**SETTINGS).port)
    key = [("authorization", f"Bearer {GATEWAY_KEY}")]
    assert raw.call("HEAD", "/v1/usage", key).status == 200
    refused = raw.post("/v1/usage", {}, key)
    assert (refused.status, refused.json()["error"]["code"]) == (405, "method_not_allowed")


def test_a_span_that_cannot_be_read_is_said_in_the_callers_dialect(start_gateway: StartGateway) -> None:
    raw = RawClient(start_gateway(**SETTINGS).port)
    key = [("x-api-key", GATEWAY_KEY), ("anthropic-version", "2023-06-01")]
    refused = raw.get("/v1/usage?since=yesterday", key)
    assert (refused.status, refused.json()["error"]["type"]) == (400, "invalid_request_error")


@one_database
def test_a_virtual_key_is_told_its_own_numbers(start_controlled: Start) -> None:
    gateway = start_controlled()
    tokens = [gateway.issue("ann"), gateway.issue("ann")]
    for token, number in zip(tokens, gateway.shell.run(WRITE), strict=True):
        answer = gateway.raw.get("/v1/usage?by=model", [("x-api-key", token)])
        assert answer.status == 200
        spent = answer.json()["spent"]
        assert spent["total"]["requests"] == spent["this_month"]["requests"] == spent["today"]["requests"] == number
        assert spent["total"]["cost"] == str(number)
        assert spent["total"]["tokens"]["input"] == 10
        assert len(spent["span"]["by_model"]) == 1
