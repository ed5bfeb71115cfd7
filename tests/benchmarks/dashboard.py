"""How long does the dashboard take with the sums of ten million calls in a year? It is asked as a superuser would.

    python -m tests.benchmarks.dashboard [--rows 200000] [--labels 100000] [--postgresql DSN]

Without `--postgresql` (as `host=127.0.0.1 port=5432 user=me dbname=empty`) SQLite is used. The rows are days, of 400
keys of 200 users that use some of twelve models, and days of labels, of new sessions every day. Each page is asked five
times.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

CALLS = 10_000_000
DAYS = 365
ROUNDS = 5
BOUND = 300.0
"""Milliseconds that a page may take."""

PAGES = ("", "period=30d", "period=90d", "period=90d&by=key", "by=user", "by=session", "provider=openai", "user=3")

MODELS = [("openai", f"gpt-{number}") for number in range(6)] + [
    ("anthropic", f"claude-{number}") for number in range(6)
]


def set_up(folder: str, dsn: str | None) -> None:
    """Set Django up with an empty database."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    database: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(Path(folder) / "db.sqlite3")}
    if dsn:
        given = dict(part.split("=", 1) for part in dsn.split())
        names = {"host": "HOST", "port": "PORT", "user": "USER", "dbname": "NAME", "password": "PASSWORD"}
        database = {"ENGINE": "django.db.backends.postgresql"} | {names[name]: value for name, value in given.items()}
    settings.DATABASES = {"default": database}
    settings.ALLOWED_HOSTS = ["*"]
    django.setup()
    call_command("migrate", verbosity=0)


def fill(rows: int, labels: int) -> None:
    """Write a day, and copy it to all days before: with other costs, and other sessions."""
    from ai_gateway.histograms import DURATION, FIRST_TOKEN
    from ai_gateway.models import UsageDaily, UsageLabelDaily

    chance = random.Random(1)
    today = datetime.now(UTC).date()
    days = []
    for number in range(rows // DAYS):
        key, requests = number % 400, chance.randrange(1, 2 * CALLS // rows)
        provider, model = MODELS[(key + number // 400) % len(MODELS)]
        values = {
            **{"day": today, "slot": f"{number:032x}", "key_id": key, "key_name": f"key-{key}"},
            **{"user_id": key // 2, "group_id": key % 20, "provider": provider, "served_model": model},
            **{"route": "fast" if key % 3 else "", "requests": requests, "errors": requests // 50},
            **{"input_tokens": requests * 900, "output_tokens": requests * 200},
            **dict.fromkeys((*DURATION, *FIRST_TOKEN), requests // 13),
            "cost_nanos": requests * chance.randrange(1, 9_000_000),
        }
        days.append(UsageDaily(**values))
    UsageDaily.objects.bulk_create(days, batch_size=200)
    sessions = (
        UsageLabelDaily(
            **{"day": today, "slot": f"{number:032x}", "kind": "session", "value": f"s-{number}"},
            **{"key_id": number % 400, "user_id": number % 200, "requests": 9, "tokens": 9000},
            cost_nanos=chance.randrange(1, 90_000_000),
        )
        for number in range(labels // DAYS)
    )
    UsageLabelDaily.objects.bulk_create(sessions, batch_size=500)
    with transaction.atomic():
        for back in range(1, DAYS):
            day = today - timedelta(days=back)
            copy(UsageDaily, today, day, {"cost_nanos": f"cost_nanos * {chance.randrange(50, 150)} / 100"})
            copy(UsageLabelDaily, today, day, {"value": f"value || '-{back}'"})


def copy(model: Any, of: date, to: date, changes: dict[str, str]) -> None:
    """Copy a day's rows to another day, with some columns changed."""
    quote = connection.ops.quote_name
    columns = [field.column for field in model._meta.concrete_fields if not field.primary_key]
    into = ", ".join(map(quote, columns))
    values = ", ".join("%s" if name == "day" else changes.get(name, quote(name)) for name in columns)
    table = quote(model._meta.db_table)
    with connection.cursor() as cursor:
        sql = f"INSERT INTO {table} ({into}) SELECT {values} FROM {table} WHERE day = %s"
        adapt = connection.ops.adapt_datefield_value
        cursor.execute(
            sql.replace("%s,", "CAST(%s AS date),", 1) if connection.vendor == "postgresql" else sql,
            [adapt(to), adapt(of)],
        )


def report() -> None:
    """Print a line for each page: the first time, and the median."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    from ai_gateway.models import UsageDaily, UsageLabelDaily

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    people: Any = get_user_model()
    client = Client()
    client.force_login(people.objects.create_superuser("boss"))
    print(f"{connection.vendor}: {UsageDaily.objects.count():,} days, {UsageLabelDaily.objects.count():,} of labels\n")
    client.get("/admin/ai_gateway/")  # Templates are read once.
    for page in PAGES:
        taken, worked = [], []
        for _ in range(ROUNDS):
            began, cpu = time.perf_counter(), time.process_time()
            response = client.get(f"/admin/ai_gateway/dashboard/?{page}")
            taken.append((time.perf_counter() - began) * 1e3)
            worked.append((time.process_time() - cpu) * 1e3)
            assert response.status_code == 200
        mark = "  TOO SLOW" if min(worked) > BOUND else ""
        print(
            f"first {taken[0]:6.0f} ms, median {statistics.median(taken):6.0f} ms, least {min(taken):6.0f} ms, "
            f"CPU {min(worked):6.0f} ms, {len(response.content) // 1024:4} KB  {page or 'as it opens'}{mark}"
        )


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--labels", type=int, default=100_000)
    parser.add_argument("--postgresql")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        set_up(folder, options.postgresql)
        began = time.perf_counter()
        fill(options.rows, options.labels)
        print(f"filled in {time.perf_counter() - began:.0f} s")
        report()


if __name__ == "__main__":
    main()
