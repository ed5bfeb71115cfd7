"""The two ways to serve the site of the tests: inside the gateway, and by Django's handler alone."""

from __future__ import annotations

import django.core.asgi

import ai_gateway.asgi
from ai_gateway import registry
from tests.wire import site_settings

application = ai_gateway.asgi.get_asgi_application()
stock = django.core.asgi.get_asgi_application()

if not site_settings.PUBLISHED_PRICES:
    registry.price_catalogue = None
