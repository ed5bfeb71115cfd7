"""A site with the portal."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("portal/", include("ai_gateway.portal.urls")),
    path("", include("ai_gateway.urls")),
]
