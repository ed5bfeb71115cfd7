"""Every page for people, with weeks of data in it: it is there, nothing goes wrong in it, it asks nobody else for
anything, and it fits the screen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.test import override_settings
from django.urls import URLPattern, get_resolver, resolve

from tests.browser.conftest import LOOKS, Site
from tests.browser.pages import ADMIN, PAGES

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
            assert not view.evaluate(SQUEEZED), f"{page.path} as {look} has a column that is a few letters wide"


LONG = """
import json
from uuid import UUID
from django.contrib.auth.models import User
from django.utils import timezone
from ai_gateway.ids import new_id
from ai_gateway.models import Alert, Limit, Price, Provider, Route, RouteTarget, UsageRecord, VirtualKey
name, now = "x" * 200, timezone.now()
user = User.objects.create_user("y" * 150, password="p")
key = VirtualKey(name=name, user=user)
key.issue()
key.save()
route = Route.objects.create(name=name, description=name * 2)
RouteTarget.objects.create(route=route, provider=name, model=name)
record = UsageRecord.objects.create(
    id=UUID(new_id()), request_id=name[:128], started_at=now, outcome="answered", status=200, key=key, key_name=name,
    user=user, provider=name, served_model=name, model=name, session=name, agent=name, end_user=name, route=name,
)
Alert.objects.create(slot="s", kind="k", subject=name, text=name * 2, first_at=now, last_at=now)
limit = Limit.objects.create(name=name, scope="model", subject=name, measure="requests", window="day", amount=1)
print(json.dumps({
    "provider": Provider.objects.create(alias=name, label=name, backend="echo").pk,
    "price": Price.objects.create(provider=name, model=name, input=1).pk,
    "key": key.pk, "limit": limit.pk, "route": route.pk, "record": record.pk.hex,
}))
"""
"""Everything by the longest name that it may have, in which there is no place to break it."""


def test_pages__fit_the_screen_however_long_names_are(
    site: Site, open_page: Callable[..., Page], shoot: Callable[[Page, str], None]
) -> None:
    ids = json.loads(site.manage("shell", "--verbosity", "0", "-c", LONG))
    view = open_page("/portal/models/", "boss")
    shown = ("provider", "route", "virtualkey", "limit", "price", "usagerecord", "alert")
    own = {"virtualkey": "key", "usagerecord": "record"}
    pages = [f"{ADMIN}/{name}/" for name in shown]
    pages += [f"{ADMIN}/{name}/{ids[own.get(name, name)]}/change/" for name in shown if name != "alert"]
    for path in ("/portal/models/", *pages):
        put_on(view, "light")
        view.goto(path)
        for look in ("light", "phone"):
            put_on(view, look)
            shoot(view, f"long{path.replace('/', '-')}{look}")
            covered = view.evaluate(COVERED)
            assert not covered, f"{path} as {look}: the links beside the title cover its name"


COVERED = """() => {
    const name = document.querySelector("#content > h2")?.getBoundingClientRect();
    const links = document.querySelector(".object-tools")?.getBoundingClientRect();
    return name && links && name.right > links.left && name.bottom > links.top && name.top < links.bottom;
}"""


SQUEEZED = """() => [...document.querySelectorAll("th, td")].some(
    (cell) => cell.textContent.trim().length > 9 && cell.clientHeight > 6 * cell.clientWidth
)"""


def put_on(view: Page, look: str) -> None:
    """Have a page that is open look otherwise."""
    view.emulate_media(color_scheme=LOOKS[look].get("color_scheme", "light"))
    view.set_viewport_size(LOOKS[look]["viewport"])
