"""The gateway as it is measured: one provider, one gateway key, no middleware. The environment chooses the door."""

from __future__ import annotations

import os

import django
from django.conf import settings
from django.urls import include, path

from tests.benchmarks.wire import GATEWAY_KEY, PROVIDER_KEY

settings.configure(
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "ai_gateway"],
    MIDDLEWARE=[],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    LOGGING_CONFIG=None,
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
        "DIRECT_DOOR": os.environ["BENCHMARK_DOOR"] == "direct",
        "TRANSPORT": {"OPTIONS": {"max_connections": 2000}},
    },
)
django.setup()

# Only now: the application reads the settings while it is imported.
from ai_gateway.asgi import get_asgi_application  # noqa: E402

urlpatterns = [path("", include("ai_gateway.urls"))]
application = get_asgi_application()
