"""The page that shows which targets are not well, in all processes, and lets people close a breaker.

Every process is asked how things stand; what is the same in several is one row. A process that has no peers, or cannot
reach them, shows what it knows itself, and says so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from ai_gateway import gossip, peers
from ai_gateway.admin.base import Tool
from ai_gateway.admin.changes import ChangesAdmin
from ai_gateway.calls import Target
from ai_gateway.models import BreakerEvent, Provider

logger = logging.getLogger("ai_gateway")

EVENTS = 30
"""The latest events that are shown."""

WITHIN = 1.0
"""Seconds that the processes have to answer."""

STATES = {"open": _("open"), "half-open": _("half open"), "resting": _("resting")}


class Row(NamedTuple):
    """A target or a credential that is not well, and the processes that say so."""

    provider: str
    name: str | None
    state: str
    failures: int
    reason: str
    seconds: float
    processes: Sequence[str]
    is_everywhere: bool


class ProviderHealthAdmin(ChangesAdmin):
    """Adds the page to the admin of providers."""

    def health_tool(self, obj: Provider | None = None) -> Tool:
        """Give the link to the page."""
        query = f"?provider={obj.alias}" if obj is not None else ""
        return Tool(translate("Health"), self.url_of("health") + query, "monitor_heart")

    @method_decorator(never_cache)
    def health_view(self, request: HttpRequest) -> HttpResponse:
        """Show how things stand, of one provider or of all; close a breaker if that is posted."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self.close_breaker(request)
        provider = request.GET.get("provider", "")
        answers = async_to_sync(peers.ask)(gossip.HEALTH, {}, WITHIN)
        events = BreakerEvent.objects.filter(provider=provider) if provider else BreakerEvent.objects.all()
        member = peers.start()
        context = {
            "provider": provider,
            "targets": rows_of(answers, "targets", "model", provider),
            "credentials": rows_of(answers, "credentials", "credential", provider),
            "processes": answers,
            "is_connected": member.is_connected,
            "failure": member.failure,
            "events": events[:EVENTS],
            "may_close": self.has_change_permission(request),
        }
        return self.page(request, "health.html", translate("Provider health"), None, **context)

    def close_breaker(self, request: HttpRequest) -> HttpResponse:
        """Close a breaker in all processes, and note who did."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        provider, model = request.POST.get("provider", "")[:200], request.POST.get("model") or None
        target = Target(provider, model[:200] if model else None)
        who = request.user.get_username()
        count = async_to_sync(gossip.close)(target, f"closed by {who}")
        logger.info("The breaker of %s/%s was closed by %s", provider, model, who)
        self.log_closed(request, target)
        text = _("The breaker of %(name)s is closed in %(count)d processes.")
        messages.success(request, text % {"name": f"{provider}/{model or '*'}", "count": count})
        return HttpResponseRedirect(request.get_full_path())

    def log_closed(self, request: HttpRequest, target: Target) -> None:
        """Note it in the history of the provider, which may be one of the settings and have no page."""
        found = Provider.objects.filter(alias=target.provider).first()
        message = [{"changed": {"fields": [f"breaker of {target.model or 'any model'}: closed"]}}]
        if found is not None:
            self.log_change(request, found, message)
            return
        LogEntry.objects.create(
            user_id=str(request.user.pk),
            content_type=ContentType.objects.get_for_model(Provider),
            object_repr=target.provider,
            action_flag=CHANGE,
            change_message=json.dumps(message),
        )


def rows_of(answers: Iterable[dict[str, Any]], what: str, name: str, provider: str) -> list[Row]:
    """Put together what several processes say alike."""
    found: dict[tuple[Any, ...], list[tuple[dict[str, Any], str]]] = {}
    answers = list(answers)
    for answer in answers:
        for each in answer.get(what, ()):
            if provider in ("", each["provider"]):
                alike = (each["provider"], each[name], each.get("state", "resting"), each.get("reason", ""))
                found.setdefault(alike, []).append((each, answer["process"]))
    return [
        Row(
            *(owner, called, str(STATES.get(state, state))),
            max(each.get("failures", 0) for each, _ in said),
            reason,
            max(each.get("seconds_left", each.get("seconds", 0.0)) for each, _ in said),
            [process for _, process in said],
            len(said) == len(answers),
        )
        for (owner, called, state, reason), said in sorted(found.items(), key=lambda item: str(item[0]))
    ]
