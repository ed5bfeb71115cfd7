"""A site with the gateway below a prefix."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("portal/", include("ai_gateway.portal.urls")),
    path("ai/", include("ai_gateway.urls")),
]
