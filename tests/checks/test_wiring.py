"""Checks of the transport and of the site's URLs."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path

from ai_gateway.transports import Transport
from tests.checks.site import Site


class OwnTransport(Transport):
    """A transport of a third party, with an option that it must have."""

    def __init__(self, *, region: str) -> None:
        self.region = region


@pytest.mark.parametrize("backend", ["pooled", "not.there.Transport", "pathlib.Path"])
def test_a_transport_that_is_not_there(site: Site, backend: str) -> None:
    site.gateway(TRANSPORT={"BACKEND": backend})
    assert site.ids() == {"E048"}


@pytest.mark.parametrize(
    "transport",
    [
        {"OPTIONS": {"max_conections": 1}},
        {"BACKEND": "ai_gateway.transports.httpx.HttpxTransport", "OPTIONS": {"http3": True}},
        {"BACKEND": f"{__name__}.OwnTransport"},
    ],
)
def test_transport_options_that_it_does_not_take(site: Site, transport: Any) -> None:
    site.gateway(TRANSPORT=transport)
    assert site.ids() == {"E049"}


def test_a_transport_of_a_third_party(site: Site) -> None:
    site.gateway(TRANSPORT={"BACKEND": f"{__name__}.OwnTransport", "OPTIONS": {"region": "eu"}})
    assert site.ids() == set()


def page(request: HttpRequest) -> HttpResponse:
    """A page of the site."""
    return HttpResponse("a page")


def test_urls_that_are_not_included(site: Site) -> None:
    site.urls(path("page", page))
    assert site.ids() == {"E050"}
    assert 'path("", include("ai_gateway.urls"))' in site.hint()


def test_urls_behind_a_pattern_that_catches_everything(site: Site) -> None:
    site.urls(re_path(r"^.*$", page), path("", include("ai_gateway.urls")))
    assert site.ids() == {"E050"}


def test_urls_elsewhere_than_the_prefix_says(site: Site) -> None:
    site.urls(path("ai/", include("ai_gateway.urls")))
    assert site.ids() == {"E050"}
    assert '"PREFIX": "/ai"' in site.hint()
    site.gateway(PREFIX="/ai")
    assert site.ids() == set()


def test_urls_that_are_the_sites_only_ones(site: Site) -> None:
    site.settings.ROOT_URLCONF = "ai_gateway.urls"
    assert site.ids() == set()


def test_atomic_requests_and_asynchronous_views(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from ai_gateway import views

    site.database(ATOMIC_REQUESTS=True)
    monkeypatch.setattr(views.api, "_non_atomic_requests", set(), raising=False)
    assert site.ids() == {"E051"}
    monkeypatch.setattr(views.api, "_non_atomic_requests", {"default"})
    assert site.ids() == set()
