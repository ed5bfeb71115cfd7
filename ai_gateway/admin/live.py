"""The page with the calls under way, which keeps itself up to date, and on which a call can be ended.

Whoever has `view_usage` sees everybody's; with `view_usagerecord` alone one sees one's own. To end a call takes
`cancel_call`, but for one's own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from ai_gateway import live, roster
from ai_gateway.admin.base import PageAdmin
from ai_gateway.admin.usage_base import sees_all
from ai_gateway.live import LiveCall
from ai_gateway.models import Live

FRAGMENT = "fragment"
"""Asks for the part that changes."""

MOST = 500
"""Calls that are shown. They are told of in all, however many there are."""

STATES = {
    "queued": _("waits for a place"),
    "receiving": _("is received"),
    "preparing": _("waits to be sent"),
    "asking": _("waits for the provider"),
    "streaming": _("streams"),
    "reading on": _("read on without its caller"),
}


class Row(NamedTuple):
    """A call as the page shows it."""

    call: LiveCall
    age: str
    state: Any
    model: str
    asked: str
    """What the caller asked for, where that is another name."""
    user: str
    may_cancel: bool


@admin.register(Live)
class LiveAdmin(PageAdmin):
    """The calls under way. None of them is a row of a table, so that there is this page and no other."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show the page to whoever may see calls at all."""
        return sees_all(request) or request.user.has_perm("ai_gateway.view_usagerecord")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Name the page to whoever may see it."""
        return self.has_view_permission(request)

    @method_decorator(never_cache)
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the page, or the part of it that changes; or end a call."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._cancel(request)
        found = async_to_sync(roster.read)()
        context = self._context(request, found)
        if FRAGMENT in request.GET:
            return TemplateResponse(request, "ai_gateway/admin/live_calls.html", context)
        return self.page(request, "live.html", translate("Calls under way"), None, **context)

    def _cancel(self, request: HttpRequest) -> HttpResponse:
        """End a call, note who did it, and show the page again as it was."""
        me: Any = request.user
        id, request_id = request.POST.get("call", ""), request.POST.get("request_id", "")[:128]
        mine_only = None if self._may_cancel_any(request) else str(me.pk)
        if async_to_sync(roster.cancel)(id, me.get_username(), mine_only):
            LogEntry.objects.create(
                user_id=me.pk,
                content_type=ContentType.objects.get_for_model(Live, for_concrete_model=False),
                object_id=request_id,
                object_repr=request_id,
                action_flag=CHANGE,
                change_message=translate("Ended while it was under way."),
            )
            messages.success(request, translate("The call %(id)s is ended.") % {"id": request_id})
        else:
            messages.warning(request, translate("This call is over, or it is not yours to end."))
        return redirect(f"{request.path}?{query_of(request)}".rstrip("?"))

    def _may_cancel_any(self, request: HttpRequest) -> bool:
        return sees_all(request) and request.user.has_perm("ai_gateway.cancel_call")

    def _context(self, request: HttpRequest, found: roster.Roster) -> dict[str, Any]:
        me = str(request.user.pk)
        seen = found.calls if sees_all(request) else [call for call in found.calls if call.user_id == me]
        model, key = request.GET.get("model", ""), request.GET.get("key", "")
        chosen = [call for call in seen if model in ("", live.served_by(call)) and key in ("", call.key_name)]
        shown = chosen[:MOST]
        untold = found.total - len(found.calls) if len(chosen) == len(found.calls) else 0
        names = names_of({call.user_id for call in shown if call.user_id})
        may_cancel_any = self._may_cancel_any(request)
        return {
            "rows": [
                row_of(call, names.get(call.user_id, ""), may_cancel=may_cancel_any or call.user_id == me)
                for call in shown
            ],
            "count": len(chosen) + untold,
            "hidden": len(chosen) + untold - len(shown),
            "totals": live.totals(chosen),
            "processes": found.processes,
            "is_whole": found.is_whole,
            "failure": found.failure,
            "models": sorted({live.served_by(call) for call in seen} | {model} - {""}),
            "keys": sorted({call.key_name for call in seen if call.key_name} | {key} - {""}),
            "model": model,
            "key": key,
            "query": query_of(request),
        }


def query_of(request: HttpRequest) -> str:
    """Give the filters as they are in the address of the whole page."""
    query = request.GET.copy()
    query.pop(FRAGMENT, None)
    return query.urlencode()


def row_of(call: LiveCall, user: str, *, may_cancel: bool) -> Row:
    """Write a call for the page."""
    model = live.served_by(call)
    asked = "" if call.model in (model, call.served_model) else call.model
    return Row(call, age_of(call.age), STATES[call.state], model, asked, user, may_cancel)


def names_of(ids: set[str]) -> dict[str, str]:
    """Give the names of users by their ids."""
    if not ids:
        return {}
    people: Any = get_user_model()
    rows = people._default_manager.filter(pk__in=ids).values_list("pk", people.USERNAME_FIELD)
    return {str(pk): name for pk, name in rows}


def age_of(seconds: float) -> str:
    """Write how long a call has lasted."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"
