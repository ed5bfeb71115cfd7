"""Checks of the site around the gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse

from ai_gateway import checks, conf
from tests.checks.site import COMMON, Site

GZIP = "django.middleware.gzip.GZipMiddleware"
GetResponse = Callable[[HttpRequest], HttpResponse]


@pytest.mark.parametrize(("module", "id"), [("httptools", "W060"), ("uvloop", "W061")])
def test_a_library_of_the_server_that_is_missing(
    site: Site, monkeypatch: pytest.MonkeyPatch, module: str, id: str
) -> None:
    monkeypatch.setattr(checks.deployment, "_is_installed", lambda name: name != module)
    assert site.ids() == set()
    assert site.ids(deploy=True) == {id}


def test_uvloop_is_missed_only_under_uvicorn(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.deployment, "_is_installed", lambda name: name not in ("uvloop", "uvicorn"))
    assert site.ids(deploy=True) == set()


@pytest.mark.parametrize(("version", "ids"), [((5, 2, 19), {"W062"}), ((6, 0, 5), {"W062"}), ((6, 1, 0), set())])
def test_gzip_middleware_before_it_could_stream(
    site: Site, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], ids: set[str]
) -> None:
    monkeypatch.setattr("django.VERSION", version)
    site.settings.MIDDLEWARE = [GZIP, COMMON]
    assert site.ids() == set()
    assert site.ids(deploy=True) == ids


@pytest.mark.parametrize("seconds", [600, None])
def test_database_connections_that_outlive_a_request(site: Site, seconds: int | None) -> None:
    site.database(CONN_MAX_AGE=seconds)
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W063"}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("postgresql", {}),
        ("postgresql", {"options": "-c statement_timeout=5s"}),
        ("postgresql", {"pool": True}),
        ("mysql", {}),
        ("mysql", {"init_command": "SET SESSION innodb_lock_wait_timeout = 10"}),
    ],
)
def test_a_server_that_waits_for_a_lost_process(site: Site, kind: str, options: dict[str, Any]) -> None:
    site.database(ENGINE=f"django.db.backends.{kind}", OPTIONS=options)
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W128"}


@pytest.mark.parametrize("variable", ["idle_transaction_timeout", "wait_timeout"])
def test_a_mysql_server_that_is_told_how_long_to_wait(site: Site, variable: str) -> None:
    site.database(ENGINE="django.db.backends.mysql", OPTIONS={"init_command": f"SET SESSION {variable} = 15"})
    assert site.ids(deploy=True) == set()


def test_sqlite(site: Site) -> None:
    site.database(ENGINE="django.db.backends.sqlite3")
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W065"}


class SynchronousOnly:
    """An old middleware."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)


def function_middleware(get_response: GetResponse) -> GetResponse:
    """A middleware that is a function, which is synchronous unless it says otherwise."""
    return get_response


class ReadsBodies:
    """A middleware that signs or logs what comes in."""

    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request) if self.look(request) else HttpResponse(status=400)

    def look(self, request: HttpRequest) -> bool:
        return any(len(part) for part in [request.body])


class InheritsReading(ReadsBodies):
    """Reads them in the class above."""


@pytest.mark.parametrize("name", ["SynchronousOnly", "function_middleware"])
def test_a_middleware_that_needs_a_thread_for_every_call(site: Site, name: str) -> None:
    site.settings.MIDDLEWARE = [COMMON, f"{__name__}.{name}"]
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W066"}


def test_a_middleware_that_cannot_be_imported_is_djangos_business(site: Site) -> None:
    site.settings.MIDDLEWARE = [COMMON, "not.there.Middleware"]
    assert site.ids(deploy=True) == set()


@pytest.mark.parametrize("name", ["ReadsBodies", "InheritsReading"])
def test_a_middleware_that_reads_bodies_django_refuses(site: Site, name: str) -> None:
    site.settings.MIDDLEWARE = [COMMON, f"{__name__}.{name}"]
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W072"}
    site.settings.DATA_UPLOAD_MAX_MEMORY_SIZE = conf.settings.MAX_BODY_BYTES
    assert site.ids(deploy=True) == set()
    site.settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
    assert site.ids(deploy=True) == set()


def test_djangos_own_middleware_reads_no_body_of_a_call(site: Site) -> None:
    site.settings.MIDDLEWARE = [COMMON, "django.middleware.csrf.CsrfViewMiddleware"]
    assert site.ids(deploy=True) == set()


def test_an_asgi_module_without_the_direct_door(site: Site) -> None:
    site.asgi("from django.core.asgi import get_asgi_application\n")
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W071"}


def test_an_asgi_module_is_looked_for_beside_the_wsgi_module(site: Site) -> None:
    site.settings.ASGI_APPLICATION = None
    site.settings.WSGI_APPLICATION = "checked_site.wsgi.application"
    assert site.ids(deploy=True) == set()
    site.settings.WSGI_APPLICATION = "checked_site_without.wsgi.application"
    assert site.ids(deploy=True) == {"W071"}


def test_an_asgi_module_is_looked_for_beside_the_urls(site: Site) -> None:
    site.settings.ASGI_APPLICATION = site.settings.WSGI_APPLICATION = None
    site.settings.ROOT_URLCONF = "checked_site.urls"
    (site.directory / "checked_site" / "urls.py").write_text(
        "from ai_gateway.urls import urlpatterns\n", encoding="utf-8"
    )
    assert site.ids(deploy=True) == set()


def test_debug(site: Site) -> None:
    site.settings.DEBUG = True
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W073"}


def test_every_host_header(site: Site) -> None:
    site.settings.ALLOWED_HOSTS = ["*"]
    assert site.ids() == set()
    assert site.ids(deploy=True) == {"W074"}
