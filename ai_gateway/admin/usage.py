"""Single calls in the admin: what each was, what it used and cost, and all of them as a file."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ai_gateway.admin.exports import ExportAdmin
from ai_gateway.admin.usage_base import NOTHING, ModelFilter, PriceFilter, ProviderFilter, SpanFilter, UsageAdmin
from ai_gateway.models import UsageRecord
from ai_gateway.models.usage_queries import BUCKETS
from ai_gateway.money import exact, rounded


@admin.register(UsageRecord)
class UsageRecordAdmin(ExportAdmin, UsageAdmin):
    """Single calls."""

    list_display = (
        "when",
        "served_by",
        "used_by",
        "ended",
        "tokens_shown",
        "cost_shown",
        "took",
    )
    list_filter = (SpanFilter, "outcome", ProviderFilter, ModelFilter, PriceFilter, "is_estimated")
    search_help_text = _("A request id, or the beginning of a user's name.")
    ordering = ("-started_at", "-pk")
    fieldsets = (
        (None, {"fields": ("when_exactly", "ended", "error_code", "request_id", "upstream_id")}),
        (_("What it used"), {"fields": ("buckets", "units", "cost_exact", "service_tier", "is_estimated")}),
        (_("Who"), {"fields": ("key_shown", "user_shown", "group_shown")}),
        (_("What"), {"fields": ("asked", "model", "route", "served_by", "is_stream", "variant", "is_mirror")}),
        (_("How long"), {"fields": ("took", "first_byte_ms", "first_token_ms", "overhead_us")}),
        (_("How often it was tried"), {"fields": ("attempts", "tried", "bytes_in", "bytes_out")}),
        (
            _("For reports"),
            {
                "fields": (
                    "tags_shown",
                    "project",
                    "organization",
                    "end_user",
                    "experiment",
                    "session",
                    "agent",
                    "metadata_shown",
                )
            },
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Every field that is shown."""
        return tuple(name for _title, options in self.fieldsets for name in options["fields"])

    def found_by(self, term: str) -> Q:
        """Find a call by its request id, too. One or the other: for both at once a database reads the whole table."""
        named = Q(request_id=term)
        return named if UsageRecord.objects.filter(named).exists() else super().found_by(term)

    @admin.display(description=_("time"))
    def when(self, obj: UsageRecord) -> str:
        """When it arrived, for a list of recent ones."""
        return date_format(timezone.localtime(obj.started_at), "M j H:i:s")

    @admin.display(description=_("time"))
    def when_exactly(self, obj: UsageRecord) -> str:
        """When it arrived, with the year and the time zone."""
        return date_format(timezone.localtime(obj.started_at), "Y-m-d H:i:s T")

    @admin.display(description=_("outcome"))
    def ended(self, obj: UsageRecord) -> str:
        """What ended it, and the status that the caller got."""
        is_fine = obj.outcome in (UsageRecord.Outcome.ANSWERED, UsageRecord.Outcome.CACHED)
        look, status = "gateway-yes" if is_fine else "gateway-no", f" {obj.status}" if obj.status else ""
        return format_html('<span class="{}">{}{}</span>', look, obj.get_outcome_display(), status)

    @admin.display(description=_("cost"))
    def cost_shown(self, obj: UsageRecord) -> str:
        """What it cost, for people. A question mark stands for what nobody knows."""
        return "?" if obj.cost_nanos is None else rounded(obj.cost_nanos)

    @admin.display(description=_("cost"))
    def cost_exact(self, obj: UsageRecord) -> str:
        """What it cost, to the nano-dollar."""
        if obj.cost_nanos is None:
            return str(_("Nobody knows: there is no price for this model."))
        return f"${exact(obj.cost_nanos)}"

    @admin.display(description=_("duration"))
    def took(self, obj: UsageRecord) -> str:
        """How long it took."""
        return f"{obj.duration_ms / 1000:,.2f} s" if obj.duration_ms >= 1000 else f"{obj.duration_ms} ms"

    @admin.display(description=_("endpoint"))
    def asked(self, obj: UsageRecord) -> str:
        """Where it went, and in which format."""
        return f"{obj.endpoint} ({obj.dialect})"

    @admin.display(description=_("tags"))
    def tags_shown(self, obj: UsageRecord) -> str:
        """The tags of its key."""
        return ", ".join(obj.tags or ()) or NOTHING

    @admin.display(description=_("metadata"))
    def metadata_shown(self, obj: UsageRecord) -> str:
        """The metadata of its key."""
        return json.dumps(obj.metadata, ensure_ascii=False) if obj.metadata else NOTHING

    @admin.display(description=_("tokens"))
    def buckets(self, obj: UsageRecord) -> str:
        """The tokens by kind, those that there were."""
        counts = [(obj._meta.get_field(name).verbose_name, getattr(obj, name)) for name in BUCKETS]  # type: ignore[union-attr]
        rows = [(name, f"{number:,}") for name, number in counts if number]
        return table([*rows, (_("all tokens"), self.tokens_shown(obj))]) if rows else NOTHING

    @admin.display(description=_("before that"))
    def tried(self, obj: UsageRecord) -> str:
        """The attempts that failed, and the targets that were left out."""
        rows = [(f"{each.get('provider')}/{each.get('model')}", failure(each)) for each in obj.trail or ()]
        return table(rows) if rows else NOTHING


def failure(attempt: dict[str, Any]) -> str:
    """Say how an attempt failed, why a target was passed over, or what a piece was that others went on with."""
    if "why" in attempt:
        return str(_("passed over: %(why)s") % {"why": attempt["why"]})
    if "ms" not in attempt:
        return f"{sum(attempt['tokens'].values()):,} tokens"
    place = ""
    if "characters" in attempt:
        place = f", after {attempt['characters']:,} characters and {sum(attempt['tokens'].values()):,} tokens"
    return f"{attempt.get('status')} {attempt.get('error') or ''}, {attempt.get('ms')} ms{place}"


def table(rows: list[tuple[Any, str]]) -> SafeString:
    """Write a table of two columns."""
    lines = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td></tr>', rows)
    return format_html('<table class="gateway-facts-table"><tbody>{}</tbody></table>', lines)
