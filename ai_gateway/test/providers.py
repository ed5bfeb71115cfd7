"""Puts a script in the providers' place, and the gateway into a state of its own, as long as a block lasts.

What the gateway remembers from call to call (breakers, cooldowns, limits) begins anew. Nothing runs beside the tests:
the configuration is read from the database where the calls are made, so that a test's transaction is seen, and finished
calls are kept in memory until somebody wants them as rows.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any, Self

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.test import override_settings

from ai_gateway import gateway, key_store, ledger, ledger_store, refresher, registry
from ai_gateway.checks.secrets import is_secret
from ai_gateway.key_cache import KeyRecord
from ai_gateway.meter import Entry
from ai_gateway.models import UsageRecord
from ai_gateway.test.isolation import isolated
from ai_gateway.test.script import CREDENTIAL, USUAL, Scripted
from ai_gateway.test.transport import ScriptedTransport

PATIENCE = 10.0
"""Seconds for which is waited for what must happen."""


class FakeProviders(Scripted):
    """All providers, answering by a script, and what became of it.

    `settings` are entries of AI_GATEWAY that count instead of the site's. `database` says whether the test has one; if
    not, the configuration is that of the settings.
    """

    def __init__(self, *, database: bool = True, **settings: Any) -> None:
        super().__init__()
        self.usage = Books()
        """The finished calls."""
        self._database = database
        self._settings = settings
        self._undo: ExitStack | None = None

    # What was recorded.

    def records(self, count: int = 1) -> list[UsageRecord]:
        """Give the rows of usage, in the order in which the calls ended, once there are so many. Raises what went wrong
        in the script."""
        self._check_script()
        entries = self.usage.wait_for(count)
        self.usage.write()
        found = {record.pk.hex: record for record in UsageRecord.objects.filter(pk__in=[each.id for each in entries])}
        return [found[entry.id] for entry in entries]

    # The beginning and the end.

    def start(self) -> Self:
        """Begin. Raises RuntimeError if it has begun."""
        if self._undo is not None:
            raise RuntimeError("These providers are in use already: they are stopped before they are started again.")
        with ExitStack() as undo:
            undo.enter_context(override_settings(AI_GATEWAY=configured(self._settings)))
            undo.enter_context(gateway.asking_through(lambda: ScriptedTransport(self)))
            undo.enter_context(_apart(self.usage, database=self._database))
            self._undo = undo.pop_all()
        return self

    def stop(self) -> None:
        """Leave everything as it was found. Raises what went wrong in the script."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo.close()
        self._check_script()


class Books:
    """The finished calls, as a sequence of entries: what the ledger of a site writes down."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._written = 0
        self._changed = threading.Condition()

    def put(self, entry: Entry) -> None:
        """See Ledger.put()."""
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    async def commit(self, entry: Entry) -> None:
        """See Ledger.commit()."""
        self.put(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, place: int) -> Entry:
        return self._entries[place]

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries))

    def wait_for(self, count: int = 1) -> Sequence[Entry]:
        """Give the entries once there are so many: a call ends a moment after its caller has the answer."""
        with self._changed:
            is_so = self._changed.wait_for(lambda: len(self._entries) >= count, PATIENCE)
            assert is_so, f"{len(self._entries)} calls have ended, not {count}"
            return list(self._entries)

    def write(self) -> None:
        """Write what is not written yet into the database, in this thread and its transaction."""
        with self._changed:
            fresh, self._written = self._entries[self._written :], len(self._entries)
        ledger_store.write(fresh)


def configured(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings of a test: the site's, no credential that is worth anything, and nothing that is shared with
    other processes or tests, such as the site's cache."""
    apart: dict[str, Any] = {"PEERS": {}, "LIMIT_STORE": {}, "RESPONSE_CACHE": None}
    found = {**getattr(settings, "AI_GATEWAY", {}), **apart, **given}
    providers = dict(found.get("PROVIDERS", {}))
    for alias in {*USUAL, *providers}:
        entry = dict(providers.get(alias, {}))
        options = dict(entry.get("OPTIONS", {}))
        if alias in USUAL:
            options["api_key"] = CREDENTIAL
        options |= {name: CREDENTIAL for name in options if is_secret(name) or name == "access_key_id"}
        providers[alias] = {**entry, "OPTIONS": options}
    return {**found, "PROVIDERS": providers}


@contextmanager
def _apart(books: Books, *, database: bool) -> Iterator[None]:
    """Isolate a test, read its configuration and its keys where its database is, and keep its finished calls."""
    with isolated(database=database), _noticing_changes():
        refresher.refresher = Reader()  # type: ignore[assignment]
        ledger.ledger = books  # type: ignore[assignment]
        if database:
            registry.key_cache = Keys()  # type: ignore[assignment]
        yield


@contextmanager
def _noticing_changes() -> Iterator[None]:
    """Have the configuration read again after any change of the app's rows: a test's transaction is never committed."""

    def note(sender: Any, **_: Any) -> None:
        if sender._meta.app_label == "ai_gateway" and sender is not UsageRecord:
            registry.forget()

    signals = (post_save, post_delete, m2m_changed)
    for signal in signals:
        signal.connect(note)
    try:
        yield
    finally:
        for signal in signals:
            signal.disconnect(note)


class Reader:
    """In the refresher's place: reads the configuration when a call needs it, where the test's database is."""

    is_settled = False

    def start(self) -> Future[None]:
        """See Refresher.start(). Called on the event loop of a call."""
        done: Future[None] = Future()
        if registry.is_built():
            done.set_result(None)
        else:
            task = asyncio.ensure_future(sync_to_async(registry.refresh)())
            task.add_done_callback(lambda task: _pass_on(task, done))
        return done

    def look(self) -> None:
        """See Refresher.look()."""
        registry.forget()


def _pass_on(task: asyncio.Task[Any], done: Future[None]) -> None:
    if task.cancelled():
        done.cancel()
    elif (error := task.exception()) is not None:
        done.set_exception(error)
    else:
        done.set_result(None)


class Keys:
    """In the place of what remembers keys: reads each where the test's database is."""

    def peek(self, public_id: str) -> KeyRecord | None:
        """See KeyCache.peek()."""
        return None

    async def find(self, public_id: str) -> KeyRecord | None:
        """See KeyCache.find()."""
        found = await sync_to_async(key_store.read_here)([public_id])
        return found.get(public_id)

    def note_used(self, key_id: object) -> None:
        """See KeyCache.note_used(). Nobody writes it down."""
