"""The playground in the portal, for those who may use it. It is the admin's, in the portal's frame."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from ai_gateway import playground
from ai_gateway.playground_page import context_of

VIEWS = ("answer", "code", "models")


@login_required
@never_cache
@csrf_protect
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """The page, and without a script the answer."""
    if not playground.may_use(request.user):
        raise PermissionDenied
    urls = {**{name: _url(name) for name in VIEWS}, "call": _url("call", "-")}
    context = {"section": "playground", **context_of(request, urls)}
    return render(request, "ai_gateway/portal/playground.html", context)


def _url(view: str, *args: str) -> str:
    return reverse(f"ai_gateway_portal:ai_gateway_playground_{view}", args=args)


def admits(request: HttpRequest) -> bool:
    """Whether somebody may ask the views."""
    return playground.may_use(request.user)


urlpatterns: list[URLPattern] = [path("", page, name="playground"), *playground.views(admits)]
