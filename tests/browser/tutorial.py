"""The tutorial of the admin, followed in a browser for the images that it shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.conftest import Site, log_in
from tests.upstream import Upstream, json_answer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ANSWER = {
    "object": "chat.completion",
    "model": "gpt-5-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    "data": [{"id": "gpt-5-mini"}],
}
"""What the tutorial's provider says, whether it is asked for its models or for an answer."""


def follow(browser: Browser, folder: Path, images: Path) -> list[Path]:
    """Make a provider and a route as the tutorial says, and take the images."""
    upstream, site = Upstream(), Site(folder)
    try:
        upstream.answer(json_answer(ANSWER))
        view = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 620}).new_page()
        log_in(view, "boss", "/admin/ai_gateway/provider/add/")
        return [*provider(view, upstream.port, images), *route(view, images)]
    finally:
        site.stop()
        upstream.stop()


def provider(view: Page, port: int, images: Path) -> list[Path]:
    """Step 1: a provider that answers."""
    view.get_by_label("Alias:").fill("openai")
    view.get_by_label("Backend:").fill("openai")
    taken = shoot(view, images / "tutorial-provider")
    view.get_by_label("Base URL:").fill(f"http://127.0.0.1:{port}/v1")
    view.locator("[name=credentials-0-name]").fill("main")
    view.locator("[name=credentials-0-secret]").fill("sk-of-the-tutorial-0123456789")
    view.get_by_role("button", name="Save and continue editing").click()
    view.get_by_role("link", name="Test this provider").click()
    view.get_by_label("Model").fill("gpt-5-mini")
    view.get_by_role("button", name="Send").click()
    view.get_by_role("heading", name="It answered").wait_for()
    return [*taken, *shoot(view, images / "tutorial-test", height=880)]


def route(view: Page, images: Path) -> list[Path]:
    """Step 2: a route with a fallback."""
    view.goto("/admin/ai_gateway/route/add/")
    view.get_by_label("Name:").fill("fast")
    view.locator("#targets-group .add-row a").click()
    for number, (alias, model) in enumerate((("openai", "gpt-5-mini"), ("echo", "echo-1"))):
        view.locator(f"[name=targets-{number}-provider]").fill(alias)
        view.locator(f"[name=targets-{number}-model]").fill(model)
        view.locator(f"[name=targets-{number}-position]").fill(str(number))
    return shoot(view, images / "tutorial-route", part="#targets-group")


def shoot(view: Page, name: Path, *, height: int = 620, part: str = "") -> list[Path]:
    """Take an image of what is shown, or of a part of the page, in both looks."""
    view.set_viewport_size({"width": 1280, "height": height})
    view.evaluate("document.activeElement.blur()")
    taken = []
    for look in ("light", "dark"):
        view.emulate_media(color_scheme=look)
        file = name.with_name(f"{name.name}-{look}.png")
        (view.locator(part) if part else view).screenshot(path=file, animations="disabled")
        taken.append(file)
    return taken
