"""Redis for tests: a private server, where its program is."""

from __future__ import annotations

import shutil
import signal
import socket

from tests.private_server import PrivateServer

PATIENCE = 120.0


class RedisServer(PrivateServer):
    """One of Redis. What it knows it forgets with its process, unless it is told to write everything down."""

    patience = PATIENCE

    def __init__(self, *options: str) -> None:
        self.program = find_redis()
        super().__init__("redis")
        self.command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.command += ["--save", "", "--appendonly", "no", *options]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def answers(self) -> bool:
        """See PrivateServer.answers()."""
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


def find_redis() -> str:
    """Find the server's program. Raises LookupError."""
    found = shutil.which("redis-server")
    if found is None:
        raise LookupError("redis-server is not installed")
    return found
