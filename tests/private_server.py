"""A server that the tests start for themselves, from a program that is installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar


class PrivateServer(ABC):
    """A server of its own in a temporary folder, on a free port, which tests may stop and start again. Its `command` is
    made by whoever knows it, and run in its `environment`."""

    ending: ClassVar[signal.Signals] = signal.SIGKILL
    """What ends it, at once and with every connection."""

    patience: ClassVar[float]
    """Seconds in which it must answer, or have ended."""

    def __init__(self, kind: str, account: str | None = None) -> None:
        """Make its folder. `account` is the user as whom it runs if the tests do as root, or nobody in its place: some
        servers refuse to run as root."""
        # Not one of pytest's folders, which it closes to all other users.
        self.folder = Path(tempfile.mkdtemp(prefix=f"gateway-{kind}-"))
        self.user: str | None = None
        if account is not None and os.geteuid() == 0:
            self.user = account if user_exists(account) else "nobody"
            shutil.chown(self.folder, self.user)
        self.port = free_port()
        self.command: list[str] = []
        self.environment: Mapping[str, str] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def answers(self) -> bool:
        """Whether it has started."""

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, user=self.user, cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + self.patience
        while not self.answers():
            is_coming = time.monotonic() < deadline and self.process.poll() is None
            assert is_coming, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """End it. What it has on its disk is there when it is started again."""
        if self.process is not None:
            self.process.send_signal(self.ending)
            self.process.wait(self.patience)
            self.process = None

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self.process is not None

    def remove(self) -> None:
        """End it, and delete what it wrote."""
        self.stop()
        shutil.rmtree(self.folder)


def free_port() -> int:
    """Find a port. A member of a cluster listens on that plus 10,000 as well."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55_000:
            return port


def user_exists(user: str) -> bool:
    """Whether this machine has such a user."""
    return any(line.startswith(f"{user}:") for line in Path("/etc/passwd").read_text().splitlines())
