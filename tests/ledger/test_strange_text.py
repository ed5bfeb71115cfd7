"""Half of a surrogate pair in a name: no database takes it, and it must not take anything else along."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from ai_gateway.ids import new_id
from ai_gateway.journal import REJECTED, Journal
from ai_gateway.ledger_writer import Refused, Writer
from ai_gateway.meter import Entry
from ai_gateway.spool import Spool

HALF = "\ud800"


def entry(name: str = "team-a") -> Entry:
    return Entry(id=new_id(), request_id="req_1", started_at=time.time(), outcome="answered", key_name=name)


class Encoding:
    """A store that takes what can be encoded, as databases do."""

    def __init__(self) -> None:
        self.written: list[Entry] = []

    def has_database(self) -> bool:
        return True

    def write(self, entries: Sequence[Entry], *, may_be_known: bool = False) -> Sequence[Entry]:
        try:
            for each in entries:
                each.key_name.encode()
        except UnicodeEncodeError as error:
            raise Refused(str(error)) from error
        self.written += entries
        return entries

    def uncertain(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        return ()

    def salvage(self, entry: Entry) -> Sequence[Entry]:
        return ()

    def release(self) -> None:
        pass


def test_it_is_put_aside_and_its_batch_is_written(tmp_path: Path) -> None:
    store = Encoding()
    good = [entry() for _ in range(6)]
    written = Writer(store, Journal(lambda: tmp_path)).write([*good[:4], entry(HALF), *good[4:]])
    assert written == store.written == good
    assert json.loads((tmp_path / REJECTED).read_bytes())["entry"]["key_name"] == HALF


def test_the_journal_takes_it_and_gives_what_can_be_read(tmp_path: Path) -> None:
    journal = Journal(lambda: tmp_path)
    spool = Spool(journal, room=10)
    good = [entry(), entry()]
    for each in (good[0], entry(HALF), good[1]):
        spool.put(each)
    assert spool.keep()
    replayed: list[Entry] = []
    journal.replay(replayed.extend)
    # Whether the decoder takes the escape or not: it is replayed, or put aside, and never gone.
    aside = tmp_path / REJECTED
    assert [each for each in replayed if each.key_name != HALF] == good
    assert len(replayed) + (len(aside.read_bytes().splitlines()) if aside.exists() else 0) == 3


def test_what_the_journal_cannot_take_waits_on(tmp_path: Path) -> None:
    spool = Spool(Journal(lambda: tmp_path), room=10)
    spool.put(
        Entry(**{**{name: getattr(entry(), name) for name in Entry.__struct_fields__}, "metadata": {"a": object()}})
    )
    assert not spool.keep()
    batch = spool.take(10)
    assert batch is not None
    assert len(batch.entries) == 1
