"""Entries that tests hand to the ledger."""

from __future__ import annotations

from typing import Any

from ai_gateway.ids import new_id
from ai_gateway.meter import Entry

STARTED_AT = 1_790_000_000.0


def entry(**columns: Any) -> Entry:
    """A call that was answered, unless the columns say something else."""
    usual: dict[str, Any] = {"id": new_id(), "request_id": "req_1", "started_at": STARTED_AT, "outcome": "answered"}
    return Entry(**{**usual, **columns})
