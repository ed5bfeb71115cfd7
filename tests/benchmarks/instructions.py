"""`python -m tests.benchmarks.instructions [--stream] [NAME ...]`: how many instructions does a call take?

Instructions of the server in user space, counted by valgrind's callgrind. They are the same however busy the machine
is, so that two versions of the code can be told apart by a percent. The kernel's share, and what waiting for memory
costs, are not in them.

Without names: the gateway with one thing on after the other, so that each line is what one thing costs more.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.benchmarks import load
from tests.benchmarks.lineup import DIRECT, DJANGO, PASSTHROUGH, PEERS
from tests.benchmarks.scenarios import believed, plain_request, stream_request
from tests.benchmarks.servers import Featured, Peer, Running, upstream_running
from tests.benchmarks.wire import BURST, complaint_about_answer, complaint_about_stream

FEATURES = ("usage", "prices", "limits", "key", "route", "log")
"""In the order in which they are switched on."""

WARM_UP, COUNTED = 60, 100
CHUNKS = 100
SECONDS_TO_START = 600.0
TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


def one_after_the_other() -> Iterator[Peer]:
    """Give the gateway with nothing on, then with more and more, then by the Django door."""
    yield from (PEERS[PASSTHROUGH], PEERS[DIRECT])
    for number in range(1, len(FEATURES) + 1):
        yield Featured(f"+{FEATURES[number - 1]}", "", "direct", frozenset(FEATURES[:number]))
    yield PEERS[DJANGO]


def count(peer: Peer, upstream: int, folder: Path, *, is_stream: bool) -> float:
    """Give the instructions per call."""
    output = folder / f"{peer.name}.callgrind"
    peer.under = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={output}")
    peer.seconds_to_start = SECONDS_TO_START
    with peer.running(upstream, folder) as server:
        pid = str(server.process.popen.pid)
        asyncio.run(calls(server, WARM_UP, is_stream=is_stream))
        control("--zero", pid)
        counted = COUNTED // 5 if is_stream else COUNTED
        asyncio.run(calls(server, counted, is_stream=is_stream))
        control("--dump", pid)
        return int(TOTAL.findall(Path(f"{output}.1").read_text())[-1]) / counted


async def calls(server: Running, number: int, *, is_stream: bool) -> None:
    """Make so many calls, four at a time."""
    check = partial(complaint_about_stream, chunks=CHUNKS) if is_stream else complaint_about_answer
    request = stream_request(server, BURST) if is_stream else plain_request(server)
    believed(await load.run(server.port, request, check, load.for_requests(number), connections=4))


def control(what: str, pid: str) -> None:
    """Tell callgrind what to do. It does so when the process runs next."""
    subprocess.run(["callgrind_control", what, pid], check=True, capture_output=True)


def main() -> None:
    """Count, and print a line for each server."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.instructions", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="servers that run in one process")
    parser.add_argument("--stream", action="store_true", help="streams of 100 chunks in place of small answers")
    options = parser.parse_args()
    if not shutil.which("callgrind_control"):
        sys.exit("valgrind is not installed")
    peers = [PEERS[name] for name in options.names] or list(one_after_the_other())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # Or a server would stay behind.
    before = 0.0
    with tempfile.TemporaryDirectory() as folder, upstream_running(Path(folder)) as upstream:
        for peer in peers:
            taken = count(peer, upstream, Path(folder), is_stream=options.stream)
            print(f"{peer.name:28} {taken:12,.0f} {taken - before:+12,.0f}", flush=True)
            before = taken


if __name__ == "__main__":
    main()
