"""The table of contents. Include it at "" so that clients find `/v1`; elsewhere, tell the direct door by PREFIX."""

from django.urls import path, re_path

from ai_gateway import views
from ai_gateway.conf import settings

app_name = "ai_gateway"

urlpatterns = [
    # No pattern ends in a slash, and each matches with one too: APPEND_SLASH must never answer a POST with a redirect.
    re_path(r"^(?P<path>v1(?:beta)?(?:/.*)?)$", views.api, name="api"),
    re_path(r"^health/?$", views.alive, name="alive"),
    re_path(r"^health/ready/?$", views.ready, name="ready"),
    re_path(r"^health/providers/?$", views.providers, name="providers"),
    path("api/hello", views.hello, name="hello"),
]

if settings.METRICS:  # Else the path is the site's own.
    urlpatterns.append(re_path(r"^metrics/?$", views.metrics, name="metrics"))
