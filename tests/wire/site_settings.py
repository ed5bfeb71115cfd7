"""An ordinary Django site with the default middleware, as a gateway process of the tests runs it.

`AI_GATEWAY` and whatever else a test wants otherwise come as JSON in an environment variable.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from typing import Any

from ai_gateway.cors import ALLOW_HEADERS

OVERRIDES: dict[str, Any] = json.loads(os.environ["AI_GATEWAY_TEST_SETTINGS"])

SECRET_KEY = "only-for-tests-and-long-enough-to-please-the-checks-of-django"
ALLOWED_HOSTS = ["gateway.test", "127.0.0.1", "localhost"]
DEBUG = False
USE_TZ = True
ROOT_URLCONF = "tests.wire.site_urls"
INSTALLED_APPS = [
    "django.contrib.admin.apps.SimpleAdminConfig",  # No page of it is served, so nothing need be found for it.
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "ai_gateway",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
STATIC_URL = "static/"
PUBLISHED_PRICES = False
"""Whether the gateway knows the prices of `genai-prices`. To load them takes a quarter of the time until it serves."""
CORS_ALLOWED_ORIGINS = ["https://app.example"]
CORS_ALLOW_HEADERS = [*ALLOW_HEADERS]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    # Django logs a stranger's host header with a traceback, which the tests take for a sign of a crash.
    "loggers": {"django.security.DisallowedHost": {"handlers": [], "propagate": False}},
}

globals().update(OVERRIDES)

# Gateways with the same database share a journal, as they do in production; others must not get to see it.
_database = hashlib.sha256(json.dumps(DATABASES, sort_keys=True).encode()).hexdigest()[:16]
AI_GATEWAY = {"USAGE_JOURNAL": f"{tempfile.gettempdir()}/gateway-test-journal-{_database}", **OVERRIDES["AI_GATEWAY"]}
