"""Single calls in the admin: what each was, what it used and cost, and all of them as a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, path, reverse
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from ai_gateway import recorded
from ai_gateway.admin.base import Tool
from ai_gateway.admin.costs import bill
from ai_gateway.admin.explorer import SPAN, CallList, CallSpanFilter, StatusFilter, needs_span
from ai_gateway.admin.exports import ExportAdmin
from ai_gateway.admin.histogram import histogram
from ai_gateway.admin.reading import reading
from ai_gateway.admin.usage_base import NOTHING, ModelFilter, PriceFilter, ProviderFilter, UsageAdmin, list_url
from ai_gateway.admin.waterfall import bars, failure, name_of
from ai_gateway.models import UsageRecord
from ai_gateway.models.base import as_shown
from ai_gateway.models.usage_queries import BUCKETS
from ai_gateway.money import rounded


@admin.register(UsageRecord)
class UsageRecordAdmin(ExportAdmin, UsageAdmin):
    """Single calls."""

    change_list_template = "ai_gateway/admin/usage_records.html"
    change_form_template = "ai_gateway/admin/usage_record.html"
    when_empty = _("No call is written down yet. Each is shown here within seconds of its end.")
    list_display = (
        "when",
        "used_by",
        "models_shown",
        "ended_how",
        "times_shown",
        "tokens_shown",
        "cost_shown",
    )
    list_filter = (
        CallSpanFilter,
        StatusFilter,
        "outcome",
        ProviderFilter,
        ModelFilter,
        "is_stream",
        PriceFilter,
        "is_estimated",
        "is_mirror",
    )
    search_help_text = _("A request id, or the beginning of a user's name.")
    ordering = ("-started_at", "-pk")
    fieldsets = (
        (None, {"fields": ("when_exactly", "ended", "error_code")}),
        (_("What it used"), {"fields": ("service_tier", "is_estimated")}),
        (_("Who"), {"fields": ("key_shown", "user_shown", "group_shown")}),
        (_("What"), {"fields": ("asked", "model", "route", "served_by", "is_stream", "variant", "is_mirror")}),
        (_("How long"), {"fields": ("took", "queued_ms", "first_byte_ms", "first_token_ms", "overhead_us")}),
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

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """List by place, not by page number."""
        return CallList

    def get_ordering(self, request: HttpRequest) -> Any:
        """The newest first, or a session from its beginning."""
        return ("started_at", "pk") if request.GET.get("order") == "oldest" else self.ordering

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Add the histogram. A search that names no span gets one, in its address."""
        if request.method == "GET" and needs_span(request.GET):
            query = request.GET.copy()
            query["span"] = SPAN
            return HttpResponseRedirect(f"{request.path}?{query.urlencode()}")
        response: Any = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if "cl" in context:
            context["histogram"] = histogram(context["cl"].queryset, context["cl"].span_query)
        return response

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Add how the call spent its time, and what it cost."""
        record = kwargs.get("obj")
        if record is not None:
            context.update(bars=bars(record), bill=bill(record), summary=self.summary(record))
        return super().render_change_form(request, context, *args, **kwargs)

    def summary(self, record: UsageRecord) -> dict[str, str]:
        """Say in a line what became of a call."""
        total = sum(getattr(record, name) for name in BUCKETS)
        return {
            "ended": self.ended(record),
            "models": self.models_shown(record),
            "took": duration(record.duration_ms),
            "tokens": translate("%s tokens") % f"{total:,}",
        }

    def tools(self, request: HttpRequest, obj: UsageRecord) -> Iterable[Tool]:
        """Link to what was said, to the other calls of the session, and to why it went where it went."""
        if recorded.may_read(request.user, obj.user_id) and recorded.is_there(obj.pk):
            yield Tool(str(_("Read what was said")), self.url_of("recorded", obj), "forum")
            yield from self.replay(obj)
        if obj.session:
            query = urlencode({"session": obj.session, "order": "oldest"})
            yield Tool(str(_("Its session")), f"{self.url_of('changelist')}?{query}", "timeline")
        if obj.key_id is not None and request.user.has_perm("ai_gateway.view_limit"):
            yield Tool(str(_("Limits of its key")), f"{list_url(self.admin_site, 'limit')}?key={obj.key_id}", "speed")
        if request.user.has_perm("ai_gateway.view_route"):
            yield Tool(str(_("Explain its routing")), self.explain_url(obj), "help")

    def replay(self, obj: UsageRecord) -> Iterable[Tool]:
        """Link to the playground, where there is one."""
        try:
            url = reverse(f"{self.admin_site.name}:ai_gateway_playground", current_app=self.admin_site.name)
        except NoReverseMatch:
            return
        yield Tool(str(_("Replay in the playground")), f"{url}?{urlencode({'record': obj.pk})}", "replay")

    def explain_url(self, obj: UsageRecord) -> str:
        """Give the address of the page that explains such a call, filled in."""
        url = reverse(f"{self.admin_site.name}:ai_gateway_explain", current_app=self.admin_site.name)
        query = {"model": obj.model, "key": obj.key_id or "", "path": path_of(obj)}
        return f"{url}?{urlencode(query)}"

    def get_urls(self) -> list[Any]:
        """Add the page of what was said."""
        view = self.admin_site.admin_view(self.recorded_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_recorded"
        return [path("<uuid:object_id>/recorded/", view, name=name), *super().get_urls()]

    @method_decorator(never_cache)
    def recorded_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Show what was said. That somebody reads it is noted first."""
        record = self.get_queryset(request).filter(pk=object_id).first() if self.has_view_permission(request) else None
        if record is None or not recorded.may_read(request.user, record.user_id):
            raise PermissionDenied
        context = reading(record, request.user)
        context["tools"] = [*self.replay(record)]
        return self.page(request, "recorded.html", translate("What was said"), record, **context)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Every field that is shown."""
        return tuple(name for _title, options in self.fieldsets for name in options["fields"])

    def found_by(self, term: str) -> Q:
        """Find a call by its request id, too. One or the other: for both at once a database reads the whole table."""
        named = Q(request_id=term)
        return named if UsageRecord.objects.filter(named).exists() else super().found_by(term)

    @admin.display(description=_("time"))
    def when(self, obj: UsageRecord) -> SafeString:
        """When it arrived, for a list of recent ones."""
        at = as_shown(obj.started_at)
        return format_html("{}{}", date_format(at, "H:i:s"), quiet(date_format(at, "M j")))

    @admin.display(description=_("time"))
    def when_exactly(self, obj: UsageRecord) -> str:
        """When it arrived, with the year and the time zone."""
        return date_format(as_shown(obj.started_at), "Y-m-d H:i:s T")

    @admin.display(description=_("outcome"))
    def ended(self, obj: UsageRecord) -> str:
        """What ended it, and the status that the caller got."""
        is_fine = obj.outcome in (UsageRecord.Outcome.ANSWERED, UsageRecord.Outcome.CACHED)
        look, status = "gateway-yes" if is_fine else "gateway-no", f" {obj.status}" if obj.status else ""
        return format_html('<span class="{}">{}{}</span>', look, obj.get_outcome_display(), status)

    @admin.display(description=_("cost"))
    def cost_shown(self, obj: UsageRecord) -> str:
        """What it cost, for people. A question mark stands for what nobody knows."""
        if obj.saved_nanos:
            saved = quiet(translate("%s saved") % rounded(obj.saved_nanos))
            return format_html("{}{}", rounded(obj.cost_nanos or 0), saved)
        return "?" if obj.cost_nanos is None else rounded(obj.cost_nanos)

    @admin.display(description=_("duration"))
    def took(self, obj: UsageRecord) -> str:
        """How long it took."""
        return duration(obj.duration_ms)

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

    @admin.display(description=_("model"))
    def models_shown(self, obj: UsageRecord) -> str:
        """What was asked for, and who served it."""
        served = self.served_by(obj)
        if not obj.model or served.endswith(obj.model):
            return served
        return f"{obj.model} → {served}"

    @admin.display(description=_("duration"))
    def times_shown(self, obj: UsageRecord) -> SafeString:
        """How long it took, and until the first token came."""
        first = "" if obj.first_token_ms is None else quiet(translate("%s first") % duration(obj.first_token_ms))
        return format_html("{}{}", duration(obj.duration_ms), first)

    @admin.display(description=_("tokens in → out"))
    def tokens_shown(self, obj: UsageRecord) -> SafeString:
        """The tokens of the prompt and of the answer, and how many came from the cache."""
        asked = sum(getattr(obj, name) for name in BUCKETS if name in IN)
        cached = obj.cache_read_tokens
        said = sum(getattr(obj, name) for name in BUCKETS) - asked - cached
        if not asked + cached + said:
            return format_html("{}", NOTHING)
        return format_html(
            "{} → {}{}", f"{asked:,}", f"{said:,}", quiet(translate("+ %s cached") % f"{cached:,}") if cached else ""
        )

    @admin.display(description=_("outcome"))
    def ended_how(self, obj: UsageRecord) -> SafeString:
        """What ended it, and whether it was streamed, tried more than once, or a copy."""
        words = [translate("stream")] if obj.is_stream else []
        words += [translate("%d tries") % obj.attempts] if obj.attempts > 1 else []
        words += [translate("mirror")] if obj.is_mirror else []
        return format_html("{}{}", self.ended(obj), quiet(", ".join(words)) if words else "")

    @admin.display(description=_("before that"))
    def tried(self, obj: UsageRecord) -> str:
        """The attempts that failed, the targets that were left out, and what guardrails did."""
        rows = [(name_of(each), failure(each)) for each in obj.trail or ()]
        return table(rows) if rows else NOTHING


IN = (
    "input_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "input_audio_tokens",
    "input_image_tokens",
)
"""The kinds of tokens of a prompt that came from no cache."""

PATHS = {
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini": "/v1beta/models/-:generateContent",
}
"""The paths of the formats, as the page that explains calls has them; all others are that of chat completions."""


def path_of(obj: UsageRecord) -> str:
    """Give the path of a call, as the page that explains calls knows it."""
    return "/v1/embeddings" if obj.endpoint == "embeddings" else PATHS.get(obj.dialect, "/v1/chat/completions")


def duration(ms: int) -> str:
    """Write a length of time."""
    return f"{ms / 1000:,.2f} s" if ms >= 1000 else f"{ms} ms"


def quiet(text: str) -> SafeString:
    """Write a second line, less loud than the first."""
    return format_html('<br><span class="gateway-quiet">{}</span>', text)


def table(rows: list[tuple[Any, str]]) -> SafeString:
    """Write a table of two columns."""
    lines = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td></tr>', rows)
    return format_html('<table class="gateway-facts-table"><tbody>{}</tbody></table>', lines)
