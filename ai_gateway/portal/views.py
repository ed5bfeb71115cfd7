"""The pages of the portal: plain HTML, with the site's session and CSRF protection, which work without any script.

What is shown and changed is the user's own: no page takes anybody else's key, whatever stands in its address.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from ai_gateway import inprocess, issuing, key_store, snippets
from ai_gateway.models import Route, VirtualKey
from ai_gateway.portal.forms import KeyForm

PAGE = 50
"""Keys that are shown at once."""

ROUTE_OWNER = "gateway"
"""Whose the list of models says that routes are."""


@login_required
@never_cache
@require_GET
def keys(request: HttpRequest) -> HttpResponse:
    """The user's keys, the newest first."""
    number = page_number(request)
    found = VirtualKey.objects.filter(user=request.user.pk).select_related("group")
    rows = list(found[(number - 1) * PAGE : number * PAGE + 1])
    if not rows and number > 1:
        return redirect("ai_gateway_portal:keys")  # That page is not there, which is no sign that there are no keys.
    context = {
        "section": "keys",
        "keys": rows[:PAGE],
        "number": number,
        "previous": number - 1,
        "next": number + 1 if len(rows) > PAGE else None,
        "may_issue": issuing.may_issue_to_self(request.user),
    }
    return render(request, "ai_gateway/portal/keys.html", context)


def page_number(request: HttpRequest) -> int:
    """Read the number of the page that is asked for."""
    number = request.GET.get("page", "1")
    return max(int(number), 1) if number.isascii() and number.isdigit() and len(number) < 6 else 1


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """The form for a new key; the answer to it shows the key, this once."""
    if not issuing.may_issue_to_self(request.user):
        raise PermissionDenied
    form = KeyForm(request.POST if request.method == "POST" else None, user=request.user)
    if form.is_bound and form.is_valid():
        try:
            key, token = form.issue()
        except IntegrityError:  # Of two that are sent at the same moment one is first.
            return redirect("ai_gateway_portal:keys")
        given = snippets.for_key(snippets.origin(request), token)
        context: dict[str, Any] = {"section": "keys", "key": key, "token": token, "snippets": given}
        return render(request, "ai_gateway/portal/token.html", context)
    return render(request, "ai_gateway/portal/new.html", {"section": "keys", "form": form})


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def revoke(request: HttpRequest, public_id: str) -> HttpResponse:
    """Ask, then revoke a key. Whoever owns one may always do that."""
    key = get_object_or_404(VirtualKey, user=request.user.pk, public_id=public_id)
    if request.method == "POST":
        if key.is_active:
            key.is_active = False
            key.save(update_fields=["is_active", "updated_at"])
        return redirect("ai_gateway_portal:keys")
    return render(request, "ai_gateway/portal/revoke.html", {"section": "keys", "key": key})


@login_required
@never_cache
@require_GET
def models(request: HttpRequest) -> HttpResponse:
    """The models that the user may use, as the gateway itself lists them to the user."""
    answer = inprocess.ask("GET", "/v1/models", key_store.caller_of(request.user))
    listed: list[dict[str, Any]] = answer.document["data"] if answer.status == 200 else []
    names = [each["id"] for each in listed if each["owned_by"] == ROUTE_OWNER]
    described = dict(Route.objects.filter(name__in=names[:500]).values_list("name", "description"))
    rest = sorted((each for each in listed if each["owned_by"] != ROUTE_OWNER), key=lambda each: each["owned_by"])
    context = {
        "section": "models",
        "routes": [(name, described.get(name, "")) for name in names],
        "providers": [
            (owner, [each["id"] for each in group]) for owner, group in groupby(rest, lambda each: each["owned_by"])
        ],
        "failed": answer.status != 200,
    }
    return render(request, "ai_gateway/portal/models.html", context)


@login_required
@never_cache
@require_GET
def connect(request: HttpRequest) -> HttpResponse:
    """What to paste where, for the model that is named in the address or an example."""
    model = request.GET.get("model", "")
    base = snippets.origin(request)
    context = {
        "section": "connect",
        "base": base,
        "model": model if snippets.PLAIN_NAME.fullmatch(model) else "",
        "variable": snippets.VARIABLE,
        "snippets": snippets.for_clients(base, model),
    }
    return render(request, "ai_gateway/portal/connect.html", context)
