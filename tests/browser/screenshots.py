"""`python -m tests.browser.screenshots`: take the images of the documentation anew, from the data of the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser import tutorial
from tests.browser.conftest import CHROMIUM, FLAGS, LOOKS, ROOT, Site, log_in
from tests.browser.pages import PAGES

FOLDER = ROOT / "docs" / "images"

SHOWN = ("light", "dark")

WIDTH = 1280

LARGEST = 200_000
"""Bytes of an image: whoever clones the repository gets all of them."""

CALLS = 20_000


TALKS = {"demo-fast": 3, "demo-smart": 2, "demo-code": 1}
"""Calls that are under way while the images are taken, by what they ask for."""

WORDS = 4000
"""Words that each of them repeats: it takes minutes."""


def talk(site: Site) -> list[subprocess.Popen[bytes]]:
    """Begin calls that take longer than the images do."""
    said = " ".join(["word"] * WORDS)
    command = ["curl", "--silent", "--no-buffer", "--output", os.devnull, f"{site.url}/v1/chat/completions"]
    command += ["-H", f"Authorization: Bearer {site.ids['token']}", "-H", "Content-Type: application/json", "-d"]
    begun = []
    for model, count in TALKS.items():
        body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": said}]})
        begun += [subprocess.Popen([*command, body]) for _ in range(count)]
    return begun


def take(browser: Browser, site: Site, folder: Path) -> list[Path]:
    """Take an image of each page that the documentation shows, in each look."""
    taken = []
    for look in SHOWN:
        for who in sorted({page.who for page in PAGES if page.image}):
            context = browser.new_context(base_url=site.url, **LOOKS[look])
            view = context.new_page()
            log_in(view, who, "/admin/" if who == "boss" else "/portal/")
            for page in PAGES:
                if page.image and page.who == who:
                    view.set_viewport_size({"width": WIDTH, "height": page.height})
                    answer = view.goto(site.path_of(page), wait_until="networkidle")
                    if answer is None or answer.status != 200:
                        raise SystemExit(f"{page.path} cannot be shown.")
                    file = folder / f"{page.image}-{look}.png"
                    view.screenshot(path=file)
                    taken.append(file)
            context.close()
    return taken


def main() -> int:
    """Take them all; tell which are too large."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site, calls = Site(Path(folder)), []
        try:
            site.demo(CALLS)
            calls = talk(site)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            taken = take(browser, site, FOLDER)
            (aside := Path(folder) / "tutorial").mkdir()
            taken += tutorial.follow(browser, aside, FOLDER)
            browser.close()
        finally:
            for call in calls:
                call.kill()
                call.wait()
            site.stop()
    large = [file for file in taken if file.stat().st_size > LARGEST]
    for file in taken:
        print(f"{file.relative_to(ROOT)}  {file.stat().st_size // 1000} kB{'  is too large' if file in large else ''}")
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main())
