"""Checks of how the gateway is built into the site: its transport, and its place among the URLs."""

from __future__ import annotations

import inspect

from django.conf import settings as site
from django.core.checks import CheckMessage, Error, register
from django.db import connections
from django.urls import NoReverseMatch, Resolver404, ResolverMatch, resolve, reverse
from django.utils.module_loading import import_string

from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings
from ai_gateway.gateway import DEFAULT_TRANSPORT
from ai_gateway.transports import Transport


@register(TAG)
def check_transport(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that the transport can be imported and takes its options."""
    if not is_sound("TRANSPORT"):
        return []
    path = settings.TRANSPORT.get("BACKEND", DEFAULT_TRANSPORT)
    try:
        backend = import_string(path)
    except ImportError as error:
        return [_no_transport(f"{path} cannot be imported: {error}")]
    if not (isinstance(backend, type) and issubclass(backend, Transport)):
        return [_no_transport(f"{path} is no subclass of ai_gateway.transports.Transport")]
    try:
        inspect.signature(backend).bind(**settings.TRANSPORT.get("OPTIONS", {}))
    except TypeError as error:
        return [_wrong_transport_options(path, backend, error)]
    return []


def _no_transport(what: str) -> CheckMessage:
    hint = f'Write "BACKEND": "{DEFAULT_TRANSPORT}" or "ai_gateway.transports.httpx.HttpxTransport".'
    return Error(f'AI_GATEWAY["TRANSPORT"]["BACKEND"] is wrong: {what}.', hint=hint, id="ai_gateway.E048")


def _wrong_transport_options(path: str, backend: type, error: TypeError) -> CheckMessage:
    names = ", ".join(inspect.signature(backend).parameters)
    message = f'AI_GATEWAY["TRANSPORT"]["OPTIONS"] does not suit {path}: {error}.'
    return Error(message, hint=f"Its options are: {names}.", id="ai_gateway.E049")


@register(TAG)
def check_urls(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that the gateway's views are where PREFIX says, and that Django can run them there."""
    if not is_sound("PREFIX") or not getattr(site, "ROOT_URLCONF", None):
        return []
    try:
        match = resolve(f"{settings.PREFIX}/v1/models")
    except Resolver404:
        return [_no_urls("is not served by this site")]
    if "ai_gateway" not in match.app_names and not match.func.__module__.startswith("ai_gateway."):
        view = f"{match.func.__module__}.{match.func.__qualname__}"
        return [_no_urls(f"leads to {view}, whose URL pattern comes first")]
    return [_atomic(alias) for alias in connections if _makes_atomic(alias, match)]


def _no_urls(what: str) -> CheckMessage:
    prefix = settings.PREFIX.lstrip("/") + "/" if settings.PREFIX else ""
    hint = f'Put path("{prefix}", include("ai_gateway.urls")) into urlpatterns, before whatever catches every path.'
    try:
        place = reverse("ai_gateway:alive").removesuffix("/health")
    except NoReverseMatch:
        place = settings.PREFIX
    if place != settings.PREFIX:
        hint = f'The urls are included at "{place}/": write "PREFIX": "{place}" in AI_GATEWAY.'
    return Error(f"{settings.PREFIX}/v1/models {what}.", hint=hint, id="ai_gateway.E050")


def _makes_atomic(alias: str, match: ResolverMatch) -> bool:
    excepted = getattr(match.func, "_non_atomic_requests", ())
    return bool(connections.settings[alias].get("ATOMIC_REQUESTS")) and alias not in excepted


def _atomic(alias: str) -> CheckMessage:
    return Error(
        f"DATABASES[{alias!r}] has ATOMIC_REQUESTS, with which Django refuses to run asynchronous views: every "
        "call that goes through the site fails.",
        hint='Write "ATOMIC_REQUESTS": False, and @transaction.atomic on the views that need it.',
        id="ai_gateway.E051",
    )
