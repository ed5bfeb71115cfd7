"""A real browser in front of a running gateway: the example project, with a database of its own, and people in it.

Needs Playwright (the extra `browser`) and Debian's chromium, or another one that `CHROMIUM` names. Screenshots are kept
where `SCREENSHOTS` says, if it says so.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.pages import Page as PageLine

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

ROOT = Path(__file__).resolve().parent.parent.parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30.0
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 800}},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}

PEOPLE = """
from django.contrib.auth.models import Group, Permission, User
User.objects.create_superuser("boss", password="password-of-boss")
ann = User.objects.create_user("ann", password="password-of-ann")
team = Group.objects.create(name="Research")
team.permissions.add(Permission.objects.get(codename="issue_own_keys"))
ann.groups.add(team)
"""

DEMO = """
import json
from django.contrib.auth.models import Group, Permission, User
from ai_gateway.models import BreakerEvent, Limit, Price, Provider, Route, UsageDaily, UsageRecord, VirtualKey
ada = User.objects.get(username="demo-ada")
ada.set_password("password-of-demo-ada")
ada.save()
rights = Permission.objects.filter(codename__in=("issue_own_keys", "use_playground"))
Group.objects.get(name="demo-platform").permissions.add(*rights)
key = VirtualKey.objects.get(user=ada)
caller = VirtualKey.objects.get(name="notebook")
token = caller.issue()
caller.save()
print(json.dumps({
    "provider": Provider.objects.get(alias="demo-anthropic").pk,
    "route": Route.objects.get(name="demo-smart").pk,
    "key": key.pk,
    "public_id": key.public_id,
    "token": token,
    "limit": Limit.objects.get(name="demo-support a month").pk,
    "price": Price.objects.first().pk,
    "record": UsageRecord.objects.filter(attempts=2, outcome="answered", session__gt="").first().pk.hex,
    "breaker_event": BreakerEvent.objects.first().pk,
    "day": UsageDaily.objects.first().pk,
}))
"""

CALLS = 2000

Open = Callable[..., "Page"]


class Site:
    """The example project, served by `rungateway`."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "SECRET_KEY": "x" * 50,
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "ALLOW_PRIVATE_UPSTREAMS": "true",
        }
        self.manage("migrate", "--verbosity", "0")
        self.manage("shell", "--verbosity", "0", "-c", PEOPLE)
        with self.log.open("wb") as log:
            command = [sys.executable, "manage.py", "rungateway", "--port", "0"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        self.url = self._wait()

        self.ids: dict[str, Any] = {}

    def demo(self, calls: int = CALLS) -> None:
        """Fill it with the demo, in which one of the people gets a password."""
        self.manage("gateway_demo", "--calls", str(calls))
        self.ids = json.loads(self.manage("shell", "--verbosity", "0", "-c", DEMO))

    def path_of(self, page: PageLine) -> str:
        """Fill in a page's path."""
        return page.path.format(**self.ids)

    def manage(self, *arguments: str) -> str:
        """Run a management command; give what it prints."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _wait(self) -> str:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            text = self.log.read_text()
            found = re.search(r"AI gateway \S+ at (\S+)", text)
            if found and "running on" in text:
                return found[1]
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def stop(self) -> None:
        """End it as an operator would."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A chromium; skipped where there is none.

    Not for the whole session: Playwright's event loop runs in this thread, and other tests could not start theirs.
    """
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install '.[browser]'"
    )
    if not shutil.which(CHROMIUM):
        pytest.skip(f"there is no chromium at {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site, for all walks."""
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    end(site)


@pytest.fixture(scope="module")
def demo_site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site with the demo in it."""
    site = Site(tmp_path_factory.mktemp("demo"))
    site.demo()
    yield site
    end(site)


def end(site: Site) -> None:
    """Stop a site, which had nothing to complain about."""
    site.stop()
    log = site.log.read_text()
    assert "Traceback" not in log, log


@pytest.fixture
def open_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Open a page as somebody, in a look. Whatever goes wrong in a page, and what it asks another host for, fails the
    test."""
    complaints: list[str] = []
    contexts = []

    def open_page(path: str, who: str, look: str = "light", at: Site | None = None) -> Page:
        site = at or request.getfixturevalue("site")
        context = browser.new_context(base_url=site.url, **LOOKS[look])
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        listen(page, site, complaints)
        log_in(page, who, path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def listen(page: Page, site: Site, complaints: list[str]) -> None:
    """Note what goes wrong in a page, and what it asks another host for."""

    def note_request(asked: Request) -> None:
        if not asked.url.startswith((site.url, "data:", "blob:")):
            complaints.append(f"{page.url} asks for {asked.url}")

    def note_response(answer: Response) -> None:
        if answer.status >= 500:
            complaints.append(f"{answer.url} answers {answer.status}")

    def note_message(message: ConsoleMessage) -> None:
        # Browsers ask for an icon by themselves; whether there is one is the site's own business.
        if message.type == "error" and not message.location["url"].endswith("/favicon.ico"):
            complaints.append(f"{page.url} says {message.text}")

    page.on("pageerror", lambda error: complaints.append(f"{page.url} fails: {error}"))
    page.on("request", note_request)
    page.on("response", note_response)
    page.on("console", note_message)


def log_in(page: Page, who: str, path: str) -> None:
    """Log in, and go on to a page."""
    page.goto(f"/accounts/login/?next={path}")
    page.get_by_label("Username").fill(who)
    page.get_by_label("Password").fill(f"password-of-{who}")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"**{path}")


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Take a screenshot, if somebody wants to look at it, and see that nothing sticks out of the page."""
    folder = os.environ.get("SCREENSHOTS")

    def shoot(page: Page, name: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
        inner, width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert inner <= width, f"{name} is {inner} wide on a screen of {width}"

    return shoot
