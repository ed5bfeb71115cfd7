"""The gateway as it is measured: one provider, one gateway key, no middleware.

The environment chooses the door, and whether calls are accounted for: priced, held to four limits, and written down in
a database of SQLite; the limits are counted in the process or in Redis.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.urls import include, path

from example_project import database
from tests.benchmarks.wire import GATEWAY_KEY, PROVIDER_KEY

DATABASE = os.environ.get("BENCHMARK_DATABASE", "")
"""The path of a database. Empty: nothing is accounted for."""

LIMITS = [
    {"name": "everybody", "scope": "everyone", "measure": "requests", "window": "minute", "amount": 10**9},
    {"name": "tokens", "scope": "key", "measure": "tokens", "window": "minute", "amount": 10**12},
    {"name": "at once", "scope": "key", "measure": "concurrency", "amount": 10**6},
    {"name": "budget", "scope": "key", "measure": "cost", "window": "month", "amount": 10**6},
]
ACCOUNTING: dict[str, Any] = {"USAGE": False}
if DATABASE:
    redis = os.environ.get("BENCHMARK_REDIS")
    store: dict[str, Any] = {"BACKEND": "redis", "OPTIONS": {"url": redis}} if redis else {"BACKEND": "memory"}
    ACCOUNTING = {
        "LIMITS": LIMITS,
        "LIMIT_STORE": store,
        "PRICES": [{"model": "mock*", "input": 1.25, "cache_read": 0.125, "output": 10}],
        "USAGE_JOURNAL": DATABASE + "-journal-of-usage",
    }

settings.configure(
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "ai_gateway"],
    MIDDLEWARE=[],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    LOGGING_CONFIG=None,
    USE_TZ=True,
    DATABASES={"default": database.sqlite(Path(DATABASE))} if DATABASE else {},
    AI_GATEWAY={
        "PROVIDERS": {
            "openai": {
                "OPTIONS": {
                    "base_url": os.environ["BENCHMARK_UPSTREAM"] + "/v1",
                    "api_key": PROVIDER_KEY,
                    "allow_private": True,
                }
            }
        },
        "KEYS": {"benchmark": GATEWAY_KEY},
        **ACCOUNTING,
        "DIRECT_DOOR": os.environ["BENCHMARK_DOOR"] == "direct",
        "TRANSPORT": {"OPTIONS": {"max_connections": 2000}},
    },
)
django.setup()
if DATABASE:
    call_command("migrate", verbosity=0)

# Only now: the application reads the settings while it is imported.
from ai_gateway.asgi import get_asgi_application  # noqa: E402

urlpatterns = [path("", include("ai_gateway.urls"))]
application = get_asgi_application()
