"""The gateway's own list of models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
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
ANTHROPIC = [(b"anthropic-version", b"2023-06-01")]
GOOGLE = [(b"x-goog-api-key", b"gw_key")]
THEIRS = b'{"object":"list","data":[{"id":"gpt-5","created":7},{"id":"gpt-named"},{"odd":1}]}'


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    listing._remembered.clear()
    with override_settings(AI_GATEWAY=OPTIONS):
        yield


def answer(
    *outcomes: Answer | Exception,
    path: str = "/v1/models",
    query: str = "",
    caller: Caller = HOLDER,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> Any:
    """Ask for the list, with the upstream answering by this script; give it as JSON and what was asked upstream."""
    call = make_call(path, *headers, method="GET", body=b"", query=query.encode())
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
    document, _ = answer(Answer(THEIRS), headers=ANTHROPIC)
    assert (document["first_id"], document["last_id"], document["has_more"]) == ("fast", "echo/echo-1", False)
    assert document["data"][0]["type"] == "model"
    assert document["data"][0]["display_name"] == "fast"


@pytest.mark.parametrize(
    ("path", "headers"), [("/v1beta/models", []), ("/v1beta/models", ANTHROPIC), ("/v1/models", GOOGLE)]
)
def test_googles_clients_get_googles_shape(path: str, headers: list[tuple[bytes, bytes]]) -> None:
    document, _ = answer(Answer(THEIRS), path=path, headers=headers)
    assert document.keys() == {"models"}
    assert [model["name"] for model in document["models"]] == [
        *("models/fast", "models/openai/gpt-named", "models/openai/gpt-5", "models/echo/echo-1")
    ]


def test_pages_go_on_where_the_last_one_ended() -> None:
    first, _ = answer(Answer(THEIRS), path="/v1beta/models", query="pageSize=3")
    rest, _ = answer(path="/v1beta/models", query=f"pageSize=3&pageToken={first['nextPageToken']}")
    assert [len(first["models"]), len(rest["models"])] == [3, 1]
    assert "nextPageToken" not in rest


@pytest.mark.parametrize(("path", "name"), [("/v1/models", "id"), ("/v1beta/models", "name")])
@pytest.mark.parametrize("id", ["openai/gpt-5", "fast"])
def test_one_model_by_its_id(path: str, name: str, id: str) -> None:
    document, _ = answer(Answer(THEIRS), path=f"{path}/{id}")
    assert document[name].removeprefix("models/") == id


def test_a_model_without_a_provider_is_the_one_that_a_call_would_be_for() -> None:
    document, _ = answer(Answer(THEIRS), path="/v1/models/gpt-5")
    assert (document["id"], document["owned_by"]) == ("gpt-5", "openai")
    with pytest.raises(ModelNotFound):  # Google's clients mean Google's.
        answer(path="/v1beta/models/gpt-5")


GEMINI = {
    "PROVIDERS": {"gemini": {"OPTIONS": {"api_key": "AIza-stored"}}, "openai": {"OPTIONS": {"api_key": "sk-stored"}}},
    "ROUTES": {"pair": ["gemini/gemini-3-pro", "openai/small"], "vectors": ["gemini/gemini-embedding-001"]},
}
PRO = {
    "displayName": "Gemini 3 Pro",
    "inputTokenLimit": 1048576,
    "outputTokenLimit": 65536,
    "supportedGenerationMethods": ["generateContent", "createCachedContent"],
}
GEMINIS = {
    "models": [
        {"name": "models/gemini-3-pro", **PRO},
        {"name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]},
    ]
}


@override_settings(AI_GATEWAY=GEMINI)
def test_googles_own_list_keeps_its_sizes_and_methods_which_routes_have_of_their_models() -> None:
    small = b'{"data": [{"id": "small", "context_window": 8192}]}'
    document, transport = answer(
        *(Answer(small), Answer(json.dumps(GEMINIS).encode())), path="/v1beta/models", headers=GOOGLE
    )
    assert [request.target for request in transport.requests] == [b"/v1/models", b"/v1beta/models?pageSize=1000"]
    models = {model.pop("name").removeprefix("models/"): model for model in document["models"]}
    assert models["gemini/gemini-3-pro"] == PRO
    assert models["openai/small"]["inputTokenLimit"] == 8192
    assert models["pair"] == {**PRO, "displayName": "pair", "inputTokenLimit": 8192}
    assert models["vectors"]["supportedGenerationMethods"] == ["embedContent"]


@override_settings(AI_GATEWAY={"PROVIDERS": {"anthropic": {"OPTIONS": {"api_key": "sk-stored"}}}})
def test_a_list_that_has_pages_is_fetched_whole() -> None:
    theirs = {"data": [{"id": "claude", "max_input_tokens": 200000, "max_tokens": 64000}], "has_more": False}
    document, transport = answer(Answer(json.dumps(theirs).encode()), path="/v1beta/models")
    assert [request.target for request in transport.requests] == [b"/v1/models?limit=1000"]
    (claude, *_) = document["models"]
    assert claude["name"] == "models/anthropic/claude"
    assert (claude["inputTokenLimit"], claude["outputTokenLimit"]) == (200000, 64000)


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(ModelNotFound):
        answer(Answer(THEIRS), path="/v1/models/nothing")


@pytest.mark.parametrize(
    "outcome", [ConnectFailed("away"), Answer(b"<html>", status=200), Answer(b"{}", status=500), Answer(b'{"data":1}')]
)
def test_a_provider_that_fails_is_left_out(outcome: Answer | Exception) -> None:
    document, _ = answer(outcome)
    assert ids(document) == ["fast", "openai/gpt-named", "echo/echo-1"]


def pages(*bodies: str) -> list[Answer]:
    return [Answer(body.encode()) for body in bodies]


@pytest.mark.parametrize(
    ("alias", "bodies", "targets"),
    [
        (
            "anthropic",
            [
                '{"data": [{"id": "a"}, {"id": "b"}], "has_more": true, "last_id": "b"}',
                '{"data": [{"id": "c"}], "has_more": false, "last_id": "c"}',
            ],
            ["/v1/models?limit=1000", "/v1/models?limit=1000&after_id=b"],
        ),
        (
            "gemini",
            [
                '{"models": [{"name": "models/a"}, {"name": "models/b"}], "nextPageToken": "x=/&"}',
                '{"models": [{"name": "models/c"}]}',
            ],
            ["/v1beta/models?pageSize=1000", "/v1beta/models?pageSize=1000&pageToken=x%3D%2F%26"],
        ),
    ],
)
def test_every_page_of_a_providers_list_is_read(alias: str, bodies: list[str], targets: list[str]) -> None:
    with override_settings(AI_GATEWAY={"PROVIDERS": {alias: {"OPTIONS": {"api_key": "sk-x"}}}}):
        document, transport = answer(*pages(*bodies))
    assert ids(document) == [*(f"{alias}/{name}" for name in "abc"), "echo/echo-1"]
    assert [request.target.decode() for request in transport.requests] == targets


def test_a_provider_that_gives_the_same_page_again_is_asked_no_more() -> None:
    page = '{"data": [{"id": "a"}], "has_more": true, "last_id": "a"}'
    document, transport = answer(*pages(page, page, page))
    assert "openai/a" in ids(document)
    assert len(transport.requests) == 2


def test_a_provider_whose_list_does_not_end_is_asked_for_some_of_it() -> None:
    endless = [f'{{"data": [{{"id": "m{number}"}}], "has_more": true, "last_id": "m{number}"}}' for number in range(99)]
    document, transport = answer(*pages(*endless))
    assert len(transport.requests) == listing.MOST_PAGES
    assert {f"openai/m{number}" for number in range(listing.MOST_PAGES)} <= set(ids(document))


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
        ("GET", "/v1beta/tunedModels", []),
        ("GET", "/v1beta/models", [(b"x-provider", b"gemini")]),
        ("GET", "/v1beta/models/m:countTokens", []),
        ("DELETE", "/v1/models/ft:x", []),
    ],
)
def test_other_calls_are_not_for_the_list(method: str, path: str, headers: list[tuple[bytes, bytes]]) -> None:
    assert not listing.is_asked(make_call(path, *headers, method=method))
