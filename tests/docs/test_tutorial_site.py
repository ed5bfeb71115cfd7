"""The tutorial for a site that somebody has, followed step by step: its files are written, its commands are run."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests import nursery
from tests.docs.gateway import LISTENING

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tutorial-site.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python\n# (mysite/\S+)\n(.*?)^```$", PAGE, re.M | re.S))
COMMANDS = re.findall(r"^\$ (.+)$", PAGE, re.M)
PATIENCE = 40.0


class Site:
    """The site that the reader has, and the shell in which the reader types."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SUPERUSER_PASSWORD": "a-long-password-1",
        }
        call_command("startproject", "mysite", str(folder))

    def start(self, *commands: list[str]) -> tuple[nursery.Child, Path]:
        """Start commands of `manage.py`, one after the other; give the process and the file with what it prints."""
        output = self.folder / f"{commands[-1][0]}.output"
        with open(os.devnull, "rb") as nothing, output.open("wb") as written:
            command = ["tests.docs.elsewhere", str(self.folder), json.dumps(commands)]
            return nursery.start(command, self.environment, nothing, written, written), output

    def run(self, *commands: list[str]) -> str:
        """Run commands of `manage.py`, and give what they printed."""
        process, output = self.start(*commands)
        assert process.wait(PATIENCE) == 0, output.read_text()
        return output.read_text()

    def add(self) -> None:
        """Do what the page says must be changed in the files of the site."""
        settings = self.folder / "mysite" / "settings.py"
        apps = re.compile(r"^INSTALLED_APPS = \[.*?^\]\n", re.M | re.S)
        settings.write_text(apps.sub(FILES["mysite/settings.py"], settings.read_text()))
        for name in ("mysite/urls.py", "mysite/asgi.py"):
            (self.folder / name).write_text(FILES[name])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """The site, with the gateway in it."""
    site = Site(tmp_path)
    site.add()
    return site


def typed(begin: str) -> list[str]:
    """Give the page's command of `manage.py` that begins so, as arguments."""
    line = next(line for line in COMMANDS if f"manage.py {begin}" in line)
    return shlex.split(line.partition("manage.py ")[2].rstrip(")"))


def port_of(output: Path) -> str:
    """Wait until the gateway says where it listens."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := LISTENING.search(output.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(output.read_text())


def curl(line: str, port: str, key: str) -> Any:
    """Run a line of the page, against the gateway of the test."""
    words = shlex.split(line.replace(":3000", f":{port}").replace("$GATEWAY_KEY", key))
    words[1:1] = ["--fail", "--retry", "20", "--retry-connrefused", "--retry-delay", "1"]  # The machine may be busy.
    return json.loads(subprocess.run(words, capture_output=True, check=True, timeout=PATIENCE).stdout)


def read(port: str, path: str) -> str:
    """Read a page of the site, or what belongs to it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
        return str(answer.read().decode())


def test_the_tutorial_leads_to_an_answer_and_to_its_row(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    call_command(*typed("gateway_rotate_secrets"))
    site.environment["AI_GATEWAY_ENCRYPTION_KEYS"] = capsys.readouterr().out.strip()
    superuser = [*typed("createsuperuser"), "--noinput", "--email", "ann@example.org"]
    printed = site.run(typed("migrate"), typed("check"), superuser, typed("gateway_key create"))
    assert "System check identified no issues (0 silenced)." in printed
    key = printed.strip().rpartition("\n")[2]
    server, output = site.start([*typed("rungateway"), "--port", "0", "--no-migrate"])
    try:
        port = port_of(output)
        answer = curl(next(line for line in COMMANDS if line.startswith("curl")), port, key)
        page = read(port, "/admin/login/")
        (stylesheet,) = re.findall(r'href="(/static/admin/css/base\.css)"', page)
        assert "--body-bg" in read(port, stylesheet)
    finally:
        os.kill(server.pid, signal.SIGTERM)
        server.wait(PATIENCE)
    assert answer["choices"][0]["message"]["content"] == "Hello"
    assert re.search(r"^ann  ", site.run(typed("gateway_usage report")), re.M)
