"""Somebody looks at what goes on, with weeks of data and a call under way: filters, goes into detail, exports, and ends
the call."""

from __future__ import annotations

import csv
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import PATIENCE, Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "Page"]

DASHBOARD, LIVE = "/admin/ai_gateway/dashboard/", "/admin/ai_gateway/live/"


def numbers(text: str) -> int:
    """Read a number as people write it."""
    return int("".join(filter(str.isdigit, text)))


def test_dashboard__filters_leads_to_the_calls_and_exports(demo_site: Site, open_page: Open, tmp_path: Path) -> None:
    page = open_page(DASHBOARD, "boss", at=demo_site)
    page.get_by_role("link", name="30 days").click()
    page.get_by_role("navigation", name="Told apart by").get_by_role("link", name="Provider").click()
    assert "period=30d" in page.url
    assert "by=provider" in page.url
    breakdown = page.get_by_role("region", name="Breakdown")
    assert breakdown.get_by_role("link", name="demo-openai", exact=True).count() == 1

    page.locator("summary", has_text="Filters").click()
    page.locator("input[name=provider]").fill("demo-openai")
    page.get_by_role("button", name="Show").click()
    assert "provider=demo-openai" in page.url
    row = breakdown.locator("tbody tr")
    assert row.count() == 1
    requests = numbers(row.locator("td").first.inner_text())

    with page.expect_download() as download:
        page.get_by_role("link", name="Breakdown as CSV").click()
    download.value.save_as(tmp_path / "breakdown.csv")
    lines = list(csv.DictReader((tmp_path / "breakdown.csv").read_text().splitlines()))
    assert [numbers(line["requests"]) for line in lines] == [requests]

    row.get_by_role("link").click()
    page.locator("#result_list").wait_for()
    providers = page.locator("#result_list tbody tr").all_inner_texts()
    assert providers
    assert all("demo-openai/" in each for each in providers)
    assert "demo-openai" in page.url

    page.locator("#result_list tbody th a").first.click()
    page.get_by_role("table").first.wait_for()
    assert page.locator(".gateway-waterfall").count() == 1


class Call:
    """A call whose answer takes long, and what came of it."""

    def __init__(self, site: Site) -> None:
        words = " ".join(["word"] * 2000)
        body = {"model": "demo-smart", "stream": True, "messages": [{"role": "user", "content": words}]}
        headers = {"authorization": f"Bearer {site.ids['token']}", "content-type": "application/json"}
        self._request = urllib.request.Request(
            f"{site.url}/v1/chat/completions", json.dumps(body).encode(), headers, method="POST"
        )
        self.answer = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with urllib.request.urlopen(self._request, timeout=PATIENCE) as answer:
            self.answer = answer.read()

    def wait(self) -> bytes:
        """Wait for its end."""
        self._thread.join(PATIENCE)
        return self.answer


@pytest.fixture
def call(demo_site: Site, open_page: Any) -> Iterator[Call]:
    """A call under way."""
    made = Call(demo_site)
    yield made
    made.wait()


def test_live__shows_a_call_and_ends_it(demo_site: Site, open_page: Open, call: Call) -> None:
    page = open_page(LIVE, "boss", at=demo_site)
    end = page.get_by_role("button", name="End the call").first
    end.wait_for()
    assert "asked for as demo-smart" in page.locator(".gateway-live").inner_text()
    end.click()
    page.get_by_text("is ended").first.wait_for()
    assert b"cancelled_by_operator" in call.wait()
    page.get_by_text("Nobody is being served at the moment.").wait_for()


def test_live__says_that_one_is_logged_out(demo_site: Site, open_page: Open) -> None:
    page = open_page(LIVE, "boss", at=demo_site)
    page.get_by_text("Kept up to date").wait_for()
    page.context.clear_cookies()
    page.get_by_text("You are logged out").wait_for()
