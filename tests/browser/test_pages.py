"""Every page for people, with weeks of data in it: it is there, nothing goes wrong in it, it asks nobody else for
anything, and it fits the screen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.test import override_settings
from django.urls import URLPattern, get_resolver, resolve

from tests.browser.conftest import LOOKS, Site
from tests.browser.pages import PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Page

NO_PAGES = (
    "ai_gateway_usagerecord_export",  # A file.
    *(f"ai_gateway_playground_{part}" for part in ("answer", "code", "models", "call")),  # Asked for by its script.
    "ai_gateway_usagerecord_recorded",  # The demo records no bodies.
    "ai_gateway_playground",  # Another name of its list.
    "ai_gateway_dashboard",
    # Nobody may: Django has the addresses all the same.
    *(f"ai_gateway_usage{kind}_{view}" for kind in ("record", "daily") for view in ("add", "history", "delete")),
    *(f"ai_gateway_breakerevent_{view}" for view in ("add", "history", "delete")),
    *(f"ai_gateway_alert_{view}" for view in ("add", "change", "history", "delete")),  # The demo alerts nobody.
    # A credential has no page of its own in the demo, which has none.
    *(f"ai_gateway_providercredential_{view}" for view in ("change", "history", "delete")),
)


def names(patterns: Any, prefix: str = "") -> Iterator[str]:
    """Give the names of all addresses of the gateway's pages."""
    for each in patterns:
        if isinstance(each, URLPattern):
            if each.name and ("ai_gateway/" in prefix or "portal/" in prefix):
                yield each.name
        else:
            yield from names(each.url_patterns, f"{prefix}{each.pattern}")


@override_settings(ROOT_URLCONF="example_project.urls")
def test_no_page_is_forgotten() -> None:
    paths = [re.sub(r"{\w+}", "1", page.path).partition("?")[0] for page in PAGES]
    walked = {resolve(path).url_name for path in paths}
    assert set(names(get_resolver().url_patterns)) - set(NO_PAGES) <= walked


@pytest.mark.parametrize("who", sorted({page.who for page in PAGES}))
def test_pages__are_whole_in_every_look(
    who: str, demo_site: Site, open_page: Callable[..., Page], shoot: Callable[[Page, str], None]
) -> None:
    pages = [page for page in PAGES if page.who == who]
    view = open_page(demo_site.path_of(pages[0]), who, at=demo_site)
    for page in pages:
        put_on(view, "light")
        answer = view.goto(demo_site.path_of(page))
        assert answer is not None
        assert answer.status == 200, page.path
        for look in LOOKS:
            put_on(view, look)
            shoot(view, f"{page.name}-{look}")


def put_on(view: Page, look: str) -> None:
    """Have a page that is open look otherwise."""
    view.emulate_media(color_scheme=LOOKS[look].get("color_scheme", "light"))
    view.set_viewport_size(LOOKS[look]["viewport"])
