"""The pages of the site, and the gateway behind them."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def home(request: HttpRequest) -> HttpResponse:
    """A page for everybody. It takes forms, too, and so is protected against CSRF."""
    return HttpResponse("<h1>An ordinary page</h1>")


@login_required
def private(request: HttpRequest) -> HttpResponse:
    """A page for users."""
    assert isinstance(request.user, AbstractBaseUser)
    return HttpResponse(f"<h1>Hello {request.user.get_username()}</h1>")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("", home),
    path("pages/private/", private),
    path("", include("ai_gateway.urls")),  # the gateway: 2 of 3
]
