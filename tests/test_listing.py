"""The gateway's own list of models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import listing, registry
from ai_gateway.calls import Caller
from ai_gateway.errors import ConnectFailed, ModelNotFound
from tests.factories import Answer, Scripted, make_call, run

HOLDER = Caller(key_name="team")
OWN = Caller(credential=(b"authorization", b"Bearer sk-own"))
OPTIONS = {
    "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "sk-stored", "models": ["gpt-named"]}}, "echo": {}},
    "ROUTES": {"fast": ["openai/gpt-5-mini"]},
}
THEIRS = b'{"object":"list","data":[{"id":"gpt-5","created":7},{"id":"gpt-named"},{"odd":1}]}'


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    listing._remembered.clear()
    with override_settings(AI_GATEWAY=OPTIONS):
        yield


def answer(
    *outcomes: Answer | Exception, path: str = "/v1/models", caller: Caller = HOLDER, anthropic: bool = False
) -> Any:
    """Ask for the list, with the upstream answering by this script; give it as JSON and what was asked upstream."""
    headers = [(b"anthropic-version", b"2023-06-01")] if anthropic else []
    call = make_call(path, *headers, method="GET", body=b"")
    transport = Scripted(*outcomes)
    assert listing.is_asked(call)
    reply = run(listing.answer(call, caller, registry.snapshot(), transport))
    assert isinstance(reply.body, bytes)
    return json.loads(reply.body), transport


def ids(document: Any) -> list[str]:
    return [model["id"] for model in document["data"]]


def test_routes_named_models_and_the_providers_own_each_once() -> None:
    document, _ = answer(Answer(THEIRS))
    assert ids(document) == ["fast", "openai/gpt-named", "openai/gpt-5", "echo/echo-1"]
    assert document["object"] == "list"
    assert document["data"][2] == {"id": "openai/gpt-5", "object": "model", "created": 7, "owned_by": "openai"}


def test_anthropics_clients_get_anthropics_shape() -> None:
    document, _ = answer(Answer(THEIRS), anthropic=True)
    assert (document["first_id"], document["last_id"], document["has_more"]) == ("fast", "echo/echo-1", False)
    assert document["data"][0]["type"] == "model"
    assert document["data"][0]["display_name"] == "fast"


def test_one_model_by_its_id() -> None:
    document, _ = answer(Answer(THEIRS), path="/v1/models/openai/gpt-5")
    assert document["id"] == "openai/gpt-5"


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(ModelNotFound):
        answer(Answer(THEIRS), path="/v1/models/nothing")


@pytest.mark.parametrize(
    "outcome", [ConnectFailed("away"), Answer(b"<html>", status=200), Answer(b"{}", status=500), Answer(b'{"data":1}')]
)
def test_a_provider_that_fails_is_left_out(outcome: Answer | Exception) -> None:
    document, _ = answer(outcome)
    assert ids(document) == ["fast", "openai/gpt-named", "echo/echo-1"]


def test_a_list_fetched_with_a_stored_credential_is_remembered() -> None:
    _, transport = answer(Answer(THEIRS))
    assert dict(transport.requests[0].headers)[b"authorization"] == b"Bearer sk-stored"
    document, transport = answer()
    assert not transport.requests
    assert "openai/gpt-5" in ids(document)


def test_who_brings_its_own_credential_sees_its_own_list_which_is_not_remembered() -> None:
    document, transport = answer(Answer(THEIRS), caller=OWN)
    assert dict(transport.requests[0].headers)[b"authorization"] == b"Bearer sk-own"
    assert ids(document) == ["echo/echo-1", "openai/gpt-named", "openai/gpt-5"]
    assert not listing._remembered


def test_nobody_sees_what_is_public_and_no_provider_is_asked() -> None:
    document, transport = answer(caller=Caller())
    assert ids(document) == ["echo/echo-1"]
    assert not transport.requests


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/v1/models", []),
        ("GET", "/v1/models", [(b"x-provider", b"openai")]),
        ("GET", "/v1/models/m:generateContent", []),
        ("GET", "/v1/modelsx", []),
        ("DELETE", "/v1/models/ft:x", []),
    ],
)
def test_other_calls_are_not_for_the_list(method: str, path: str, headers: list[tuple[bytes, bytes]]) -> None:
    assert not listing.is_asked(make_call(path, *headers, method=method))
