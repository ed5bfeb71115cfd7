"""Real gateway processes under uvicorn: the tests talk to them over sockets, as callers do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tests import nursery

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 30.0
"""Seconds until a process must listen, or have ended."""

Door = Literal["direct", "django", "stock"]
"""direct: the direct door answers; django: Django's middleware and views do, inside `ai_gateway.asgi`;
stock: the same under Django's own ASGI handler, as in a site that only included the urls."""

LISTENING = re.compile(r"Uvicorn running on http://127\.0\.0\.1:(\d+)")
BROKEN = ("Traceback (most recent call last)", "Exception in ASGI", "Exception ignored", "never retrieved", "Warning:")
"""What may not stand in the log of a gateway that is in order."""

TRACEBACK = re.compile(
    r"(?:^.*(?:never retrieved|Exception in callback).*\n)?(?:^(?:future|handle|task): .*\n)?"
    r"^Traceback \(most recent call last\):\n(?:^[ \t].*\n)+^.*\n",
    re.MULTILINE,
)


HANDSHAKE = ("_do_handshake", "_on_handshake_complete")


def without_handshakes(log: str) -> str:
    """Leave out what uvloop itself says of a TLS handshake that fails at the very moment at which it is given up."""
    return TRACEBACK.sub(lambda found: "" if any(name in found[0] for name in HANDSHAKE) else found[0], log)


def site_environment(door: Door, settings: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, str]:
    """Write the environment of a process of the site in `tests/wire/`."""
    gateway = {**settings, "DIRECT_DOOR": door == "direct"}
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.wire.site_settings",
        "AI_GATEWAY_TEST_SETTINGS": json.dumps({"AI_GATEWAY": gateway, **site}),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


def start(command: list[str], environment: Mapping[str, str], log: Path) -> nursery.Child | subprocess.Popen[bytes]:
    """Run a module with arguments, writing to this file."""
    with open(os.devnull, "rb") as nothing, log.open("wb") as output:
        if "--workers" not in command:
            return nursery.start(command, environment, nothing, output, output)
        # It starts processes itself, in the way in which it was started.
        command = [sys.executable, "-m", *command]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=nothing, stdout=output, stderr=output)


class GatewayProcess:
    """One uvicorn process that runs the site in `tests/wire/`."""

    def __init__(
        self,
        door: Door,
        settings: Mapping[str, Any],
        log: Path,
        *,
        site: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        command: tuple[str, ...] = (),
    ) -> None:
        """`command` is a module with arguments that serves in place of uvicorn."""
        self.door = door
        self.log_path = log
        self.expects_traceback = False
        application = "stock" if door == "stock" else "application"
        served = [*command] or [
            *("uvicorn", f"tests.wire.site_asgi:{application}", "--port", "0"),
            *("--http", "httptools", "--loop", "uvloop", "--no-access-log", "--backlog", "2048"),
            *("--lifespan", "off" if door == "stock" else "on", *arguments),
        ]
        variables = {**site_environment(door, settings, site or {}), **(environment or {})}
        self.process = start(served, variables, log)
        self.port = self._wait_until_it_listens()
        self._log_seen = 0

    def _wait_until_it_listens(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = LISTENING.search(self.log())
            if found:
                return int(found[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the gateway did not start:\n{self.log()}")

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        """Everything that the process has written so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

    @property
    def threads(self) -> int:
        """How many OS threads the process has."""
        return self._status("Threads")

    @property
    def resident_kib(self) -> int:
        """Its resident memory in KiB."""
        return self._status("VmRSS")

    @property
    def open_files(self) -> int:
        """How many file descriptors, sockets included, it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def tasks(self) -> int:
        """How many asyncio tasks live in it, besides the one that answers this question."""
        with urllib.request.urlopen(f"{self.url}/inside", timeout=PATIENCE) as answer:
            return int(json.load(answer)["tasks"])

    def assert_log_in_order(self) -> None:
        """Fail if the log tells of a broken request since the last look, unless the test expects it."""
        log = self.log()
        news, self._log_seen = without_handshakes(log[self._log_seen :]), len(log)
        if not self.expects_traceback:
            assert not any(mark in news for mark in BROKEN), news
        self.expects_traceback = False

    def terminate(self) -> None:
        """Send SIGTERM, and do not wait."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait until it has ended; give the exit code."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it at once."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> None:
        """End it in an orderly way, or at once if that takes too long."""
        if self.process.poll() is None:
            self.terminate()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
