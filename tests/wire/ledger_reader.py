"""What a gateway of the tests has written down, read from its SQLite file as another program would."""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

PATIENCE = 20.0

_numbers = itertools.count(1)


def new_request_id() -> str:
    """Make an id by which a test finds its own call among all others."""
    return f"test-{os.getpid()}-{next(_numbers):06d}"


class LedgerReader:
    """Reads usage records."""

    def __init__(self, path: str) -> None:
        self._path = path

    def query(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Read rows."""
        connection = sqlite3.connect(self._path, timeout=PATIENCE)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(sql, values)]
        finally:
            connection.close()

    def entries(self, request_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Wait until all of these calls are written down, and give them in this order. None may be there twice."""
        deadline = time.monotonic() + PATIENCE
        marks = ", ".join("?" * len(request_ids))
        while True:
            found = self.query(f"SELECT * FROM ai_gateway_usagerecord WHERE request_id IN ({marks})", *request_ids)
            if len(found) >= len(request_ids) or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        assert sorted(row["request_id"] for row in found) == sorted(request_ids)
        return sorted(found, key=lambda row: request_ids.index(row["request_id"]))

    def entry(self, request_id: str) -> dict[str, Any]:
        """Wait until a call is written down."""
        return self.entries([request_id])[0]
