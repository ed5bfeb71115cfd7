"""How long do the sums of a dashboard take? A million calls and their days in SQLite, and the plan of each query.

    python -m tests.benchmarks.usage_queries [--records 1000000] [--days 90] [--keys 100] [--database FILE]

Each key belongs to one of half as many users, and uses three models. A query is run fifteen times and the least counts:
SQLite works in this process, so its CPU time is what a query takes on a machine that has nothing else to do.
With `--database` the file is kept, and used again the next time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

MODELS = [("openai", f"gpt-{number}") for number in range(6)] + [
    ("anthropic", f"claude-{number}") for number in range(6)
]
ROUNDS = 15
BOUND = 50.0
"""Milliseconds that a query of days may take."""

END = date(2026, 11, 28)


def set_up(path: Path) -> None:
    """Set Django up with a database in this file."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    settings.DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}}
    django.setup()


def calls(count: int, days: int, keys: int) -> Iterator[dict[str, Any]]:
    """Make calls in the order of their time, each as the columns that differ."""
    chance = random.Random(1)
    uses = [chance.sample(MODELS, 3) for _ in range(keys)]
    begin = datetime.combine(END - timedelta(days=days - 1), datetime.min.time(), UTC)
    for number in range(count):
        at = begin + timedelta(days=days) * (number / count)
        key = chance.randrange(keys)
        provider, model = uses[key][min(int(chance.expovariate(1.2)), 2)]
        yield {
            "id": f"{int(at.timestamp() * 1000):012x}7{number:019x}",
            "started_at": at.strftime("%Y-%m-%d %H:%M:%S.%f"),
            "day": at.date().isoformat(),
            "key_id": key + 1,
            "key_name": f"key-{key}",
            "user_id": key // 2 + 1,
            "group_id": key % 20 + 1,
            "provider": provider,
            "served_model": model,
            "route": "fast" if key % 3 else "",
            "input_tokens": chance.randrange(20, 4000),
            "output_tokens": chance.randrange(5, 800),
            "duration_ms": chance.randrange(200, 20_000),
            "cost_nanos": chance.randrange(10_000, 90_000_000),
            "outcome": "failed" if chance.random() < 0.02 else "answered",
        }


SHARED = ("key_id", "key_name", "user_id", "group_id", "provider", "served_model", "route")
SUMMED = ("input_tokens", "output_tokens", "duration_ms", "cost_nanos")


def fill(path: Path, count: int, days: int, keys: int) -> None:
    """Write the calls, and the days that they add up to."""
    from ai_gateway.models import UsageDaily, UsageRecord

    sums: dict[tuple[Any, ...], defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    record = insert(UsageRecord, ["id", "started_at", "outcome", *SHARED, *SUMMED])
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA synchronous=OFF")
        batch = []
        for call in calls(count, days, keys):
            slot = sums[(call["day"], *(call[name] for name in SHARED))]
            slot["requests"] += 1
            slot["errors"] += call["outcome"] == "failed"
            for name in SUMMED:
                slot[name] += call[name]
            batch.append(call)
            if len(batch) == 10_000:
                database.executemany(record, batch)
                batch.clear()
        database.executemany(record, batch)
        rows = [
            {
                "day": place[0],
                "slot": hashlib.blake2b(repr(place).encode(), digest_size=16).hexdigest(),
                **dict(zip(SHARED, place[1:], strict=True)),
                **{name: slot[name] for name in ("requests", "errors", *SUMMED)},
            }
            for place, slot in sums.items()
        ]
        chosen = ["day", "slot", "requests", "errors", *SHARED, *SUMMED]
        database.executemany(insert(UsageDaily, chosen), rows)


def insert(model: Any, chosen: list[str]) -> str:
    """Write the statement that inserts these columns, and the default of every other one."""
    values = {}
    for field in model._meta.concrete_fields:
        if field.column in chosen:
            values[field.column] = f":{field.column}"
        elif not field.null and not field.primary_key:
            values[field.column] = repr(int(field.default) if isinstance(field.default, bool | int) else "")
    return f"INSERT INTO {model._meta.db_table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"


def questions() -> dict[str, Callable[[], Any]]:
    """Name what a dashboard asks."""
    from ai_gateway.models import UsageDaily, UsageRecord

    days, today, month = UsageDaily.objects, END, END.replace(day=1)
    week, quarter = END - timedelta(days=6), END - timedelta(days=89)
    return {
        "today, all": lambda: days.between(today).totals(),
        "this month, all": lambda: days.between(month).totals(),
        "this month, what it cost": lambda: days.between(month).cost(),
        "7 days by model": lambda: days.between(week).group_totals("provider", "model"),
        "7 days by day": lambda: days.between(week).group_totals("day"),
        "7 days by user": lambda: days.between(week).group_totals("user"),
        "this month by model": lambda: days.between(month).group_totals("provider", "model"),
        "this month by day": lambda: days.between(month).group_totals("day"),
        "this month by user": lambda: days.between(month).group_totals("user"),
        "this month by key": lambda: days.between(month).group_totals("key"),
        "this month of a user, by model": lambda: days.between(month).by_user(7).group_totals("model"),
        "this month of a group, by key": lambda: days.between(month).by_group(7).group_totals("key"),
        "a quarter of a user, by day": lambda: days.between(quarter).by_user(7).group_totals("day"),
        "a key, in total": lambda: days.by_key(13).totals(),
        "a quarter of a model, by day": lambda: days.between(quarter).by_model("gpt-1").group_totals("day"),
        "a quarter, all": lambda: days.between(quarter).totals(),
        "(records) the newest 51": lambda: list(UsageRecord.objects.order_by("-id")[:51]),
        "(records) the newest 51 of a user": lambda: list(UsageRecord.objects.by_user(7).order_by("-started_at")[:51]),
        "(records) an hour by model": lambda: UsageRecord.objects.between(
            datetime(2026, 11, 28, 12, tzinfo=UTC), datetime(2026, 11, 28, 13, tzinfo=UTC)
        ).group_totals("model"),
    }


def measure(ask: Callable[[], Any]) -> tuple[float, float, list[str]]:
    """Give the least CPU time and the least time in milliseconds, Django's own share included, and the query's plan."""
    with CaptureQueriesContext(connection) as captured:
        ask()
    cpu, wall = [], []
    for _ in range(ROUNDS):
        began, worked = time.perf_counter(), time.process_time()
        ask()
        wall.append((time.perf_counter() - began) * 1e3)
        cpu.append((time.process_time() - worked) * 1e3)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {captured.captured_queries[0]['sql']}")
        return min(cpu), min(wall), [row[3] for row in cursor.fetchall()]


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--database", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.database or Path(folder) / "usage.sqlite3"
        is_new = not path.exists()
        set_up(path)
        if is_new:
            began = time.perf_counter()
            call_command("migrate", verbosity=0)
            fill(path, options.records, options.days, options.keys)
            print(f"filled in {time.perf_counter() - began:.0f} s, {path.stat().st_size / 1e6:.0f} MB")
        report()


def report() -> None:
    """Print how many rows there are, and a line for each query."""
    from ai_gateway.models import UsageDaily, UsageRecord

    print(f"{UsageRecord.objects.count():,} records, {UsageDaily.objects.count():,} days\n")
    for name, ask in questions().items():
        cpu, wall, plan = measure(ask)
        mark = "  TOO SLOW" if cpu > BOUND and not name.startswith("(") else ""
        print(f"{cpu:8.1f} ms CPU {wall:8.1f} ms  {name}{mark}\n{' ' * 28}{'; '.join(plan)}")


if __name__ == "__main__":
    main()
