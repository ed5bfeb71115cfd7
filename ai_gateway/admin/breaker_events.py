"""When breakers opened and closed, as a list that nobody changes."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _

from ai_gateway.admin.base import ReadOnlyAdmin, Tool
from ai_gateway.models import BreakerEvent


@admin.register(BreakerEvent)
class BreakerEventAdmin(ReadOnlyAdmin):
    """What happened to breakers, the latest first."""

    when_empty = _("No breaker has opened so far: no target has failed again and again.")
    list_display = ("at", "provider", "model", "event", "reason", "lasting")
    list_filter = ("event",)
    search_fields = ("provider", "model")
    date_hierarchy = None

    @admin.display(description=_("seconds"))
    def lasting(self, obj: BreakerEvent) -> str:
        """For how long it was opened."""
        return f"{obj.seconds:.0f}" if obj.seconds else "—"

    def list_tools(self, request: HttpRequest) -> Iterable[Tool]:
        """See ControlAdmin.list_tools."""
        if request.user.has_perm("ai_gateway.view_provider"):
            url = reverse(f"{self.admin_site.name}:ai_gateway_provider_health", current_app=self.admin_site.name)
            yield Tool(translate("Provider health"), url, "monitor_heart")
