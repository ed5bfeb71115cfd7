"""Checks of django-cors-headers, where the site uses it: browsers reach the gateway through it."""

from __future__ import annotations

import re

from django.conf import settings as site
from django.core.checks import CheckMessage, Warning, register

from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings
from ai_gateway.cors import ALLOW_HEADERS
from ai_gateway.origins import CORS_MIDDLEWARE as MIDDLEWARE

COMMON = "django.middleware.common.CommonMiddleware"
ORIGINS = (
    *("CORS_ALLOWED_ORIGINS", "CORS_ALLOWED_ORIGIN_REGEXES", "CORS_ALLOW_ALL_ORIGINS"),
    *("CORS_ORIGIN_WHITELIST", "CORS_ORIGIN_REGEX_WHITELIST", "CORS_ORIGIN_ALLOW_ALL"),
)
"""Settings that let origins in, with their old names."""


@register(TAG)
def check_cors(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that what the site says of CORS reaches the gateway's callers. A site that lets no origin in is silent."""
    if not any(getattr(site, name, None) for name in ORIGINS) or not _concerns_the_gateway():
        return []
    middleware = list(site.MIDDLEWARE)
    if MIDDLEWARE not in middleware:
        return [_no_middleware()]
    return [
        *([_after_common()] if COMMON in middleware[: middleware.index(MIDDLEWARE)] else []),
        *([_all_with_credentials()] if _allows_all() and getattr(site, "CORS_ALLOW_CREDENTIALS", False) else []),
        *_missing_headers(),
    ]


def _concerns_the_gateway() -> bool:
    path = f"{settings.PREFIX if is_sound('PREFIX') else ''}/v1/chat/completions"
    return re.match(getattr(site, "CORS_URLS_REGEX", ""), path) is not None


def _allows_all() -> bool:
    return bool(getattr(site, "CORS_ALLOW_ALL_ORIGINS", False) or getattr(site, "CORS_ORIGIN_ALLOW_ALL", False))


def _no_middleware() -> CheckMessage:
    return Warning(
        "The settings let origins in (CORS_…), but no middleware answers browsers: every call from a page fails.",
        hint='pip install "django-ai-gateway[cors]", add "corsheaders" to INSTALLED_APPS '
        f'and "{MIDDLEWARE}" to MIDDLEWARE, before "{COMMON}".',
        id="ai_gateway.W067",
    )


def _after_common() -> CheckMessage:
    return Warning(
        "CorsMiddleware comes after CommonMiddleware: browsers hide what that answers, for lack of headers.",
        hint=f'Move "{MIDDLEWARE}" before "{COMMON}" in MIDDLEWARE.',
        id="ai_gateway.W068",
    )


def _all_with_credentials() -> CheckMessage:
    return Warning(
        "CORS_ALLOW_ALL_ORIGINS together with CORS_ALLOW_CREDENTIALS lets every page on the internet act as "
        "whoever is logged in to this site.",
        hint="Remove CORS_ALLOW_CREDENTIALS (the gateway ignores cookies), or list CORS_ALLOWED_ORIGINS.",
        id="ai_gateway.W069",
    )


def _missing_headers() -> list[CheckMessage]:
    allowed = {name.lower() for name in getattr(site, "CORS_ALLOW_HEADERS", ())}
    missing = [name for name in ALLOW_HEADERS if name.lower() not in allowed]
    if not missing or "*" in allowed:
        return []
    message = (
        f"CORS_ALLOW_HEADERS lacks {len(missing)} headers that AI clients in a browser send, {missing[0]} among them."
    )
    hint = "Write: from ai_gateway.cors import ALLOW_HEADERS; CORS_ALLOW_HEADERS = [*ALLOW_HEADERS]"
    return [Warning(message, hint=hint, id="ai_gateway.W070")]
