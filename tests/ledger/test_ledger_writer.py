"""One bad entry does not keep the others out of the database, and one failure of the database is no outage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import pytest

from ai_gateway.journal import REJECTED, Journal
from ai_gateway.ledger_writer import PRUNED, Refused, Unavailable, Writer, announce
from ai_gateway.meter import Entry
from ai_gateway.signals import call_finished, calls_finished
from tests.ledger.entries import entry
from tests.ledger.stores import Table


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def writer(table: Table, tmp_path: Path) -> Writer:
    return Writer(table, Journal(lambda: tmp_path))


def aside(folder: Path) -> list[tuple[str, str]]:
    """What was put aside: request ids and reasons."""
    path = folder / REJECTED
    lines = [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    return [(line["entry"]["request_id"], line["reason"]) for line in lines]


def test_a_batch_is_written_at_once(writer: Writer, table: Table) -> None:
    entries = [entry() for _ in range(100)]
    assert writer.write(entries) == entries
    assert table.asked == [(100, False)]
    assert (writer.written, writer.rejected) == (100, 0)


def test_what_is_known_is_neither_given_nor_counted(writer: Writer) -> None:
    known, fresh = entry(), entry()
    writer.write([known])
    assert writer.write([known, fresh], may_be_known=True) == [fresh]
    assert writer.written == 2


class TestRefusal:
    @pytest.mark.parametrize("places", [[0], [99], [37], [37, 38], [0, 50, 99], range(100)])
    def test_what_is_refused_is_put_aside_and_everything_else_is_written_in_its_order(
        self, writer: Writer, table: Table, tmp_path: Path, places: Sequence[int]
    ) -> None:
        entries = [entry(request_id=f"req_{place}") for place in range(100)]
        table.poison = {f"req_{place}" for place in places}
        good = [each for each in entries if each.request_id not in table.poison]
        assert writer.write(entries) == good
        assert list(table.rows.values()) == good
        assert aside(tmp_path) == [(f"req_{place}", "value too long") for place in places]
        assert (writer.written, writer.rejected) == (len(good), len(places))

    def test_one_in_many_is_found_in_few_steps(self, writer: Writer, table: Table) -> None:
        entries = [entry() for _ in range(511)] + [entry(request_id="req_bad")]
        table.poison = {"req_bad"}
        writer.write(entries)
        assert len(table.asked) == 1 + 2 * 9  # 512 is 2 to the power of 9.

    def test_what_may_be_known_may_be_known_in_every_part(self, writer: Writer, table: Table) -> None:
        table.poison = {"req_bad"}
        writer.write([entry(), entry(), entry(request_id="req_bad")], may_be_known=True)
        assert all(may_be_known for _, may_be_known in table.asked)

    def test_it_is_logged(self, writer: Writer, table: Table, caplog: pytest.LogCaptureFixture) -> None:
        table.poison = {"req_bad"}
        writer.write([entry(), entry(request_id="req_bad")])
        assert [record.getMessage() for record in caplog.records] == [
            "req_bad: the database refuses the record of this call (value too long), it is put aside"
        ]

    def test_what_cannot_be_put_aside_is_in_the_log(
        self, table: Table, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        no_folder = tmp_path / "file"
        no_folder.touch()
        bad, good = entry(request_id="req_bad"), entry()
        table.poison = {"req_bad"}
        assert Writer(table, Journal(lambda: no_folder)).write([bad, good]) == [good]
        assert bad.id in caplog.text
        assert "cannot be put aside" in caplog.text


class TestPruned:
    def test_what_may_have_been_counted_long_ago_is_put_aside(
        self, writer: Writer, table: Table, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        entries = [entry(), entry(request_id="req_old"), entry()]
        table.pruned = {"req_old"}
        assert writer.write_again(entries) == list(table.rows.values()) == [entries[0], entries[2]]
        assert aside(tmp_path) == [("req_old", PRUNED)]
        assert writer.rejected == 1
        assert caplog.records[0].getMessage() == f"req_old: {PRUNED}, it is put aside"

    def test_nothing_is_put_aside_before_the_others_are_written(
        self, writer: Writer, table: Table, tmp_path: Path
    ) -> None:
        table.pruned, table.is_away = {"req_old"}, True
        with pytest.raises(Unavailable):
            writer.write_again([entry(), entry(request_id="req_old")])
        assert aside(tmp_path) == []


class TestSalvage:
    @pytest.fixture
    def bad(self, table: Table) -> Entry:
        """One that is refused, and would be without its request id."""
        found = entry(request_id="req_bad", key_name="team", cost_nanos=7)
        table.poison = {"req_bad"}
        table.versions = [msgspec.structs.replace(found, key_name="te"), msgspec.structs.replace(found, request_id="")]
        return found

    def test_the_first_version_that_is_taken_is_written(
        self, writer: Writer, table: Table, bad: Entry, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        before, after = entry(), entry()
        expected = [before, table.versions[1], after]
        assert writer.write([before, bad, after]) == list(table.rows.values()) == expected
        assert (writer.written, writer.rejected, aside(tmp_path)) == (3, 0, [])
        assert [record.getMessage() for record in caplog.records] == [
            "req_bad: the database refuses the record of this call (value too long), "
            "and it is written with other values of: request_id"
        ]

    def test_what_is_refused_in_every_version_is_put_aside_as_it_was(
        self, writer: Writer, table: Table, bad: Entry, tmp_path: Path
    ) -> None:
        table.versions.pop()
        assert writer.write([bad]) == []
        assert aside(tmp_path) == [("req_bad", "value too long")]
        assert json.loads((tmp_path / REJECTED).read_bytes())["entry"]["key_name"] == "team"
        assert (writer.written, writer.rejected) == (0, 1)


class TestOutage:
    def test_it_is_tried_once_more_over_another_connection(self, writer: Writer, table: Table) -> None:
        table.is_away = True
        with pytest.raises(Unavailable, match="connection refused"):
            writer.write([entry()])
        assert table.asked == [(1, False), (1, True)]
        assert table.released == 1

    def test_one_failure_is_no_outage(self, table: Table, tmp_path: Path) -> None:
        class Flaky(Table):
            def write(self, entries: Sequence[Entry], *, may_be_known: bool = False) -> Sequence[Entry]:
                self.is_away = not self.asked
                return super().write(entries, may_be_known=may_be_known)

        entries = [entry(), entry()]
        assert Writer(Flaky(), Journal(lambda: tmp_path)).write(entries) == entries

    def test_what_was_committed_although_the_answer_was_lost_is_there_once(self, writer: Writer, table: Table) -> None:
        entries = [entry(), entry()]
        table.loses_answers = True
        writer.write(entries)
        assert list(table.rows.values()) == entries
        assert table.asked == [(2, False), (2, True)]

    def test_nothing_is_put_aside_because_the_database_is_away(
        self, writer: Writer, table: Table, tmp_path: Path
    ) -> None:
        table.is_away = True
        with pytest.raises(Unavailable):
            writer.write([entry(), entry()])
        assert aside(tmp_path) == []

    def test_a_refusal_at_the_second_try_is_a_refusal(self, tmp_path: Path) -> None:
        class Flaky(Table):
            def write(self, entries: Sequence[Entry], *, may_be_known: bool = False) -> Sequence[Entry]:
                if not may_be_known:
                    raise Unavailable
                raise Refused("value too long")

        assert Writer(Flaky(), Journal(lambda: tmp_path)).write([entry(request_id="req_bad")]) == []
        assert aside(tmp_path) == [("req_bad", "value too long")]


class TestSignal:
    @pytest.fixture
    def heard(self) -> Iterator[list[Any]]:
        heard: list[Any] = []

        def receive(entry: Entry, **_: object) -> None:
            heard.append(entry)

        call_finished.connect(receive, sender=Entry)
        yield heard
        call_finished.disconnect(receive, sender=Entry)

    def test_it_is_sent_for_each_call(self, heard: list[Any]) -> None:
        entries = [entry(), entry()]
        announce(entries)
        assert heard == entries

    def test_another_is_sent_for_all_calls_of_a_transaction(self) -> None:
        heard: list[Any] = []

        def receive(entries: Sequence[Entry], **_: object) -> None:
            heard.append(list(entries))

        calls_finished.connect(receive, sender=Entry)
        try:
            entries = [entry(), entry()]
            announce(entries)
            announce([])
        finally:
            calls_finished.disconnect(receive, sender=Entry)
        assert heard == [entries]

    def test_a_receiver_that_fails_harms_nobody(self, heard: list[Any]) -> None:
        def fail(**_: object) -> None:
            raise RuntimeError("not mine")

        for signal in (call_finished, calls_finished):
            signal.connect(fail, sender=Entry)
        try:
            announce([entry(), entry()])
        finally:
            for signal in (call_finished, calls_finished):
                signal.disconnect(fail, sender=Entry)
        assert len(heard) == 2

    def test_nothing_is_sent_if_nobody_listens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[object] = []
        with monkeypatch.context() as patch:
            for signal in (call_finished, calls_finished):
                patch.setattr(signal, "receivers", [])
                # What is remembered of the receivers belongs to the real ones.
                patch.setattr(signal, "sender_receivers_cache", WeakKeyDictionary())
                patch.setattr(signal, "send_robust", lambda *what, **more: sent.append(what))
            announce([entry()])
        assert sent == []

    def test_it_is_sent_for_what_was_written_before_an_outage_began(self, heard: list[Any], tmp_path: Path) -> None:
        class Failing(Table):
            def write(self, entries: Sequence[Entry], *, may_be_known: bool = False) -> Sequence[Entry]:
                self.is_away = bool(self.rows)
                return super().write(entries, may_be_known=may_be_known)

        table, entries = Failing(), [entry(), entry(), entry(request_id="req_bad"), entry()]
        table.poison = {"req_bad"}
        with pytest.raises(Unavailable):
            Writer(table, Journal(lambda: tmp_path)).write(entries)
        assert heard == list(table.rows.values()) == entries[:2]
