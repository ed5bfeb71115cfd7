"""Writes down what was used, off the path of the calls."""

from __future__ import annotations

from ai_gateway.meter import Entry


class Ledger:
    """The writer of this process."""

    is_committed = False
    """Whether a call's last byte waits until its entry is written (`USAGE_DURABILITY`)."""

    def put(self, entry: Entry) -> None:
        """Take an entry, to be written soon. Never waits, never fails."""

    async def commit(self, entry: Entry) -> None:
        """Take an entry, and wait until it is durable."""

    def start(self) -> None:
        """Start the thread if it does not run yet."""

    def stop(self) -> None:
        """Write what there is, to the journal what the database does not take in time, and end the thread."""


ledger: Ledger | None = None
"""The one of this process. The app's `ready()` puts it here."""
