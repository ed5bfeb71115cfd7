"""Entries of AI_GATEWAY["PROVIDERS"] become providers, or errors that say what to write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ai_gateway.bulkheads import Queue
from ai_gateway.calls import Caller
from ai_gateway.credentials import Secret
from ai_gateway.providers import CATALOG, Auth, Provider, build_provider
from tests.providers.samples import TEAM, header, make_call, url


@dataclass(frozen=True, kw_only=True)
class Ours(Provider):
    """A third party's provider."""

    base_url: str = "https://models.example.com/v1"
    tenant: str
    token: Secret | None = None
    ratio: float = 1.0
    tags: frozenset[str] = frozenset()


INSTANCE = Provider(name="instance", base_url="https://instance.example.com/v1")


def make_instance() -> Provider:
    """What a third party may name instead of an instance."""
    return INSTANCE


def not_a_provider() -> str:
    """What it may not."""
    return "x"


def here(name: str) -> str:
    return f"{__name__}.{name}"


def test_the_alias_is_the_default_row() -> None:
    provider = build_provider("groq", {})
    assert provider == CATALOG["groq"]


def test_an_alias_may_stand_for_any_row() -> None:
    provider = build_provider("groq-eu", {"BACKEND": "Groq", "OPTIONS": {"api_key": "k", "label": "EU"}})
    assert provider.name == "groq-eu"
    assert provider.label == "EU"
    assert provider.base_url == CATALOG["groq"].base_url


def test_an_api_key_is_a_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-from-the-environment")
    path = tmp_path / "key"
    path.write_text("sk-from-a-file\n")
    for reference, value in (
        ("env:SOME_KEY", "sk-from-the-environment"),
        (f"file:{path}", "sk-from-a-file"),
        ("sk-literal", "sk-literal"),
    ):
        assert build_provider("openai", {"OPTIONS": {"api_key": reference}}).api_key == Secret(value)
    assert build_provider("openai", {"OPTIONS": {"api_key": Secret("x")}}).api_key == Secret("x")


@pytest.mark.parametrize("reference", ["env:NOT_SET_ANYWHERE", "", None])
def test_a_variable_that_is_not_set_leaves_the_provider_unconfigured(reference: str | None) -> None:
    provider = build_provider("openai", {"OPTIONS": {"api_key": reference}})
    assert provider.api_key is None
    assert not provider.is_configured


def test_a_missing_credential_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        build_provider("openai", {"OPTIONS": {"api_key": f"file:{tmp_path}/none"}})


def test_options_take_the_forms_that_people_write() -> None:
    options = {
        "base_url": "https://models.example.com/api/v1/",
        "paths": [["/v1", "/v9"]],
        "accepts": ["bearer", "X-API-KEY"],
        "auth": "x_api_key",
        "dialects": ["openai_chat", "anthropic_messages"],
        "headers": {"x-team": "blue"},
        "models": ["a", "b"],
        "timeouts": {"idle": 60, "first_byte": "1.5"},
        "queue": {"size": 8},
        "allow_private": True,
        "api_key": "k",
    }
    provider = build_provider("mine", {"BACKEND": "custom", "OPTIONS": options})
    assert provider.paths == (("/v1", "/v9"),)
    assert provider.accepts == {Auth.BEARER, Auth.X_API_KEY}
    assert provider.dialects == {"openai_chat", "anthropic_messages"}
    assert provider.models == ("a", "b")
    assert provider.timeouts == (("idle", 60.0), ("first_byte", 1.5))
    assert provider.queue == Queue(size=8, seconds=2.0)
    assert hash(provider)
    request = provider.build(make_call(body={"model": "m"}), TEAM, None)
    assert url(request) == "https://models.example.com/api/v1/v9/chat/completions"
    assert header(request, "x-team") == "blue"
    assert header(request, "x-api-key") == "k"


def test_headers_of_the_operator_s_come_before_those_of_a_gateway_key_s_holder() -> None:
    configured = {"X-Team": "blue", "OpenAI-Project": "proj_limited", "User-Agent": "gateway"}
    provider = build_provider("openai", {"OPTIONS": {"api_key": "k", "headers": configured}})
    sent = [("x-team", "red"), ("openai-project", "proj_other"), ("user-agent", "sdk"), ("x-mine", "1")]
    request = provider.build(make_call(body={"model": "m"}, headers=sent), TEAM, None)
    names = [name for name, _ in request.headers]
    assert len(names) == len(set(names))
    assert [header(request, name) for name, _ in sent] == ["blue", "proj_limited", "sdk", "1"]


def test_who_has_a_credential_of_its_own_says_itself_what_it_is_for() -> None:
    provider = build_provider("openai", {"OPTIONS": {"headers": {"X-Team": "blue"}}})
    stranger = Caller(credential=(b"authorization", b"Bearer sk-own"))
    sent = [("x-team", "red"), ("openai-organization", "org-own")]
    request = provider.build(make_call(body={"model": "m"}, headers=sent), stranger, None)
    assert [header(request, name) for name, _ in sent] == ["red", "org-own"]


@pytest.mark.parametrize("name", ["INSTANCE", "make_instance"])
def test_a_backend_may_be_an_instance_or_a_function(name: str) -> None:
    provider = build_provider("theirs", {"BACKEND": here(name), "OPTIONS": {"api_key": "k"}})
    assert (provider.name, provider.base_url) == ("theirs", INSTANCE.base_url)
    assert provider.api_key == Secret("k")


def test_a_backend_may_be_a_class_with_fields_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t")
    options = {"tenant": "north", "token": "env:TOKEN", "ratio": "0.5", "tags": ["a"]}
    provider = build_provider("ours", {"BACKEND": here("Ours"), "OPTIONS": options})
    assert isinstance(provider, Ours)
    assert (provider.name, provider.tenant, provider.token) == ("ours", "north", Secret("t"))
    assert (provider.ratio, provider.tags) == (0.5, frozenset("a"))


def test_a_url_without_a_slash_at_its_end_and_one_with_it_are_the_same() -> None:
    urls = ("https://x.example.com/v1", "https://x.example.com/v1/")
    providers = [build_provider("custom", {"OPTIONS": {"base_url": url}}) for url in urls]
    assert providers[0].base == providers[1].base


@pytest.mark.parametrize(
    ("alias", "entry", "message"),
    [
        ("opnai", {}, "one of: anthropic, azure"),
        ("openai", {"OPTION": {}}, "unknown key 'OPTION'"),
        ("openai", {"BACKEND": 3}, "must be a name or a dotted path"),
        ("openai", {"OPTIONS": []}, "must be a dict"),
        ("openai", {"BACKEND": here("not_a_provider")}, "is not a Provider"),
        ("openai", {"BACKEND": "builtins.dict"}, "is not a Provider"),
        ("ours", {"BACKEND": here("Ours")}, "needs the option 'tenant'"),
        ("openai", {"OPTIONS": {"apikey": "x"}}, "no option 'apikey'. Known are: accepts, allow_private, api_key"),
        ("openai", {"OPTIONS": {"name": "x"}}, "no option 'name'"),
        ("openai", {"OPTIONS": {"api_key": 3}}, r'"env:NAME"'),
        ("openai", {"OPTIONS": {"api_key": "bad\nvalue"}}, "cannot stand in a header"),
        ("openai", {"OPTIONS": {"base_url": "api.openai.com"}}, "must be a URL like"),
        ("openai", {"OPTIONS": {"base_url": "ftp://x/"}}, "must be a URL like"),
        ("openai", {"OPTIONS": {"base_url": "https://user:pw@x/"}}, "no user"),
        ("openai", {"OPTIONS": {"base_url": "https://x/v1?key=y"}}, "no query"),
        ("openai", {"OPTIONS": {"base_url": "https://x/a b"}}, "must be a URL like"),
        ("openai", {"OPTIONS": {"base_url": "https://x/ä"}}, "must be a URL like"),
        ("openai", {"OPTIONS": {"base_url": 3}}, "must be a string"),
        ("custom", {}, "must have 'base_url'"),
        (
            "openai",
            {"OPTIONS": {"dialects": ["openai"]}},
            "no 'openai'. Known are: anthropic_messages,",
        ),
        ("openai", {"OPTIONS": {"dialects": ["chat"]}}, "no 'chat'. Known are: anthropic_messages,"),
        ("openai", {"OPTIONS": {"dialects": "openai_chat"}}, "must be a list"),
        ("openai", {"OPTIONS": {"auth": "basic"}}, "Known are: bearer"),
        ("openai", {"OPTIONS": {"timeouts": {"lunch": 3}}}, "connect, pool"),
        ("openai", {"OPTIONS": {"queue": {"length": 3}}}, "size, seconds"),
        ("openai", {"OPTIONS": {"queue": {"size": 0}}}, "whole number above 0"),
        ("openai", {"OPTIONS": {"timeouts": {"idle": "soon"}}}, "timeouts"),
        ("openai", {"OPTIONS": {"timeouts": {"idle": -1}}}, "not negative"),
        ("openai", {"OPTIONS": {"allow_private": "yes"}}, "True or False"),
    ],
)
def test_errors_say_what_to_write(alias: str, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build_provider(alias, entry)
    assert str(caught.value).startswith(f'AI_GATEWAY["PROVIDERS"]["{alias}"]')


def test_a_bad_secret_is_not_shown() -> None:
    with pytest.raises(ValueError, match="api_key") as caught:
        build_provider("openai", {"OPTIONS": {"api_key": "sk-sec\nret"}})
    assert "sk-sec" not in str(caught.value)


def test_a_path_that_leads_nowhere_is_an_import_error() -> None:
    with pytest.raises(ImportError):
        build_provider("x", {"BACKEND": "nowhere.at.all"})
