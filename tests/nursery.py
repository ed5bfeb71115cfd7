"""Starts processes of the tests' sites in a tenth of the time: forked from one that has imported what takes long.

A process that is started anew spends a second on imports, and the suite starts some hundreds. The nursery is a process
that has imported what needs no settings, once. It is asked on a socket of its own for each child, forks, and tells on
that socket which process it is and how it ended. A child has the environment, the arguments and the output that it
would have had as a program of its own, and runs the module as `python -m` does.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 30.0

IMPORTED = [
    "uvicorn.main",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.loops.uvloop",
    "uvicorn.lifespan.on",
    "django.core.handlers.asgi",
    "django.core.management",
    "django.template.backends.django",
    "django.contrib.staticfiles.handlers",
    "django.db.backends.sqlite3.base",
    "ai_gateway.asgi",
]
"""What children find imported. None of it may look at the settings when it is imported: each child has its own."""


class Child:
    """A process that the nursery has started, with what `subprocess.Popen` offers of it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answers = connection.makefile("r", encoding="ascii")
        connection.settimeout(PATIENCE)
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Give the exit code of a process that has ended, as Popen does; None for one that has not."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; give the exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            ready, _, _ = select.select([self._connection], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that has not ended. One that ends just then gets none."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that starts the others. One for each process of the test run, when it is first asked."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-nursery-")
        self._address = str(Path(self._folder.name) / "socket")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self._address)
        listener.listen()
        with listener:
            command = [sys.executable, "-m", "tests.nursery", str(listener.fileno())]
            environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, pass_fds=[listener.fileno()]
            )
        atexit.register(self.close)

    def start(self, command: list[str], environment: Mapping[str, str], *files: IO[Any]) -> Child:
        """Start a child; see `start`."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        request = json.dumps([command, dict(environment)]).encode() + b"\n"
        sent = socket.send_fds(connection, [request], [file.fileno() for file in files])
        connection.sendall(request[sent:])
        return Child(connection)

    def close(self) -> None:
        """End the nursery. Its children are whoever's asked for them."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._folder.cleanup()


_nurseries: dict[int, Nursery] = {}


def start(
    command: list[str], environment: Mapping[str, str], stdin: IO[Any], stdout: IO[Any], stderr: IO[Any]
) -> Child:
    """Run a module with arguments in a process of its own, with these standard files."""
    if os.getpid() not in _nurseries:
        _nurseries[os.getpid()] = Nursery()
    return _nurseries[os.getpid()].start(command, environment, stdin, stdout, stderr)


class Request(NamedTuple):
    """What a child is to be."""

    command: list[str]
    environment: dict[str, str]
    files: list[int]
    """Its standard input, output and error output."""


def read_request(connection: socket.socket) -> Request:
    """Read what a child is to be."""
    line, files, _, _ = socket.recv_fds(connection, 65536, 3)
    while not line.endswith(b"\n"):
        line += connection.recv(65536)
    command, environment = json.loads(line)
    return Request(command, environment, files)


def serve(listener: socket.socket) -> Request:
    """Start a child for each connection, until the standard input ends. Returns in the children only, what to run."""
    children: dict[int, socket.socket] = {}
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([listener, woken, sys.stdin], [], [])
        if woken in ready:
            woken.recv(4096)
            tell_of_ended(children)
        if sys.stdin in ready:
            sys.exit(0)
        if listener in ready:
            connection, _ = listener.accept()
            request = read_request(connection)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for held in (listener, woken, waker, connection, *children.values()):
                    held.close()
                return request
            for file in request.files:
                os.close(file)
            children[pid] = connection
            connection.sendall(b"%d\n" % pid)


def tell_of_ended(children: dict[int, socket.socket]) -> None:
    """Tell of each child that has ended how it did."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with children.pop(pid) as connection, contextlib.suppress(BrokenPipeError):  # Nobody may care any more.
            connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def become(request: Request) -> None:
    """Take on what a program of its own would have."""
    os.environ.clear()
    os.environ.update(request.environment)
    for standard, file in enumerate(request.files):
        os.dup2(file, standard)
        os.close(file)
    sys.stdin = open(0)  # noqa: SIM115
    sys.argv = request.command


def main() -> None:
    """Be the nursery, and then a child of it."""
    for name in IMPORTED:
        __import__(name)
    gc.collect()
    gc.freeze()  # Or the first collection of each child would copy all of it.
    become(serve(socket.socket(fileno=int(sys.argv[1]))))
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
