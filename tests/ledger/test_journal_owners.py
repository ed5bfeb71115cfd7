"""Whose a file of the journal is: its process's while that lives, then its finder's, and never a stranger's."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from ai_gateway import journal as module
from ai_gateway.journal import REJECTED, Journal, write_line
from ai_gateway.meter import Entry
from tests.ledger.entries import entry

WRITES = """
import sys
from pathlib import Path
from ai_gateway.journal import Journal
from tests.ledger.entries import entry
journal = Journal(lambda: Path(sys.argv[1]))
journal.append([entry(request_id="parent")])
"""
FORKS = """
import os
child = os.fork()
if not child:
    journal.forget()
    journal.append([entry(request_id="child")])
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
WAITS = """
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(lambda: tmp_path)
    yield made
    made.close()


@contextmanager
def process(script: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has run this script and waits; it is killed in the end. It may not complain of anything."""
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", script + WAITS, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        try:
            assert running.stdout.readline() == "ready\n", running.stderr.read()
            yield running
        finally:
            running.kill()
            complaints = running.stderr.read()
        assert complaints == ""


def replay(journal: Journal) -> list[Entry]:
    found: list[Entry] = []
    assert journal.replay(found.extend) == len(found)
    return found


def test_the_journal_of_a_living_process_is_left_alone_and_that_of_a_dead_one_taken_over(
    journal: Journal, tmp_path: Path
) -> None:
    with process(WRITES, tmp_path):
        assert replay(journal) == []
        assert len(journal.files()) == 1
    assert [found.request_id for found in replay(journal)] == ["parent"]
    assert journal.files() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_a_forked_process_writes_a_file_of_its_own_and_leaves_its_parent_its_lock(
    journal: Journal, tmp_path: Path
) -> None:
    with process(WRITES + FORKS, tmp_path):
        assert [found.request_id for found in replay(journal)] == ["child"]
    assert [found.request_id for found in replay(journal)] == ["parent"]


def test_two_replays_at_once_write_each_file_once(journal: Journal, tmp_path: Path) -> None:
    journal.append([entry()])
    journal.close()
    other, is_under_way, may_end = Journal(lambda: tmp_path), threading.Event(), threading.Event()
    counts: list[int] = []

    def write(entries: Sequence[Entry]) -> None:
        is_under_way.set()
        assert may_end.wait(10)

    thread = threading.Thread(target=lambda: counts.append(journal.replay(write)))
    thread.start()
    assert is_under_way.wait(10)
    assert replay(other) == []
    may_end.set()
    thread.join(10)
    assert counts == [1]


def test_entries_that_come_during_a_replay_are_for_the_next_one(journal: Journal) -> None:
    first, second = entry(), entry()
    journal.append([first])
    assert journal.replay(lambda entries: journal.append([second])) == 1
    assert replay(journal) == [second]


def test_one_that_cannot_be_read_is_in_nobodys_way(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As one of a process that ran as another user."""
    (tmp_path / "odd.journal").mkdir()
    os.utime(tmp_path / "odd.journal", (0, 0))
    mine = entry()
    journal.append([mine])
    assert replay(journal) == [mine]
    assert "odd.journal cannot be replayed" in caplog.text


def test_one_that_the_disk_cannot_read_is_in_nobodys_way(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        each = Journal(lambda: tmp_path)
        each.append([entry(request_id=f"req_{number}")])
        each.close()
    batches, read = module._batches, []

    def fail_first(file: IO[bytes], bad: list[tuple[bytes, str]]) -> Iterator[list[Entry]]:
        read.append(file.name)
        if len(read) == 1:
            raise OSError(errno.EIO, "Input/output error")
        return batches(file, bad)

    found: list[Entry] = []
    with monkeypatch.context() as patch:
        patch.setattr(module, "_batches", fail_first)
        with pytest.raises(OSError, match="Input/output"):
            journal.replay(found.extend)
    assert len(found) == 1
    assert len(replay(journal)) == 1


def test_files_of_other_names_are_left_alone(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "1-2.new").write_bytes(write_line(entry()))
    journal.reject(entry(), "no reason")
    assert replay(journal) == []
    assert {path.name for path in tmp_path.iterdir()} == {"1-2.new", REJECTED}


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owners here")
class TestDirectoryOfSomebodyElse:
    @pytest.fixture(autouse=True)
    def _stranger(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stranger = tmp_path.stat().st_uid + 1
        monkeypatch.setattr(os, "getuid", lambda: stranger)

    def test_nothing_is_written_where_anybody_may_write(self, journal: Journal, tmp_path: Path) -> None:
        tmp_path.chmod(0o777)
        with pytest.raises(PermissionError, match="belongs to somebody else"):
            journal.append([entry()])
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_read_where_anybody_may_write(self, journal: Journal, tmp_path: Path) -> None:
        (tmp_path / "planted.journal").write_bytes(write_line(entry(cost_nanos=10**12)))
        tmp_path.chmod(0o777)
        with pytest.raises(PermissionError, match="belongs to somebody else"):
            replay(journal)

    def test_nothing_is_read_that_anybody_could_have_made(self, tmp_path: Path) -> None:
        """As in /tmp."""
        folder = tmp_path / "journal"
        folder.mkdir(mode=0o755)
        (folder / "planted.journal").write_bytes(write_line(entry(cost_nanos=10**12)))
        tmp_path.chmod(0o1777)
        if folder.stat().st_uid == 0:  # What root made is no stranger's.
            os.chown(folder, 4711, -1)
        with pytest.raises(PermissionError, match="belongs to somebody else"):
            replay(Journal(lambda: folder))

    def test_a_link_is_judged_by_what_it_leads_to(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path)
        journal = Journal(lambda: tmp_path / "link")
        journal.append([entry()])
        assert len(replay(journal)) == 1

    def test_it_serves_if_only_some_may_write(self, journal: Journal, tmp_path: Path) -> None:
        tmp_path.chmod(0o770)
        journal.append([entry()])
        assert len(replay(journal)) == 1
