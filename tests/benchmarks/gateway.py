"""The gateway as it is measured: one provider, one gateway key, no middleware; or with everything on.

The environment chooses the door and what is on, so that the cost of each thing can be told from the rest:

    key       a virtual key of the database, in place of one in the settings
    route     a route whose second target would be asked if the first failed, in place of a model's own name
    usage     every call is written down in a database of SQLite
    prices    and has a cost
    limits    four limits hold: requests, tokens and calls at once, and a budget; in the process, or in Redis
    log       a line of JSON for every call, into a file

`python -m tests.benchmarks.gateway` gets the database ready, and prints the virtual key.
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
from tests.benchmarks.wire import GATEWAY_KEY, MODELS, PROVIDER_KEY, ROUTE_PREFIX

FEATURES = frozenset(os.environ.get("BENCHMARK_FEATURES", "").split())
DATABASE = os.environ.get("BENCHMARK_DATABASE", "")
"""The path of a database. Empty: there is none, and no feature that needs one."""

LIMITS = [
    {"name": "everybody", "scope": "everyone", "measure": "requests", "window": "minute", "amount": 10**9},
    {"name": "tokens", "scope": "key", "measure": "tokens", "window": "minute", "amount": 10**12},
    {"name": "at once", "scope": "key", "measure": "concurrency", "amount": 10**6},
    {"name": "budget", "scope": "key", "measure": "cost", "window": "month", "amount": 10**6},
]


def provider() -> dict[str, Any]:
    """The mock upstream as a provider."""
    base_url = os.environ["BENCHMARK_UPSTREAM"] + "/v1"
    return {"BACKEND": "openai", "OPTIONS": {"base_url": base_url, "api_key": PROVIDER_KEY, "allow_private": True}}


def accounting() -> dict[str, Any]:
    """The settings of what is on."""
    chosen: dict[str, Any] = {"USAGE": "usage" in FEATURES}
    if DATABASE:
        chosen |= {"USAGE_JOURNAL": DATABASE + "-journal-of-usage"}
    if "limits" in FEATURES:
        redis = os.environ.get("BENCHMARK_REDIS")
        store = {"BACKEND": "redis", "OPTIONS": {"url": redis}} if redis else {"BACKEND": "memory"}
        chosen |= {"LIMITS": LIMITS, "LIMIT_STORE": store}
    if "prices" in FEATURES:
        chosen |= {"PRICES": [{"model": "mock*", "input": 1.25, "cache_read": 0.125, "output": 10}]}
    if "route" in FEATURES:
        chosen |= {"ROUTES": {ROUTE_PREFIX + model: [f"openai/{model}", f"spare/{model}"] for model in MODELS}}
    return chosen


def logging() -> dict[str, Any] | None:
    """Django's LOGGING: a file that nobody waits for, or nothing."""
    if "log" not in FEATURES:
        return None
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "ai_gateway.telemetry.logs.JsonFormatter"}},
        "handlers": {"calls": {"class": "logging.FileHandler", "filename": DATABASE + "-log", "formatter": "json"}},
        "loggers": {"ai_gateway.calls": {"level": "INFO", "handlers": ["calls"], "propagate": False}},
    }


settings.configure(
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="tests.benchmarks.gateway",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "ai_gateway"],
    MIDDLEWARE=[],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    LOGGING_CONFIG="logging.config.dictConfig" if logging() else None,
    LOGGING=logging() or {},
    USE_TZ=True,
    DATABASES={"default": database.sqlite(Path(DATABASE))} if DATABASE else {},
    AI_GATEWAY={
        "PROVIDERS": {"openai": provider(), "spare": provider()},
        "KEYS": {"benchmark": GATEWAY_KEY},
        **accounting(),
        "DIRECT_DOOR": os.environ["BENCHMARK_DOOR"] == "direct",
        "TRANSPORT": {"OPTIONS": {"max_connections": 2000}},
    },
)


def prepare() -> str:
    """Make the tables and a virtual key, and give the key."""
    from django.contrib.auth.models import User

    from ai_gateway.models import VirtualKey

    call_command("migrate", verbosity=0)
    key = VirtualKey(user=User.objects.create(username="benchmark"), name="benchmark")
    token = key.issue()
    key.save()
    return token


if __name__ == "__main__":
    django.setup()
    print(prepare())
else:
    # Only now: the application reads the settings while it is imported.
    from ai_gateway.asgi import get_asgi_application

    urlpatterns = [path("", include("ai_gateway.urls"))]
    application = get_asgi_application()
