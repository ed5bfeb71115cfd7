"""Checks of providers, of their probes, and of routes to them."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.providers import Provider
from tests.checks.site import CANARY, Site


class OwnProvider(Provider):
    """A provider of a third party."""


@pytest.mark.parametrize(
    ("alias", "entry"),
    [
        ("mine", {"BACKEND": "openai", "options": {}}),
        ("mine", {"BACKEND": 1}),
        ("mine", {"BACKEND": "openai", "OPTIONS": []}),
        ("a/b", {"BACKEND": "openai"}),
        ("a b", {"BACKEND": "openai"}),
        ("ä", {"BACKEND": "openai"}),
        ("OpenAI", {}),
    ],
)
def test_a_provider_entry_of_the_wrong_shape(site: Site, alias: str, entry: Any) -> None:
    site.gateway(PROVIDERS={"openai": {}, alias: entry})
    assert site.ids() == {"E030"}


@pytest.mark.parametrize(
    "backend", ["opena", "not.there.Provider", "ai_gateway.providers.NotThere", "pathlib.Path", f"{__name__}.Site"]
)
def test_a_provider_backend_that_is_not_there(site: Site, backend: str) -> None:
    site.provider(BACKEND=backend)
    assert site.ids() == {"E031"}


def test_an_alias_that_is_no_provider_needs_a_backend(site: Site) -> None:
    site.provider("opanai")
    assert site.ids() == {"E031"}
    assert '"openai"' in site.hint()


def test_a_provider_of_a_third_party(site: Site) -> None:
    site.provider(BACKEND=f"{__name__}.OwnProvider", OPTIONS={"base_url": "https://api.example/v1"})
    assert site.ids() == set()


@pytest.mark.parametrize("options", [{"api_kee": "env:CHECKED_PROVIDER_KEY"}, {"timeouts": {"read": 5}}])
def test_provider_options_that_it_does_not_know(site: Site, options: Any) -> None:
    site.provider("groq", OPTIONS=options)
    assert site.ids() == {"E032"}


@pytest.mark.parametrize(
    "url", ["api.example/v1", "https://", "ftp://api.example", "https://a b", f"https://me:{CANARY}@h"]
)
def test_a_base_url_that_is_none(site: Site, url: str) -> None:
    site.provider(BACKEND="custom", OPTIONS={"base_url": url})
    assert site.ids() == {"E033"}


def test_a_credential_that_cannot_stand_in_a_header(site: Site) -> None:
    site.provider("groq", OPTIONS={"api_key": f"{CANARY}\né"})
    assert site.ids() == {"E034"}


@pytest.mark.parametrize(
    "url", ["http://10.1.2.3/v1", "http://localhost:11434/v1", "https://[::1]/v1", "http://169.254.169.254"]
)
def test_a_private_address_must_be_allowed(site: Site, url: str) -> None:
    site.provider(BACKEND="custom", OPTIONS={"base_url": url})
    assert site.ids() == {"E035"}
    assert '"allow_private": True' in site.hint()
    assert "ALLOW_PRIVATE_UPSTREAMS=true" in site.hint()
    site.provider(BACKEND="custom", OPTIONS={"base_url": url, "allow_private": True})
    assert site.ids() == set()
    site.provider(BACKEND="custom", OPTIONS={"base_url": url})
    site.gateway(ALLOW_PRIVATE_UPSTREAMS=True)
    assert site.ids() == set()


def test_a_credential_that_travels_in_the_clear(site: Site) -> None:
    options = {"base_url": "http://api.example/v1", "api_key": "env:CHECKED_PROVIDER_KEY"}
    site.provider(BACKEND="custom", OPTIONS=options)
    assert site.ids() == {"W037"}


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "http://api.example/v1"},
        {"base_url": "https://api.example/v1", "api_key": "env:CHECKED_PROVIDER_KEY"},
        {"base_url": "http://vllm:8000/v1", "api_key": "env:CHECKED_PROVIDER_KEY"},
        {"base_url": "http://10.1.2.3/v1", "api_key": "env:CHECKED_PROVIDER_KEY", "allow_private": True},
    ],
)
def test_a_credential_that_does_not(site: Site, options: Any) -> None:
    site.provider(BACKEND="custom", OPTIONS=options)
    assert site.ids() == set()


@pytest.mark.parametrize("name", ["opanai", "OpenAI", "fast"])
def test_the_default_provider_must_exist(site: Site, name: str) -> None:
    site.gateway(DEFAULT_PROVIDER=name)
    assert site.ids() == {"E038"}


@pytest.mark.parametrize("alias", ["echo", "bedrock", "Bedrock"])
def test_who_has_nothing_for_free_is_not_probed(site: Site, alias: str) -> None:
    site.gateway(PROBES={"providers": ["openai", alias]})
    assert site.ids() == {"E126"}


def test_a_probe_of_a_provider_that_only_the_database_may_have(site: Site) -> None:
    site.gateway(PROBES={"providers": ["opnai"]})
    assert site.ids() == {"W127"}
    assert "openai" in site.hint()


def test_the_default_provider_may_be_an_own_alias(site: Site) -> None:
    site.provider("Mine", BACKEND="groq")
    site.gateway(DEFAULT_PROVIDER="mine")
    assert site.ids() == set()


@pytest.mark.parametrize("target", ["gpt-5", "openai/", "/gpt-5", "/"])
def test_a_route_target_that_is_no_provider_and_model(site: Site, target: str) -> None:
    site.gateway(ROUTES={"fast": ["openai/gpt-5", target]})
    assert site.ids() == {"E039"}


def test_conditions_of_a_route_target_that_cannot_be_read(site: Site) -> None:
    site.gateway(ROUTES={"fast": {"targets": ["openai/gpt-5", {"target": "groq/x", "conditions": {"images": 1}}]}})
    assert site.ids() == {"E130"}
    assert "'groq/x' cannot be read, so it is left out. images is true or false." in site.messages()[0].msg


def test_a_route_to_an_unknown_provider(site: Site) -> None:
    site.gateway(ROUTES={"fast": ["opanai/gpt-5"]})
    assert site.ids() == {"E040"}
    assert '"openai"' in site.hint()


@pytest.mark.parametrize("name", ["openai", "Groq", "openai/gpt-5"])
def test_a_route_in_the_way_of_a_provider(site: Site, name: str) -> None:
    site.gateway(ROUTES={name: ["openai/gpt-5"]})
    assert site.ids() == {"W041"}
