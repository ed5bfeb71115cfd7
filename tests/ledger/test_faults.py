"""What the database does not take: whose fault it is, the call's or its own, and that nothing is half written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, DataError, InterfaceError, InternalError, OperationalError, connections
from django.db.models import Model

from ai_gateway import ledger_store
from ai_gateway.ledger_writer import Refused, Unavailable
from ai_gateway.meter import Entry
from ai_gateway.models import UsageDaily, UsageLabelDaily, UsageRecord
from tests import databases
from tests.ledger.conftest import ALIAS
from tests.ledger.made import made

BAD: dict[str, dict[str, Any]] = {
    "a number beyond 64 bits": {"bytes_in": 2**63},
    "a cost beyond 64 bits": {"cost_nanos": -(2**63) - 1},
    "a number below its column": {"status": -1},
    "a letter that is none": {"end_user": "\ud800"},
    "nothing where something must be": {"outcome": None},
    "a key that is no number": {"key_id": "seven"},
    "a moment that is none": {"started_at": 1e30},
}
TOO_STRICT: dict[str, dict[str, Any]] = {
    "an id that is none": {"id": "none"},
    "a name that is too long": {"model": "m" * 201},
    "a number that is too large for its column": {"status": 70_000},
}
"""What only servers refuse."""

TOO_STRICT_FOR_OTHERS: dict[str, dict[str, Any]] = {
    "a character that text cannot have": {"model": "a\0b"},
    "a character that JSON cannot have": {"metadata": {"a": "\0"}},
}
"""What only PostgreSQL refuses."""

READ_ONLY = {
    "postgresql": "SET default_transaction_read_only = on",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
}
SUICIDE = {
    "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
    "mysql": "KILL CONNECTION_ID()",
}
"""How a connection ends itself."""

on_servers = pytest.mark.parametrize("entry", ["postgresql", "mariadb"], indirect=True)


def nothing_is_written() -> bool:
    return not UsageRecord.objects.exists() and not UsageDaily.objects.exists()


@pytest.mark.usefixtures("database")
class TestTheCallIsAtFault:
    @pytest.mark.parametrize("columns", BAD.values(), ids=BAD.keys())
    @pytest.mark.parametrize("may_be_known", [False, True])
    def test_a_bad_value_is_refused(self, columns: dict[str, Any], may_be_known: bool) -> None:
        with pytest.raises(Refused):
            ledger_store.write([made(), made(**columns), made()], may_be_known=may_be_known)
        assert nothing_is_written()
        assert len(ledger_store.write([made(), made()])) == 2

    @on_servers
    @pytest.mark.parametrize("columns", TOO_STRICT.values(), ids=TOO_STRICT.keys())
    def test_some_are_refused_by_servers_only(self, entry: object, columns: dict[str, Any]) -> None:
        if "id" in columns and not connections[ALIAS].features.has_native_uuid_field:
            pytest.skip("MySQL has no type for ids: to it they are letters")
        with pytest.raises(Refused):
            ledger_store.write([made(), made(**columns)])
        assert nothing_is_written()

    @pytest.mark.parametrize("entry", ["postgresql"], indirect=True)
    @pytest.mark.parametrize("columns", TOO_STRICT_FOR_OTHERS.values(), ids=TOO_STRICT_FOR_OTHERS.keys())
    def test_some_are_refused_by_postgresql_only(self, entry: object, columns: dict[str, Any]) -> None:
        with pytest.raises(Refused):
            ledger_store.write([made(), made(**columns)])
        assert nothing_is_written()

    @on_servers
    def test_a_sum_that_is_too_large_is_refused(self, entry: object) -> None:
        ledger_store.write([made(cost_nanos=2**62)])
        with pytest.raises(Refused):
            ledger_store.write([made(cost_nanos=2**62), made(cost_nanos=1)])
        assert UsageRecord.objects.count() == 1
        assert UsageDaily.objects.get().cost_nanos == 2**62

    @pytest.mark.parametrize(
        "error",
        [
            DatabaseError("odd"),
            InternalError("odd"),
            TypeError("odd"),
            OperationalError(1366, "Incorrect string value: odd"),
            OperationalError(1292, "Incorrect uuid value: odd"),
        ],
        ids=repr,
    )
    def test_what_a_database_says_only_to_this_call_is_a_verdict_on_it(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        really = ledger_store._insert

        def insert(entries: Sequence[Entry], *where: Any) -> None:
            if any(each.request_id == "req_odd" for each in entries):
                raise error
            really(entries, *where)

        monkeypatch.setattr(ledger_store, "_insert", insert)
        with pytest.raises(Refused, match="odd"):
            ledger_store.write([made(), made(request_id="req_odd")])
        assert nothing_is_written()


class TestTheDatabaseIsAtFault:
    @pytest.mark.parametrize("missing", [UsageRecord, UsageDaily, UsageLabelDaily])
    @pytest.mark.usefixtures("database")
    def test_a_table_is_missing(self, missing: type[Model]) -> None:
        with connections[ALIAS].schema_editor() as editor:
            editor.delete_model(missing)
        with pytest.raises(Unavailable):
            ledger_store.write([made(session="s-1")])
        if missing is not UsageLabelDaily:
            with pytest.raises(Unavailable):
                ledger_store.uncertain([made()])
        with connections[ALIAS].schema_editor() as editor:
            editor.create_model(missing)
        assert nothing_is_written()
        assert len(ledger_store.write([made(session="s-1")])) == 1

    @pytest.mark.usefixtures("database")
    @pytest.mark.parametrize("error", [DatabaseError("odd"), DataError("odd"), TypeError("odd")], ids=type)
    def test_it_says_the_same_to_every_call(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        monkeypatch.setattr(ledger_store, "_insert", failing(error))
        with pytest.raises(Unavailable, match="odd"):
            ledger_store.write([made()])

    @pytest.mark.usefixtures("database")
    @pytest.mark.parametrize("missing", [(UsageRecord, "cost_nanos"), (UsageDaily, "unpriced")])
    def test_it_is_not_migrated_yet(self, missing: tuple[type[UsageRecord | UsageDaily], str]) -> None:
        """The code is newer than the tables. Nothing is wrong with the calls: they are written when it is."""
        table = connections[ALIAS].ops.quote_name(missing[0]._meta.db_table)
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME COLUMN {missing[1]} TO of_old")
        with pytest.raises(Unavailable):
            ledger_store.write([made()])
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME COLUMN of_old TO {missing[1]}")
        assert len(ledger_store.write([made()])) == 1

    @pytest.mark.usefixtures("database")
    @on_servers
    def test_it_may_only_be_read(self, entry: object) -> None:
        """As after a failover to a replica: it answers, and refuses everything."""
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(READ_ONLY[connections[ALIAS].vendor])
        with pytest.raises(Unavailable, match=r"(?i)read.only"):
            ledger_store.write([made()])
        ledger_store.release()
        assert len(ledger_store.write([made()])) == 1

    @pytest.mark.usefixtures("connectable")
    def test_it_cannot_be_reached(self, entry: databases.Database, tmp_path: Path) -> None:
        connections[ALIAS].close()
        connections[ALIAS].settings_dict |= {"NAME": str(tmp_path / "nowhere" / "db"), "HOST": "127.0.0.1", "PORT": "9"}
        with pytest.raises(Unavailable):
            ledger_store.write([made()])

    @pytest.mark.usefixtures("database")
    @pytest.mark.parametrize(
        "error",
        [
            OperationalError("away"),
            InterfaceError("closed"),
            OperationalError(1205, "Lock wait timeout exceeded"),
            OperationalError(1213, "Deadlock found"),
            OperationalError(2006, "Server has gone away"),
        ],
        ids=repr,
    )
    def test_it_went_away(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        """Or it is busy. It is not asked for more."""
        attempts = []

        def insert(*arguments: Any) -> None:
            attempts.append(arguments)
            raise error

        monkeypatch.setattr(ledger_store, "_insert", insert)
        with pytest.raises(Unavailable, match=str(error.args[-1])):
            ledger_store.write([made()])
        assert len(attempts) == 1

    @pytest.mark.usefixtures("database")
    @on_servers
    def test_a_connection_that_was_ended_is_opened_again(self, entry: object) -> None:
        ledger_store.write([made()])
        with connections[ALIAS].cursor() as cursor, pytest.raises(OperationalError):
            cursor.execute(SUICIDE[connections[ALIAS].vendor])
        with pytest.raises(Unavailable):
            ledger_store.write([made()])
        ledger_store.release()
        assert len(ledger_store.write([made()], may_be_known=True)) == 1


@pytest.mark.usefixtures("connectable")
@pytest.mark.parametrize("entry", ["none"], indirect=True)
def test_a_site_without_a_database(entry: databases.Database) -> None:
    assert not ledger_store.has_database()
    with pytest.raises(Unavailable):
        ledger_store.write([made()])


@pytest.mark.usefixtures("connectable")
def test_a_site_with_one_that_is_not_asked_yet() -> None:
    assert ledger_store.has_database()
    assert connections[ALIAS].connection is None


def failing(error: Exception) -> Any:
    def fail(*arguments: Any) -> None:
        raise error

    return fail
