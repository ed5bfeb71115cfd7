"""A person walks through the admin, another through the portal; what they make there works, and what they end ends."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Site
from tests.browser.seed_calls import SEED
from tests.upstream import Upstream

if TYPE_CHECKING:
    from playwright.sync_api import Page

Shoot = Callable[["Page", str], None]
Open = Callable[..., "Page"]

TOKEN = re.compile(r"gw_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")
SECRET = "sk-canary-of-the-walk-0123456789"
POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'"
"""What docs/admin.md says the portal can do with."""

LIVE_WITHIN = 5.0
"""Seconds in which a change in the admin is in force."""


def ask(site: Site, token: str, model: str) -> tuple[int, str]:
    """Ask with curl, as the README says."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello from the walk"}]})
    command = ["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", f"{site.url}/v1/chat/completions"]
    command += ["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json", "-d", body]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


def wait_for_status(site: Site, token: str, model: str, status: int) -> None:
    deadline = time.monotonic() + LIVE_WITHIN
    while (found := ask(site, token, model))[0] != status:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def choose(page: Page, field: str, text: str) -> None:
    """Choose somebody in a field that searches while one types."""
    page.locator(f".field-{field} .select2-selection").click()
    page.locator(".select2-search__field").last.fill(text)
    page.locator(".select2-results__option", has_text=text).first.click()


def shown_token(page: Page) -> str:
    (token,) = set(TOKEN.findall(page.content()))
    return str(token)


def test_admin__from_a_provider_to_a_key_that_is_revoked(
    site: Site, open_page: Open, shoot: Shoot, upstream: Upstream
) -> None:
    page = open_page("/admin/ai_gateway/provider/", "boss")
    page.get_by_role("link", name="Add provider").first.click()
    page.get_by_label("Alias:").fill("walked")
    page.get_by_label("Backend:").fill("custom")
    page.get_by_label("Base URL:").fill(f"http://127.0.0.1:{upstream.port}/v1")
    page.locator("[name=credentials-0-name]").fill("main")
    page.locator("[name=credentials-0-secret]").fill(SECRET)
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_url("**/change/")
    assert SECRET not in page.content()
    assert SECRET[-4:] in page.content()

    page.get_by_role("link", name="Test this provider").click()
    page.get_by_label("Model").fill("model-1")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("heading", name="It answered").wait_for()
    assert upstream.requests[-1].header("authorization") == f"Bearer {SECRET}"
    assert SECRET not in page.content()
    shoot(page, "admin-test")

    page.goto("/admin/ai_gateway/route/add/")
    page.get_by_label("Name:").fill("walk")
    page.locator("[name=targets-0-provider]").fill("walked")
    page.locator("[name=targets-0-model]").fill("model-1")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/route/")

    page.goto("/admin/ai_gateway/virtualkey/add/")
    page.get_by_label("Name:").fill("laptop")
    choose(page, "user", "ann")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("heading", name="Copy this key now").wait_for()
    token = shown_token(page)
    shoot(page, "admin-token")
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()

    # Reloading leads on, and neither shows the key again nor makes another one.
    page.reload()
    page.wait_for_url("**/change/")
    assert not TOKEN.search(page.content())

    wait_for_status(site, token, "walk", 200)
    assert upstream.requests[-1].header("authorization") == f"Bearer {SECRET}"

    page.goto("/admin/ai_gateway/route/explain/?model=walk")
    page.get_by_role("button", name="Explain").click()
    page.get_by_text("is a route, whose targets are asked in order").wait_for()

    page.goto("/admin/ai_gateway/virtualkey/")
    page.get_by_role("link", name="laptop").click()
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke it").click()
    page.get_by_text("is revoked").wait_for()
    wait_for_status(site, token, "walk", 401)


def test_portal__from_a_key_to_its_end(site: Site, open_page: Open, shoot: Shoot) -> None:
    page = open_page("/portal/", "ann")
    page.get_by_role("link", name="New key", exact=True).click()
    # By the keyboard alone: the first field has the focus already.
    page.locator("[name=name]:focus").wait_for()
    page.keyboard.type("my notebook")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Copy this key now").wait_for()
    token = shown_token(page)
    page.get_by_role("button", name="Copy", exact=True).first.click()
    page.get_by_role("button", name="Copied").wait_for()
    page.reload()
    page.wait_for_url("**/portal/")
    assert not TOKEN.search(page.content())
    wait_for_status(site, token, "echo/echo-1", 200)

    page.get_by_role("link", name="Models", exact=True).click()
    page.get_by_role("link", name="echo/echo-1").click()
    page.get_by_role("heading", name="Connect", exact=True).wait_for()
    assert f'base_url="{site.url}/v1"' in page.locator("#snippet-openai").inner_text()
    shoot(page, "portal-connect")

    page.get_by_role("link", name="Keys", exact=True).click()
    page.get_by_role("link", name="Revoke my notebook").click()
    page.get_by_role("button", name="Revoke it").click()
    page.wait_for_url("**/portal/")
    wait_for_status(site, token, "echo/echo-1", 401)


def test_explorer__from_the_list_to_what_was_said(site: Site, open_page: Open, shoot: Shoot, calls: None) -> None:
    """On a phone, and under the strictest policy."""
    page = open_page("/admin/ai_gateway/usagerecord/", "boss", "phone")
    page.context.route("**/*", with_policy)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if "Policy" in message.text else None)
    page.goto("/admin/ai_gateway/usagerecord/")
    shoot(page, "explorer-list")
    page.get_by_text("Search by more").click()
    page.get_by_label("Session").fill("walk")
    page.get_by_label("Error code").fill("overloaded")
    page.locator(".gateway-search-go").get_by_role("button").click()
    page.wait_for_url("**session=walk**")
    assert page.locator("#result_list tbody tr").count() == 1
    page.goto("/admin/ai_gateway/usagerecord/?session=walk")
    page.locator(".gateway-histogram svg a").first.click()
    page.wait_for_url("**since=**")
    assert page.locator("#result_list tbody tr").count() == 1

    page.goto("/admin/ai_gateway/usagerecord/?q=req_of_the_walk")
    page.locator("#result_list tbody th a").click()
    page.get_by_role("heading", name="Where the time went").wait_for()
    page.locator(".gateway-ids").get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    shoot(page, "explorer-record")
    page.get_by_role("link", name="Read what was said").click()
    page.get_by_text("<b>Is it</b> sunny?").first.wait_for()
    page.get_by_text("It is.", exact=True).wait_for()
    shoot(page, "explorer-recorded")
    page.context.unroute_all(behavior="wait")
    assert not complaints


@pytest.fixture(scope="module")
def calls(site: Site) -> None:
    """Calls of the past."""
    site.manage("shell", "--verbosity", "0", "-c", SEED)


def test_portal__works_without_javascript(site: Site, browser: Any) -> None:
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/accounts/login/?next=/portal/new/")
    page.get_by_label("Username").fill("ann")
    page.get_by_label("Password").fill("password-of-ann")
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Name").fill("without script")
    page.get_by_role("button", name="Make the key").click()
    assert TOKEN.search(page.content())
    assert not page.get_by_role("button", name="Copy").count()
    context.close()


def test_portal__works_under_the_strictest_policy(site: Site, browser: Any) -> None:
    context = browser.new_context(base_url=site.url)
    context.route("**/*", with_policy)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto("/accounts/login/?next=/portal/new/")
    page.get_by_label("Username").fill("ann")
    page.get_by_label("Password").fill("password-of-ann")
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Name").fill("under a policy")
    page.get_by_role("button", name="Make the key").click()
    page.get_by_role("button", name="Copy", exact=True).first.click()
    page.get_by_role("button", name="Copied").wait_for()
    for path in ("", "models/", "connect/"):
        page.goto(f"/portal/{path}")
    assert page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "896px"
    context.unroute_all(behavior="wait")
    context.close()
    assert not complaints


def with_policy(route: Any) -> None:
    """Answer as the site does, with a policy on top."""
    answer = route.fetch(max_redirects=0)
    route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": POLICY})
