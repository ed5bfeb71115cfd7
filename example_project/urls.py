"""The admin, the portal with its login, their static files, and the gateway at the root."""

from __future__ import annotations

from contextlib import closing

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.contrib.staticfiles.views import serve
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import include, path
from django.views.generic import RedirectView


def static_file(request: HttpRequest, path: str) -> HttpResponseBase:
    """Serve a file of the pages, whole. A server in front may serve STATIC_ROOT instead, and then nothing gets here."""
    found = serve(request, path, insecure=True)
    if not found.streaming:
        return found
    with closing(found):
        return HttpResponse(found.getvalue(), headers=dict(found.items()))


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="ai_gateway_portal:keys")),
    path("admin/", admin.site.urls),
    path("accounts/login/", LoginView.as_view(template_name="ai_gateway/portal/login.html"), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("portal/", include("ai_gateway.portal.urls")),
    path("static/<path:path>", static_file),
    path("", include("ai_gateway.urls")),
]
