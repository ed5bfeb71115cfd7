"""What people were alerted to, to be looked at: it is told by e-mail and by webhooks (`ALERTS`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ai_gateway.admin.base import ReadOnlyAdmin
from ai_gateway.models import Alert
from ai_gateway.models.base import as_shown

FIELDS = ("kind", "subject", "text", "first_at", "last_at", "count", "sent_at", "resolved_at", "problem")


class OpenFilter(admin.SimpleListFilter):
    """What goes on, and what is over."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, Any]]:
        """Name the choices."""
        return (("open", _("goes on")), ("over", _("over")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        """Filter."""
        if self.value() in ("open", "over"):
            return queryset.filter(resolved_at__isnull=self.value() == "open")
        return queryset


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """Alerts. Nobody changes them."""

    when_empty = _(
        "Nobody was alerted to anything yet. Which alerts there are, and who gets them, is in AI_GATEWAY['ALERTS']."
    )
    list_display = ("last", "text", "state", "count")
    list_filter = (OpenFilter, "kind")
    ordering = ("-last_at",)
    fields = FIELDS
    readonly_fields = FIELDS
    sortable_by = ()
    actions = None

    @admin.display(description=_("last"))
    def last(self, obj: Alert) -> str:
        """When it was seen last."""
        return date_format(as_shown(obj.last_at), "M j H:i:s")

    @admin.display(description=_("state"))
    def state(self, obj: Alert) -> Any:
        """Whether it goes on, and whether people know."""
        if obj.problem:
            return format_html('<span class="gateway-no">{}</span>', _("not delivered"))
        return _("goes on") if obj.resolved_at is None else _("over")
