"""Azure: both of its URL styles."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.errors import ModelNotFound
from ai_gateway.providers import Provider, build_provider
from tests.providers.samples import TEAM, header, json_body, make_call, passed_through, pieces, url

OLDER = {"resource": "our-resource", "api_version": "2024-10-21", "api_key": "azure-key"}


def azure(**options: Any) -> Provider:
    return build_provider("azure", {"OPTIONS": options})


@pytest.mark.parametrize(
    "base_url",
    [
        "https://our-resource.openai.azure.com",
        "https://our-resource.openai.azure.com/",
        "https://our-resource.openai.azure.com/openai",
        "https://our-resource.openai.azure.com/openai/v1/",
    ],
)
def test_the_base_url_may_be_written_as_the_portal_shows_it(base_url: str) -> None:
    request = azure(base_url=base_url, api_key="k").build(make_call(body={"model": "m"}), TEAM, None)
    assert url(request) == "https://our-resource.openai.azure.com/openai/v1/chat/completions"


def test_the_newer_style_has_the_deployment_in_the_body() -> None:
    request = azure(resource="our-resource", api_key="k").build(make_call(body={"model": "fast"}), TEAM, "deployed")
    assert url(request) == "https://our-resource.openai.azure.com/openai/v1/chat/completions"
    assert json_body(request) == {"model": "deployed"}
    assert header(request, "api-key") == "k"


@pytest.mark.parametrize(
    ("path", "model", "expected"),
    [
        ("/v1/chat/completions", None, "/openai/deployments/gpt-5/chat/completions"),
        ("/v1/chat/completions", "my-own", "/openai/deployments/my-own/chat/completions"),
        ("/v1/embeddings", None, "/openai/deployments/gpt-5/embeddings"),
        ("/v1/images/generations", None, "/openai/deployments/gpt-5/images/generations"),
        ("/v1/responses", None, "/openai/responses"),
        ("/v1/files", None, "/openai/files"),
    ],
)
def test_the_older_style(path: str, model: str | None, expected: str) -> None:
    request = azure(**OLDER).build(make_call(path, {"model": "gpt-5"}), TEAM, model)
    assert url(request) == f"https://our-resource.openai.azure.com{expected}?api-version=2024-10-21"


def test_the_older_style_finds_the_deployment_of_a_model() -> None:
    provider = azure(**OLDER, deployments={"gpt-5": "five"})
    request = provider.build(make_call(body={"model": "gpt-5"}, query="a=1&api-version=2020-01-01"), TEAM, None)
    assert request.target == b"/openai/deployments/five/chat/completions?a=1&api-version=2024-10-21"


def test_the_older_style_quotes_a_deployment() -> None:
    request = azure(**OLDER).build(make_call(body={"model": "../../x?y"}), TEAM, None)
    assert request.target.startswith(b"/openai/deployments/..%2F..%2Fx%3Fy/chat/")


def test_the_older_style_needs_a_model() -> None:
    call = make_call("/v1/audio/transcriptions", pieces(b"form"), headers=[("content-type", "multipart/form-data")])
    with pytest.raises(ModelNotFound, match="names none"):
        azure(**OLDER).build(call, TEAM, None)


def test_a_caller_may_bring_a_token_of_entra_id() -> None:
    caller = passed_through("authorization", "Bearer eyJ0eXAi")
    request = azure(resource="our-resource").build(make_call(body={"model": "m"}), caller, None)
    assert header(request, "authorization") == "Bearer eyJ0eXAi"
    assert header(request, "api-key") is None


@pytest.mark.parametrize("resource", ["evil.com/", "a.b", "-a", "a-", "a" * 65, "a@b", "ä"])
def test_a_resource_must_be_a_part_of_a_host_name(resource: str) -> None:
    with pytest.raises(ValueError, match="resource"):
        azure(resource=resource)


def test_a_version_must_look_like_one() -> None:
    with pytest.raises(ValueError, match="api_version"):
        azure(resource="our-resource", api_version="1&key=x")


def test_without_an_address_it_is_refused() -> None:
    with pytest.raises(ValueError, match="'base_url' or 'resource'"):
        azure(api_key="k")


@pytest.mark.parametrize(
    ("options", "model", "expected"),
    [
        ({}, "five", b"/openai/v1/realtime?model=five&intent=x"),
        ({"api_version": "2025-04-01-preview"}, "five", b"/openai/realtime?deployment=five&intent=x"),
        ({"api_version": "2025-04-01-preview"}, None, b"/openai/realtime?intent=x"),
    ],
)
def test_a_realtime_session_has_the_deployment_in_its_query(
    options: dict[str, str], model: str | None, expected: bytes
) -> None:
    query = "model=five&intent=x" if model else "intent=x"
    call = make_call("/v1/realtime", method="GET", query=query)
    version = b"&api-version=2025-04-01-preview" if options else b""
    assert azure(resource="our-resource", api_key="k", **options).build(call, TEAM, model).target == expected + version
