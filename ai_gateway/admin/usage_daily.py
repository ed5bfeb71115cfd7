"""The days in the admin: a line for each day and who used what of whom, and above them the sum of all."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ai_gateway import wording
from ai_gateway.admin.usage_base import NOTHING, DaySpanFilter, ModelFilter, ProviderFilter, UsageAdmin
from ai_gateway.models import UsageDaily
from ai_gateway.models.usage_queries import UsageDailyQuerySet, UsageTotals
from ai_gateway.money import rounded

MOST_MODELS = 8
"""Models that are shown above the list."""


@admin.register(UsageDaily)
class UsageDailyAdmin(UsageAdmin):
    """The sums of days, with the sum of all that the filters leave."""

    change_list_template = "ai_gateway/admin/usage_daily.html"
    when_empty = _("Nothing is written down of this month yet. Calls are added up here within seconds of their end.")
    list_display = (
        "day",
        "served_by",
        "used_by",
        "requests",
        "errors",
        "tokens_shown",
        "cost_shown",
    )
    list_display_links = None
    list_filter = (DaySpanFilter, ProviderFilter, ModelFilter)
    search_help_text = _("The beginning of a user's name.")
    ordering = ("-day", "-cost_nanos", "-pk")

    @admin.display(description=_("cost"))
    def cost_shown(self, obj: UsageDaily) -> str:
        """What it cost. A question mark stands for calls among them whose price nobody knows."""
        return rounded(obj.cost_nanos) + (" + ?" if obj.unpriced else "")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Add the sum of all days that the filters leave."""
        response: Any = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if "cl" in context:
            context["usage"] = summary(context["cl"].queryset)
        return response


def summary(rows: UsageDailyQuerySet) -> dict[str, Any]:
    """Sum days up, model by model, the most expensive first, and all of them."""
    groups = rows.group_totals("provider", "model")
    return {
        "days": bool(groups),
        "all": wording.figures(sum((group.totals for group in groups), UsageTotals())),
        "models": [
            {"name": "/".join(filter(None, group.by.values())) or NOTHING, **wording.figures(group.totals)}
            for group in groups[:MOST_MODELS]
        ],
        "more": max(len(groups) - MOST_MODELS, 0),
    }
