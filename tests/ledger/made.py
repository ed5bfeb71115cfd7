"""Finished calls that tests begin with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ai_gateway.ids import new_id
from ai_gateway.meter import Entry

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0


def made(**columns: Any) -> Entry:
    """A call that was answered, unless the columns say something else."""
    usual: dict[str, Any] = {
        "id": new_id(),
        "request_id": "req_made",
        "started_at": NOON,
        "outcome": "answered",
        "status": 200,
        "key_name": "team-a",
        "provider": "openai",
        "served_model": "gpt-5-mini",
        "duration_ms": 900,
        "bytes_out": 4000,
        "input_tokens": 100,
        "output_tokens": 20,
        "cost_nanos": 10_000_000,
    }
    return Entry(**{**usual, **columns})
