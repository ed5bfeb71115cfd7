"""A site whose gateways are killed and started again, callers that go on all the time, and what stands in its way."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import databases
from tests.conftest import default_settings
from tests.gateway_process import Door, GatewayProcess, site_environment
from tests.raw_client import ConnectionEnded, RawConnection
from tests.site_shell import SiteShell
from tests.upstream import Upstream
from tests.wire.ledger_reader import new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, JSON

PATIENCE = 30.0


class Refused(Exception):
    """A call was answered with an error."""


def begin(port: int, **body: Any) -> tuple[str, RawConnection]:
    """Begin a call, which tells the provider its request id too; give that and the connection."""
    name = new_request_id()
    connection = RawConnection(port)
    text = json.dumps({**CHAT, "user": name, **body}).encode()
    connection.request("POST", CHAT_PATH, [BEARER, JSON, ("x-request-id", name)], text)
    return name, connection


def call(port: int, *, stream: bool = False) -> str:
    """Make a call, see the end of its answer, and give its request id. Raises what goes wrong."""
    name, connection = begin(port, stream=stream)
    with connection:
        answer = connection.read_head()
        if answer.status != 200:
            raise Refused(answer.status)
        if stream:
            connection.read_text_until(b"[DONE]")
        else:
            connection.read_exactly(int(answer.header("content-length") or 0))
    return name


class Calls:
    """Calls that some threads make all the time, every other thread streams; and which of them came to their end."""

    def __init__(self, threads: int = 8) -> None:
        self.finished: list[str] = []
        self.failures: list[Exception] = []
        self._threads = threads
        self._stop = threading.Event()

    @contextmanager
    def to(self, port: int) -> Iterator[None]:
        """Call a gateway, until the block is over."""
        self._stop.clear()
        workers = [
            threading.Thread(target=self._work, args=(port, number % 2 == 0), daemon=True)
            for number in range(self._threads)
        ]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()

    def _work(self, port: int, stream: bool) -> None:
        while not self._stop.is_set():
            try:
                self.finished.append(call(port, stream=stream))
            except (OSError, ConnectionEnded, Refused) as error:
                self.failures.append(error)
                time.sleep(0.01)

    def wait_for_more(self, count: int = 10) -> None:
        """Wait until so many more calls have come to their end."""
        enough, deadline = len(self.finished) + count, time.monotonic() + PATIENCE
        while len(self.finished) < enough:
            assert time.monotonic() < deadline, f"{len(self.finished)} of {enough} calls; {self.failures[-3:]}"
            time.sleep(0.01)


class DurableSite:
    """Gateways, one after the other, with one database and one journal; and a look into their ledger."""

    def __init__(self, door: Door, database: databases.Database, upstream: Upstream, folder: Path, **settings: Any):
        self._door = door
        self._site = {"DATABASES": {"default": database}}
        self._settings = {**default_settings(upstream), **settings}
        self._folder = folder
        self._started: list[GatewayProcess] = []
        self.shell = SiteShell(site_environment(door, self._settings, self._site))
        self.shell.run("UsageRecord.objects.all().delete(); UsageDaily.objects.all().delete()")

    def start(self, **settings: Any) -> GatewayProcess:
        """Start a gateway."""
        log = self._folder / f"gateway-{len(self._started)}.log"
        process = GatewayProcess(self._door, {**self._settings, **settings}, log, site=self._site)
        self._started.append(process)
        return process

    def written(self) -> list[str]:
        """Give the request ids in the ledger."""
        return list(self.shell.run("result = list(UsageRecord.objects.values_list('request_id', flat=True))"))

    def assert_written_once(self, names: Sequence[str]) -> None:
        """Wait until all of these calls are in the ledger. No call may be there twice, and no day's sums be wrong."""
        deadline = time.monotonic() + PATIENCE
        while missing := sorted(set(names) - set(self.written())):
            assert time.monotonic() < deadline, f"{len(missing)} of {len(names)} calls are lost: {missing[:5]}"
            time.sleep(0.1)
        written = self.written()
        assert len(written) == len(set(written))
        code = "out = io.StringIO(); call_command('gateway_reconcile_usage', stdout=out); result = out.getvalue()"
        assert "were wrong: 0." in self.shell.run(code)

    def outcomes(self, names: Sequence[str]) -> list[str]:
        """Give how these calls ended, as it is written down."""
        code = "result = list(UsageRecord.objects.filter(request_id__in=names).values_list('outcome', flat=True))"
        return list(self.shell.run(code, names=list(names)))

    def close(self) -> None:
        """End everything; no gateway's log may tell of something broken."""
        self.shell.close()
        for process in self._started:
            process.kill()
        for process in self._started:
            process.assert_log_in_order()


@contextmanager
def locked(database: databases.Database) -> Iterator[None]:
    """Let nobody else write to a SQLite file."""
    connection = sqlite3.connect(database["NAME"], timeout=PATIENCE, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def is_in_journal(name: str, database: databases.Database) -> bool:
    """Tell whether a call is in a journal of the gateways with this database, where `site_settings` places them."""
    text = json.dumps({"default": database}, sort_keys=True)
    folder = Path(tempfile.gettempdir()) / f"gateway-test-journal-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return any(name in path.read_text() for path in folder.glob("*.journal"))
