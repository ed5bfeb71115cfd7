"""Checks of the cache of answers."""

from __future__ import annotations

from ai_gateway import crypto
from tests.checks.site import Site


def test_a_cache_of_answers_that_there_is_not(site: Site) -> None:
    site.gateway(RESPONSE_CACHE={"alias": "defualt"})
    assert site.ids() == {"E146"}
    assert '"default"' in site.hint()


def test_a_cache_of_answers_that_keeps_none(site: Site) -> None:
    site.settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    site.gateway(RESPONSE_CACHE={})
    assert site.ids() == {"W147"}


def test_answers_that_are_to_be_encrypted_without_a_key(site: Site) -> None:
    site.gateway(RESPONSE_CACHE={"encrypt": True}, ENCRYPTION_KEYS=["env:NOT_THERE"])
    assert "E148" in site.ids()
    site.gateway(ENCRYPTION_KEYS=[crypto.generate_key()])
    assert site.ids() == set()
