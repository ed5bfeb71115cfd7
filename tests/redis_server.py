"""Redis for tests: a private server, where its program is."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PATIENCE = 120.0


class RedisServer:
    """A server of its own in a temporary folder, on a free port. What it knows it forgets with its process, unless it
    is told to write everything down."""

    def __init__(self, *options: str) -> None:
        self.program = find_redis()
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-redis-"))
        self.port = free_port()
        self.command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.command += ["--save", "", "--appendonly", "no", *options]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return self.ask("PING") == b"+PONG\r\n"
        except OSError:
            return False

    def ask(self, *words: str) -> bytes:
        """Have it do a command, over a connection of its own; give what comes back first, as it is."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            command = b"".join(b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in words)
            connection.sendall(b"*%d\r\n%b" % (len(words), command))
            return connection.recv(65536)

    def stop(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def restart(self) -> None:
        """Kill it, and start it again on the same port."""
        self.stop()
        self.start()

    def write_everything_down(self) -> None:
        """Have it remember everything when it is started again."""
        self.command += ["--appendonly", "yes", "--appendfsync", "always"]
        self.restart()

    def pause(self) -> None:
        """Have it hang: connections stay open, and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

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


def find_redis() -> str:
    """Find the server's program. Raises LookupError."""
    found = shutil.which("redis-server")
    if found is None:
        raise LookupError("redis-server is not installed")
    return found
