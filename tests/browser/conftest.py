"""A real browser in front of a running gateway: the example project, with a database of its own, and people in it.

Needs Playwright (the extra `browser`) and Debian's chromium, or another one that `CHROMIUM` names. Screenshots are kept
where `SCREENSHOTS` says, if it says so.
"""

from __future__ import annotations

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

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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

Open = Callable[[str, str], "Page"]


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

    def manage(self, *arguments: str) -> None:
        """Run a management command."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

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
    site.stop()
    log = site.log.read_text()
    assert "Traceback" not in log, log


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[Open]:
    """Open a page as somebody, in a look. Errors in a page's console fail the test."""
    errors: list[str] = []
    contexts = []

    def open_page(path: str, who: str, look: str = "light") -> Page:
        context = browser.new_context(base_url=site.url, **LOOKS[look])
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("response", lambda answer: errors.append(answer.url) if answer.status >= 500 else None)
        page.goto(f"/accounts/login/?next={path}")
        page.get_by_label("Username").fill(who)
        page.get_by_label("Password").fill(f"password-of-{who}")
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"**{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


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
