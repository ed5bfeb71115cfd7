"""Rows of usage that tests begin with: records, and the days that are the sums of them."""

from __future__ import annotations

import hashlib
import itertools
import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ai_gateway.conf import settings
from ai_gateway.histograms import DURATION, DURATION_BOUNDS, FIRST_TOKEN, FIRST_TOKEN_BOUNDS, tally
from ai_gateway.models import UsageDaily, UsageRecord
from ai_gateway.models.usage_queries import BUCKETS, FAILURES

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DOLLAR = 1_000_000_000
SHARED = ("key_id", "key_name", "user_id", "group_id", "provider", "served_model", "route")
SUMMED = (*BUCKETS, "duration_ms", "bytes_out", "saved_nanos")


_numbers = itertools.count()


def next_id(at: datetime) -> uuid.UUID:
    """Make an id that begins with the time, as all have, and comes after those of the same time."""
    return uuid.UUID(f"{int(at.timestamp() * 1000):012x}7000{8 << 60 | next(_numbers):016x}")


def record(at: datetime = NOON, **fields: Any) -> UsageRecord:
    """A call that was answered, unless the fields say something else. It is not saved."""
    usual = {
        "id": next_id(at),
        "request_id": f"req_{uuid.uuid4().hex[:12]}",
        "started_at": at,
        "outcome": "answered",
        "status": 200,
        "provider": "openai",
        "served_model": "gpt-5-mini",
        "model": "fast",
        "dialect": "openai_chat",
        "endpoint": "chat/completions",
        "input_tokens": 100,
        "output_tokens": 20,
        "duration_ms": 900,
        "cost_nanos": DOLLAR // 100,
    }
    return UsageRecord(**{**usual, **fields})


def days_of(records: Iterable[UsageRecord]) -> list[UsageDaily]:
    """Sum records up by day and by whatever else days tell apart. They are not saved."""
    zone = ZoneInfo(settings.TIME_ZONE)
    sums: dict[tuple[Any, ...], UsageDaily] = {}
    for each in records:
        day = each.started_at.astimezone(zone).date()
        shared = {name: getattr(each, name) for name in SHARED}
        slot = hashlib.blake2b(repr(shared).encode(), digest_size=16).hexdigest()
        row = sums.setdefault((day, slot), UsageDaily(day=day, slot=slot, **shared))
        _add(row, each)
    return list(sums.values())


def _add(row: UsageDaily, each: UsageRecord) -> None:
    added: defaultdict[str, int] = defaultdict(int)
    added["requests"] = 1
    added["errors"] = int(each.outcome in FAILURES)
    added["limited"] = int(each.outcome == "limited")
    added["cached"] = int(each.outcome == "cached")
    added["estimated"] = int(each.is_estimated)
    added["unpriced"] = int(each.cost_nanos is None)
    added["cost_nanos"] = each.cost_nanos or 0
    if each.first_token_ms is not None:
        added["first_tokens"], added["first_token_ms"] = 1, each.first_token_ms
        added.update(zip(FIRST_TOKEN, tally([each.first_token_ms], FIRST_TOKEN_BOUNDS), strict=True))
    added.update(zip(DURATION, tally([each.duration_ms], DURATION_BOUNDS), strict=True))
    for name in SUMMED:
        added[name] = getattr(each, name)
    for name, value in added.items():
        setattr(row, name, getattr(row, name) + value)


def save(*records: UsageRecord) -> None:
    """Save records, and the days that they add up to."""
    UsageRecord.objects.bulk_create(records, batch_size=500)
    UsageDaily.objects.bulk_create(days_of(records), batch_size=500)


def some_days(count: int, **fields: Any) -> list[UsageRecord]:
    """A call a day, the last one at noon of the day that all tests have for today."""
    return [record(NOON - timedelta(days=number), **fields) for number in range(count)]
