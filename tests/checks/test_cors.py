"""Checks of what browsers of other origins may do."""

from __future__ import annotations

from typing import Any

from ai_gateway.cors import ALLOW_HEADERS
from tests.checks.site import COMMON, SECURITY, Site

CORS = "corsheaders.middleware.CorsMiddleware"


def allow_origins(site: Site, **options: Any) -> None:
    site.settings.MIDDLEWARE = [SECURITY, CORS, COMMON]
    site.settings.CORS_ALLOWED_ORIGINS = ["https://app.example"]
    site.settings.CORS_ALLOW_HEADERS = ALLOW_HEADERS
    for name, value in options.items():
        setattr(site.settings, name, value)


def test_cors_as_it_should_be(site: Site) -> None:
    allow_origins(site)
    assert site.ids(deploy=True) == set()


def test_origins_without_the_middleware(site: Site) -> None:
    allow_origins(site, MIDDLEWARE=[SECURITY, COMMON])
    assert site.ids() == {"W067"}


def test_the_cors_middleware_behind_common_middleware(site: Site) -> None:
    allow_origins(site, MIDDLEWARE=[SECURITY, COMMON, CORS])
    assert site.ids() == {"W068"}


def test_every_origin_with_credentials(site: Site) -> None:
    allow_origins(site, CORS_ALLOW_ALL_ORIGINS=True)
    assert site.ids() == set()
    site.settings.CORS_ALLOW_CREDENTIALS = True
    assert site.ids() == {"W069"}


def test_headers_that_sdks_in_a_browser_send(site: Site) -> None:
    allow_origins(site, CORS_ALLOW_HEADERS=["authorization", "content-type"])
    assert site.ids() == {"W070"}
    del site.settings.CORS_ALLOW_HEADERS
    assert site.ids() == {"W070"}


def test_cors_for_other_paths_is_not_our_business(site: Site) -> None:
    allow_origins(site, CORS_ALLOW_HEADERS=["authorization"], CORS_URLS_REGEX=r"^/api/.*$")
    assert site.ids() == set()
