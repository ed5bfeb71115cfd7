"""Checks of keys, and of where secrets stand."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.checks.site import CANARY, Site


def test_a_credential_in_a_file_that_cannot_be_read(site: Site) -> None:
    site.provider("groq", OPTIONS={"api_key": f"file:{site.directory}/missing"})
    assert site.ids() == {"E034"}
    (site.directory / "missing").write_text(CANARY, encoding="utf-8")
    assert site.ids() == set()


@pytest.mark.parametrize("value", ["env:CHECKED_UNSET", "", " "])
def test_a_credential_that_is_not_set(site: Site, value: str) -> None:
    site.provider("groq", OPTIONS={"api_key": value})
    assert site.ids() == {"W036"}


@pytest.mark.parametrize("digest", ["", "1234", "z" * 64, "0" * 63, "0" * 66])
def test_a_digest_that_is_none(site: Site, digest: str) -> None:
    site.gateway(KEYS={"a": f"sha256:{digest}"})
    assert site.ids() == {"E042"}


def test_a_digest_in_place_of_a_key(site: Site) -> None:
    site.gateway(KEYS={"a": f"sha256:{hashlib.sha256(b'gw_1').hexdigest()}"})
    assert site.ids(deploy=True) == set()


def test_a_key_that_can_be_guessed(site: Site) -> None:
    site.gateway(KEYS={"a": "gw_" + "x" * 16})
    assert site.ids() == {"E043"}
    site.gateway(KEYS={"a": "gw_" + "x" * 17})
    assert site.ids() == set()


def test_a_key_that_two_callers_have(site: Site) -> None:
    digest = hashlib.sha256(f"gw_{CANARY}".encode()).hexdigest()
    site.gateway(KEYS={"a": "env:CHECKED_GATEWAY_KEY", "b": f"sha256:{digest}"})
    assert site.ids() == {"E044"}


@pytest.mark.parametrize(("reference", "id"), [("env:CHECKED_UNSET", "W036"), ("file:/not/there", "E034")])
def test_a_key_or_token_that_cannot_be_read(site: Site, reference: str, id: str) -> None:
    site.gateway(KEYS={"a": reference})
    assert site.ids() == {id}
    site.gateway(KEYS={}, METRICS_TOKEN=reference)
    assert site.ids() == {id}


@pytest.mark.parametrize(
    "keys",
    [
        {"KEYS": {"a": f"gw_{CANARY}-literal"}},
        {"METRICS_TOKEN": f"{CANARY}-literal"},
        {"ENCRYPTION_KEYS": ["env:OURS", "00" * 32]},
        {"PROVIDERS": {"openai": {"OPTIONS": {"api_key": f"{CANARY}-literal"}}}},
    ],
)
def test_a_secret_in_the_settings_is_a_matter_of_deployment(site: Site, keys: Any) -> None:
    site.gateway(**keys)
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W047"}


def test_a_secret_that_the_settings_took_from_the_environment_is_not_in_them(site: Site) -> None:
    site.provider("groq", OPTIONS={"api_key": CANARY})
    assert site.ids(deploy=True) == set()
