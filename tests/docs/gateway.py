"""The gateway that the pages talk to: the example project with the `echo` provider, in a folder of its own."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import nursery

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
KEY = "gw_" + "d0c5" * 12
PEOPLE = (
    "from django.contrib.auth.models import Group, User; "
    "User.objects.create_superuser('ann'); Group.objects.create(name='research')"
)
"""Whom the pages speak of."""

LISTENING = re.compile(r"AI gateway \S+ at http://127\.0\.0\.1:(\d+)")
"""Where `rungateway` says that it will be."""

STARTED = "Uvicorn running"
"""What the server says when it takes connections, a moment after the address."""


class DocumentedGateway:
    """A running `manage.py rungateway`, and the environment in which its reader types commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "SECRET_KEY": "only-for-the-pages-and-long-enough-to-please-the-checks-of-django",
            "USAGE_JOURNAL": str(folder / "usage_journal"),
            "GATEWAY_API_KEYS": f"docs={KEY}",
            "GATEWAY_KEY": KEY,
            "PORT": "0",
        }
        self.process, self._log = self._start("rungateway", self.environment, ["rungateway"])
        self.port = self._wait_until_it_listens()
        status, printed = self.run("shell", "--command", PEOPLE)
        assert status == 0, printed

    def _start(self, name: str, environment: Mapping[str, str], arguments: Sequence[str]) -> tuple[nursery.Child, Path]:
        output = self.folder / f"{name}.output"
        with open(os.devnull, "rb") as nothing, output.open("wb") as written:
            return nursery.start(["django", *arguments], environment, nothing, written, written), output

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command of `manage.py`; give its exit code and what it printed."""
        process, output = self._start("command", environment or self.environment, arguments)
        return process.wait(PATIENCE), output.read_text(encoding="utf-8")

    def _wait_until_it_listens(self) -> str:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            told = self._log.read_text(encoding="utf-8")
            found = LISTENING.search(told)
            if found and STARTED in told:
                return found[1]
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"the gateway did not start:\n{self._log.read_text(encoding='utf-8')}")

    def localized(self, text: str) -> str:
        """Write what a page says with the port and the key of this gateway."""
        return text.replace("127.0.0.1:3000", f"127.0.0.1:{self.port}").replace("gw_...", KEY)

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait(PATIENCE)
