"""What the journal gives back, also after a crash, a full disk or a bit that flipped."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from django.core.files import locks
from django.db import connections

from ai_gateway import journal as module
from ai_gateway import ledger_store
from ai_gateway.journal import BATCH, REJECTED, BadLine, Journal, read_line, write_line
from ai_gateway.meter import Entry
from tests.ledger.entries import entry


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(lambda: tmp_path)
    yield made
    made.close()


def replay(journal: Journal) -> list[Entry]:
    found: list[Entry] = []
    assert journal.replay(found.extend) == len(found)
    return found


def rejected(folder: Path) -> list[dict[str, Any]]:
    path = folder / REJECTED
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_is_appended_is_replayed_in_order_and_once(journal: Journal) -> None:
    entries = [entry(metadata={"text": "line\nbreak ü"}), entry(cost_nanos=2**62), entry(trail=[{"ms": 1}])]
    journal.append(entries[:2])
    journal.append(entries[2:])
    assert replay(journal) == entries
    assert replay(journal) == []
    assert journal.files() == []


def test_the_journal_goes_on_after_a_replay(journal: Journal) -> None:
    journal.append([entry()])
    replay(journal)
    later = entry()
    journal.append([later])
    assert replay(journal) == [later]


def test_many_entries_are_replayed_some_at_a_time(journal: Journal) -> None:
    journal.append([entry() for _ in range(BATCH + 1)])
    sizes: list[int] = []
    assert journal.replay(lambda entries: sizes.append(len(entries))) == BATCH + 1
    assert sizes == [BATCH, 1]


def test_what_cannot_be_written_now_stays(journal: Journal, tmp_path: Path) -> None:
    entries = [entry(), entry()]
    journal.append(entries)

    def fail(entries: Sequence[Entry]) -> None:
        raise ConnectionError("the database is away")

    with pytest.raises(ConnectionError):
        journal.replay(fail)
    assert replay(journal) == entries


def test_a_directory_that_does_not_exist_has_no_journals_and_is_made_when_there_is_one(tmp_path: Path) -> None:
    journal = Journal(lambda: tmp_path / "of" / "usage")
    assert replay(journal) == []
    assert not (tmp_path / "of").exists()
    journal.append([entry()])
    assert len(replay(journal)) == 1


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "usage"
    journal = Journal(lambda: folder)
    journal.append([entry()])
    journal.reject(entry(), "no reason")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    journal.close()
    assert (modes, stat.S_IMODE(folder.stat().st_mode)) == ({0o600}, 0o700)


def test_a_file_that_was_removed_takes_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By whoever tidies up temporary files, while it is open."""
    folder = tmp_path / "usage"
    journal = Journal(lambda: folder)
    journal.append([entry()])
    shutil.rmtree(folder)
    journal.append(later := [entry(), entry()])
    assert "was removed" in caplog.text
    assert replay(journal) == later


def test_what_is_put_aside_on_a_full_disk_leaves_no_half_line(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(file: IO[bytes], data: bytes) -> None:
        file.write(data[: len(data) // 2])
        full_disk()

    journal.reject(entry(), "first")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", write_half)
        with pytest.raises(OSError, match="No space"):
            journal.reject(entry(), "second")
    journal.reject(entry(), "third")
    assert [each["reason"] for each in rejected(tmp_path)] == ["first", "third"]


def test_where_there_are_no_locks_nothing_is_left_behind(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "lock", no_locks)
    for _ in range(3):
        with pytest.raises(OSError, match="No locks"):
            journal.append([entry()])
    assert list(tmp_path.iterdir()) == []


class TestDamage:
    @pytest.mark.parametrize("place", [0, 7, 8, 9, 40, -2])
    def test_a_line_with_a_flipped_bit_is_not_read(self, place: int) -> None:
        line = bytearray(write_line(entry()))
        line[place] ^= 4
        with pytest.raises(BadLine):
            read_line(bytes(line))

    def test_a_line_that_cannot_be_read_is_put_aside_and_the_others_are_replayed(
        self, journal: Journal, tmp_path: Path
    ) -> None:
        entries = [entry(), entry(request_id="req_flipped"), entry()]
        journal.append(entries)
        journal.close()
        (path,) = journal.files()
        path.write_bytes(path.read_bytes().replace(b"req_flipped", b"req_glipped"))
        assert replay(journal) == [entries[0], entries[2]]
        (aside,) = rejected(tmp_path)
        assert "req_glipped" in aside["line"]
        assert "checksum" in aside["reason"]

    def test_half_a_line_at_the_end_harms_nothing(self, journal: Journal, tmp_path: Path) -> None:
        entries = [entry(), entry()]
        journal.append([*entries, entry()])
        journal.close()
        (path,) = journal.files()
        os.truncate(path, path.stat().st_size - 9)
        assert replay(journal) == entries
        assert len(rejected(tmp_path)) == 1

    def test_a_bad_line_is_put_aside_once_however_often_the_database_is_away(
        self, journal: Journal, tmp_path: Path
    ) -> None:
        journal.append([entry()])
        journal.close()
        (path,) = journal.files()
        path.write_bytes(b"half a li\n" + path.read_bytes())

        def fail(entries: Sequence[Entry]) -> None:
            raise ConnectionError

        for _ in range(3):
            with pytest.raises(ConnectionError):
                journal.replay(fail)
        assert len(replay(journal)) == 1
        assert len(rejected(tmp_path)) == 1


class TestFailingDisk:
    def test_what_is_not_on_the_disk_is_not_in_the_journal(
        self, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        safe, unsafe, later = entry(), entry(), entry()
        journal.append([safe])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full_disk)
            with pytest.raises(OSError, match="No space left"):
                journal.append([unsafe])
        journal.append([later])
        assert {found.id for found in replay(journal)} == {safe.id, later.id}

    def test_half_a_line_is_taken_back(self, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def write_half(file: IO[bytes], data: bytes) -> None:
            file.write(data[: len(data) // 2])
            full_disk()

        safe = entry()
        journal.append([safe])
        with monkeypatch.context() as patch:
            patch.setattr(module, "_write", write_half)
            with pytest.raises(OSError, match="No space left"):
                journal.append([entry()])
        assert replay(journal) == [safe]
        assert rejected(tmp_path) == []

    def test_a_disk_that_stays_full_is_not_filled_with_empty_files(
        self, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(module, "_write", full_disk)
            for _ in range(3):
                with pytest.raises(OSError, match="No space left"):
                    journal.append([entry()])
        assert list(tmp_path.iterdir()) == []


def of_two(folder: Path) -> tuple[Journal, Journal]:
    """The journals of two databases in one folder."""
    return Journal(lambda: folder, lambda: "aaaa"), Journal(lambda: folder, lambda: "bbbb")


class TestMarks:
    """A file belongs to one database."""

    def test_what_is_for_another_database_stays(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        real, tests = of_two(tmp_path)
        call = entry()
        real.append([call])
        real.close()
        for _ in range(2):
            assert replay(tests) == []
        assert caplog.text.count("is for another database") == 1
        assert replay(real) == [call]

    def test_it_may_be_renamed_where_the_database_was(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        old, new = of_two(tmp_path)
        old.append([entry()])
        old.close()
        assert replay(new) == []
        (path,) = tmp_path.iterdir()
        path.rename(tmp_path / caplog.text.split("rename it to ")[1].split()[0])
        assert len(replay(new)) == 1

    def test_a_file_without_a_mark_is_for_everybody(self, journal: Journal, tmp_path: Path) -> None:
        journal.append([entry()])
        journal.close()
        assert len(replay(Journal(lambda: tmp_path, lambda: "bbbb"))) == 1

    @pytest.mark.django_db
    def test_the_tests_own_database_has_another_mark_than_the_sites(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = connections[ledger_store.database()].settings_dict
        marks = set()
        for name in (
            "site",
            "test_site",
            "/srv/site.sqlite3",
            "/srv/test_site.sqlite3",
            "file:memorydb_default?mode=memory",
        ):
            monkeypatch.setitem(settings, "NAME", name)
            marks.add(ledger_store.mark())
        assert len(marks) == 5
        monkeypatch.setitem(settings, "NAME", "/elsewhere/site.sqlite3")
        assert ledger_store.mark() in marks
