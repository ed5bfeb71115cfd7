"""Settings of that site."""

from __future__ import annotations

SECRET_KEY = "only-for-tests-and-long-enough-to-please-the-checks-of-django"
USE_TZ = True
ROOT_URLCONF = "ai_gateway.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "tests.people", "ai_gateway"]
AUTH_USER_MODEL = "people.Person"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
