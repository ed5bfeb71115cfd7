"""Single calls as CSV or JSON, a batch at a time: however many there are, a few thousand are in memory.

Batches are read by the primary key, each with a query of its own, so that no cursor and no transaction stays open while
a reader is slow. Money is in dollars and exact.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async

from ai_gateway.models import UsageRecord
from ai_gateway.models.base import as_told
from ai_gateway.models.usage_queries import UsageRecordQuerySet
from ai_gateway.money import exact

BATCH = 2000
"""Calls that are read with one query, and written at once."""

FIELDS = [field.attname for field in UsageRecord._meta.concrete_fields]

DOLLARS = {"cost_nanos": "cost", "saved_nanos": "saved"}
"""Fields that are written in dollars, under another name."""

COLUMNS = [DOLLARS.get(name, name) for name in FIELDS]

FORMULA = "=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20"
"""How a text begins that a spreadsheet takes for a formula (OWASP, "CSV Injection"), the full-width signs included."""

_BEGINS = re.compile(rf"(?:^|(?<=[;\t]))(?=[{FORMULA}])")
"""Where a cell begins with one. Some spreadsheets take a semicolon or a tab for what separates cells."""

Row = Mapping[str, Any]


def safe(text: str) -> str:
    """Keep a spreadsheet from running a text: callers make some of the names up."""
    return _BEGINS.sub("'", text)


def as_csv(rows: Sequence[Row], *, is_first: bool) -> str:
    """Write a batch as CSV, as RFC 4180 has it, with a line of names before the first."""
    text = io.StringIO()
    writer = csv.writer(text)
    if is_first:
        writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, list | dict):
        return safe(json.dumps(value, ensure_ascii=False))
    return "" if value is None else int(value) if isinstance(value, bool) else value


def as_jsonl(rows: Sequence[Row], *, is_first: bool) -> str:
    """Write a batch as JSON, a line for each call."""
    return "".join(f"{json.dumps(row, ensure_ascii=False, default=str)}\n" for row in rows)


FORMATS: dict[str, Callable[..., str]] = {"csv": as_csv, "jsonl": as_jsonl}

CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}


def _read(rows: UsageRecordQuerySet, last: Any) -> list[dict[str, Any]]:
    page = rows.order_by("pk") if last is None else rows.order_by("pk").filter(pk__gt=last)
    return [_plain(row) for row in page.values(*FIELDS)[:BATCH]]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in row.items():
        if name in DOLLARS:
            plain[DOLLARS[name]] = None if value is None else exact(value)
        elif isinstance(value, datetime):
            plain[name] = as_told(value).astimezone(UTC).isoformat().replace("+00:00", "Z")
        else:
            plain[name] = str(value) if name == "id" else value
    return plain


def stream(rows: UsageRecordQuerySet, format: str, wrote: Callable[[int], None] | None = None) -> Iterator[str]:
    """Write calls in one of FORMATS, the oldest first. `wrote` is told how many a batch has when it is written."""
    write, last = FORMATS[format], None
    while True:
        batch = _read(rows, last)
        if batch or last is None:
            yield write(batch, is_first=last is None)
        if wrote is not None:
            wrote(len(batch))
        if len(batch) < BATCH:
            return
        last = batch[-1]["id"]


async def astream(rows: UsageRecordQuerySet, format: str) -> AsyncIterator[str]:
    """Do the same on an event loop, with the database asked in a thread."""
    pieces = stream(rows, format)
    following = sync_to_async(lambda: next(pieces, None))
    while (piece := await following()) is not None:
        yield piece
