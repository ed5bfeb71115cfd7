"""Gemini: two APIs, two headers, one key."""

from __future__ import annotations

import pytest

from ai_gateway.calls import Caller
from ai_gateway.providers import build_provider
from tests.providers.samples import TEAM, header, json_body, make_call, passed_through, url

HOST = "https://generativelanguage.googleapis.com"

NATIVE = {
    "/v1beta/models/gemini-3-flash:generateContent": "/v1beta/models/gemini-3-flash:generateContent",
    "/v1/models/gemini-3-flash:generateContent": "/v1beta/models/gemini-3-flash:generateContent",
    "/v1/models/gemini-3-flash:streamGenerateContent": "/v1beta/models/gemini-3-flash:streamGenerateContent",
    "/v1/models/gemini-3-flash:countTokens": "/v1beta/models/gemini-3-flash:countTokens",
    "/v1beta/tunedModels/mine:generateContent": "/v1beta/tunedModels/mine:generateContent",
    "/v1beta/models": "/v1beta/models",
    "/v1beta/cachedContents": "/v1beta/cachedContents",
}
COMPATIBLE = {
    "/v1/chat/completions": "/v1beta/openai/chat/completions",
    "/v1/embeddings": "/v1beta/openai/embeddings",
    "/v1/models": "/v1beta/openai/models",
    "/v1/models/gemini-3-flash": "/v1beta/openai/models/gemini-3-flash",
    "/v1beta/openai/chat/completions": "/v1beta/openai/chat/completions",
}
GEMINI = build_provider("gemini", {"OPTIONS": {"api_key": "AIza-stored"}})

CALLERS = [
    (TEAM, "AIza-stored"),
    (passed_through("x-goog-api-key", "AIza-own"), "AIza-own"),
    (passed_through("authorization", "Bearer AIza-own"), "AIza-own"),
    (passed_through("x-api-key", "AIza-own"), "AIza-own"),
]


@pytest.mark.parametrize(("caller", "key"), CALLERS)
@pytest.mark.parametrize("path", NATIVE)
def test_the_native_api_gets_the_key_in_googles_header(path: str, caller: Caller, key: str) -> None:
    request = GEMINI.build(make_call(path, {"contents": []}, query="alt=sse&key=AIza-leak"), caller, None)
    assert url(request) == f"{HOST}{NATIVE[path]}?alt=sse"
    assert header(request, "x-goog-api-key") == key
    assert header(request, "authorization") is None


@pytest.mark.parametrize(("caller", "key"), CALLERS)
@pytest.mark.parametrize("path", COMPATIBLE)
def test_the_compatible_api_gets_it_as_a_bearer_token(path: str, caller: Caller, key: str) -> None:
    request = GEMINI.build(make_call(path, {"model": "m"}), caller, None)
    assert url(request) == f"{HOST}{COMPATIBLE[path]}"
    assert header(request, "authorization") == f"Bearer {key}"
    assert header(request, "x-goog-api-key") is None


def test_a_model_in_the_path_stays() -> None:
    call = make_call("/v1beta/models/gemini-3-flash:generateContent", {"contents": []})
    request = GEMINI.build(call, TEAM, "another")
    assert json_body(request) == {"contents": []}
    assert b"gemini-3-flash" in request.target
