"""Settings of the stand-alone gateway. Everything that differs between installations comes from the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ai_gateway import cors, environment
from example_project import database, secret_key

BASE_DIR = Path(__file__).resolve().parent.parent


def text(name: str, default: str = "") -> str:
    """Read a variable; an empty one counts as not set."""
    return os.environ.get(name, "").strip() or default


def flag(name: str) -> bool:
    """Read a variable that is true or false, and false when not set."""
    return environment.read_boolean(name, text(name, "false"))


DEBUG = flag("DEBUG")
SECRET_KEY = text("SECRET_KEY") or secret_key.read_or_create(BASE_DIR / ".secret_key")
ALLOWED_HOSTS = environment.read_list(text("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]"))

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "ai_gateway",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"

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

# Storage

DATABASES = {"default": database.parse(text("DATABASE_URL", "sqlite:///db.sqlite3"), BASE_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if REDIS_URL := text("REDIS_URL"):
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

# The gateway

AI_GATEWAY = {
    **environment.from_environ(os.environ),
    # The key that encrypts credentials in the database; `rungateway` makes one in a file if there is none yet.
    "ENCRYPTION_KEYS": [
        "env:AI_GATEWAY_ENCRYPTION_KEYS",
        f"file:{database.folder(DATABASES, BASE_DIR)}/.encryption_key",
    ],
}

if REDIS_URL:
    # All workers of all hosts count together.
    AI_GATEWAY.setdefault("LIMIT_STORE", {"BACKEND": "redis", "OPTIONS": {"url": REDIS_URL}})

# People

LOGIN_REDIRECT_URL = "ai_gateway_portal:keys"
LOGOUT_REDIRECT_URL = "login"

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"

# Browsers of other origins

if CORS_ORIGINS := environment.read_list(text("CORS_ALLOWED_ORIGINS")):
    INSTALLED_APPS.append("corsheaders")
    # Before everything that may answer by itself: an answer without CORS headers cannot be read by the page.
    MIDDLEWARE.insert(0, "corsheaders.middleware.CorsMiddleware")
    CORS_ALLOW_HEADERS = cors.ALLOW_HEADERS
    CORS_EXPOSE_HEADERS = cors.EXPOSE_HEADERS
    CORS_URLS_REGEX = r"^/(v1|v1beta|health)(/|$)"
    if "*" in CORS_ORIGINS:
        CORS_ALLOW_ALL_ORIGINS = True
    else:
        CORS_ALLOWED_ORIGINS = CORS_ORIGINS

# Security

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

if flag("HTTPS"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    # A redirect would not unsend the credential, and a client of an API does not expect one.
    SECURE_REDIRECT_EXEMPT = [r"^(v1|v1beta|health|metrics)(/|$)", r"^api/hello$"]
    SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    # Sub-domains and the browsers' preload lists are not this project's to decide on.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# Language and time

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

# Log

LOG_LEVEL = text("LOG_LEVEL", "info").upper()
if LOG_LEVEL not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
    raise ImproperlyConfigured(
        f"LOG_LEVEL is {LOG_LEVEL.lower()!r}; it must be debug, info, warning, error or critical."
    )
LOG_FORMAT = text("GATEWAY_LOG_FORMAT", "line")
if LOG_FORMAT not in ("line", "json", "key-value"):
    raise ImproperlyConfigured(f"GATEWAY_LOG_FORMAT is {LOG_FORMAT!r}; it must be line, json or key-value.")
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "example_project.log_format.OneLineFormatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        },
        "json": {"()": "ai_gateway.telemetry.logs.JsonFormatter"},
        "key-value": {"()": "ai_gateway.telemetry.logs.KeyValueFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # Django gives this one a handler of its own, which would write every line twice.
        "django": {"handlers": [], "level": LOG_LEVEL, "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        # These write the address of every request, which may hold a credential.
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
    },
}
