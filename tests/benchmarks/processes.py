"""A process and its children, seen through `/proc`: CPU time, memory, threads, open files. Linux only."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PROC = Path("/proc")
SECONDS_TO_STOP = 5.0
CPUS = os.sched_getaffinity(0)
"""What there is, before anything is bound to a part of it."""


def cpu_of_server() -> set[int]:
    """The CPU that the server under test has for itself."""
    return {min(CPUS)}


def cpus_of_others() -> set[int]:
    """The CPUs of the mock upstream and the load client: all the others, or the same one where there is only one."""
    return (CPUS - cpu_of_server()) or CPUS


class Process:
    """A running program, stopped when the `with` block ends. What it says goes to the file `log`."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], cpus: set[int], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
            )
        os.sched_setaffinity(self.popen.pid, cpus)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it and its children: kindly, then not."""
        family = self.family()
        self.popen.terminate()
        self.resume()
        try:
            self.popen.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            for pid in family:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.popen.wait()

    def wait_until_it_listens(self, port: int, seconds: float) -> None:
        """Wait for the port to accept connections. Raises RuntimeError with the end of the log if it does not."""
        give_up_at = time.monotonic() + seconds
        while time.monotonic() < give_up_at and self.popen.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.popen.args!r} does not listen: {self.log.read_text()[-2000:]}")

    def pause(self) -> None:
        """Keep the family from running, so that it does not disturb what others are measured by."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.family():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def family(self) -> list[int]:
        """The process and all its descendants."""
        pids = [self.popen.pid]
        for pid in pids:
            with suppress(OSError):
                children = (PROC / str(pid) / "task" / str(pid) / "children").read_text()
                pids.extend(int(child) for child in children.split())
        return pids

    def cpu_seconds(self) -> float:
        """User and system time of the family so far, ended threads included."""
        return sum(time.clock_gettime(_cpu_clock(pid)) for pid in self.family())

    def threads(self) -> int:
        """How many threads the family has."""
        return sum(len(list((PROC / str(pid) / "task").iterdir())) for pid in self.family())

    def open_sockets(self) -> int:
        """How many sockets the family holds open."""
        return sum(_is_socket(file) for pid in self.family() for file in (PROC / str(pid) / "fd").iterdir())

    def resident_bytes(self) -> int:
        """Resident memory, each shared page divided among its sharers (PSS)."""
        return sum(_kilobytes(pid, "smaps_rollup", "Pss") for pid in self.family()) * 1024

    def forget_peak(self) -> None:
        """Let the peak of resident memory begin anew."""
        for pid in self.family():
            (PROC / str(pid) / "clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """The most memory that was resident at any time since `forget_peak` (RSS)."""
        return sum(_kilobytes(pid, "status", "VmHWM") for pid in self.family()) * 1024


def _cpu_clock(pid: int) -> int:
    """Name the CPU clock of a process, as clock_getcpuclockid(3) does: `utime` + `stime`, but not in steps of 10 ms."""
    return (~pid << 3) | 2


def _is_socket(file: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.readlink(file).startswith("socket:")
    return False


def _kilobytes(pid: int, file: str, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", (PROC / str(pid) / file).read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def free_port() -> int:
    """Find a port that nobody listens on, below the range from which outgoing connections take theirs."""
    for port in range(20000 + os.getpid() % 8000, 32000):
        with socket.socket() as candidate, suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("No free port between 20000 and 32000")
