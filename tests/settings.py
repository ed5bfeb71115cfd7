"""Settings for the tests that run inside the test process."""

from __future__ import annotations

import os
from pathlib import Path

from example_project import database

ROOT = Path(__file__).resolve().parent.parent

SECRET_KEY = "only-for-tests-and-long-enough-to-please-the-checks-of-django"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.urls"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "corsheaders",
    "ai_gateway",
]

MIDDLEWARE = [
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
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

# `.ci/matrix` names a server here. What is about one database in particular starts its own in any case.
DATABASES = {"default": database.parse(os.environ.get("TEST_DATABASE_URL", "sqlite://:memory:"), ROOT)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Django before 6.1 does not read this.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

AI_GATEWAY = {"ALLOW_PRIVATE_UPSTREAMS": True}
