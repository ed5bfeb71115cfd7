"""Routes and their targets in the admin."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db.models import Prefetch, QuerySet
from django.forms import BaseInlineFormSet
from django.http import HttpRequest
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _

from ai_gateway import cache_store, registry
from ai_gateway.admin import formfields, theme
from ai_gateway.admin.base import FormMixin, Tool
from ai_gateway.admin.explain import ExplainAdmin
from ai_gateway.admin.kept_answers import KeptAnswersAdmin
from ai_gateway.admin.trials import RouteTrialAdmin
from ai_gateway.calls import Target
from ai_gateway.explanation import how_it_stands, why_gone
from ai_gateway.models import Playground, Route, RouteTarget, known_aliases
from ai_gateway.playground import may_use
from ai_gateway.registry import Snapshot

SHOWN_TARGETS = 4


class TargetFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """The targets of a route. One that is given no position comes behind all others."""

    def clean(self) -> None:
        """Give positions to those that have none, in the order of the form."""
        super().clean()
        kept = [form for form in self.forms if form not in self.deleted_forms and getattr(form, "cleaned_data", None)]
        positions = [form.cleaned_data.get("position") for form in kept]
        following = count(max((position for position in positions if position is not None), default=-1) + 1)
        for form, position in zip(kept, positions, strict=True):
            if position is None:
                form.instance.position = next(following)


class TargetInline(FormMixin, theme.StackedInline):  # type: ignore[type-arg]
    """Where a route leads. What few targets have is folded up below what all have."""

    model = RouteTarget
    formset = TargetFormSet
    fieldsets = (
        (None, {"fields": (("provider", "model"), ("position", "weight", "is_enabled"))}),
        (
            _("Which calls, how long, and on trial"),
            {"fields": ("conditions", "timeouts", "part", "percent"), "classes": ("collapse",)},
        ),
    )

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        """Offer an empty one to a new route."""
        return 1 if obj is None else 0

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Suggest the providers that there are, asked for once a page; want no position."""
        if db_field.name == "position":
            kwargs |= {"required": False, "initial": None, "help_text": _("Lower ones are tried first. Empty: last.")}
        if db_field.name == "provider":
            kwargs["widget"] = formfields.SuggestingInput(lambda: suggestions(request), {"class": "vTextField"})
        return super().formfield_for_dbfield(db_field, request, **kwargs)


def suggestions(request: Any) -> list[str]:
    """Name the providers that there are, remembered for the length of a request."""
    if not hasattr(request, "gateway_aliases"):
        request.gateway_aliases = sorted(known_aliases())
    found: list[str] = request.gateway_aliases
    return found


STRATEGY_NAMES = {
    Route.Strategy.FAILOVER: _("in order"),
    Route.Strategy.WEIGHTED: _("by weight"),
    Route.Strategy.ROUND_ROBIN: _("in turn"),
    Route.Strategy.LEAST_BUSY: _("least busy"),
    Route.Strategy.LOWEST_LATENCY: _("fastest"),
    Route.Strategy.CHEAPEST: _("cheapest"),
}


def marked(row: RouteTarget, snapshot: Snapshot) -> str:
    """Show a target, and what is against it."""
    why, provider = why_gone(row.provider, snapshot), snapshot.providers.get(row.provider)
    if why:
        return format_html('<span class="gateway-mark gateway-no">✗ {}: {}</span>', row, why)
    note = how_it_stands(Target(row.provider, row.model), provider) if provider is not None else ""
    return format_html('{} <span class="gateway-mark">({})</span>', row, note) if note else str(row)


@admin.register(Route)
class RouteAdmin(ExplainAdmin, RouteTrialAdmin, KeptAnswersAdmin):
    """The gateway's own names of models."""

    when_empty = _(
        "No route is stored yet: models are asked for as provider/model, for example echo/echo-1. A route is a name of "
        "your own for one, with others behind it for when it fails."
    )
    list_display = ("name", "leads_to", "strategy_name", "is_public", "is_enabled")
    list_filter = ("is_enabled", "is_public", "strategy")
    search_fields = ("name", "description", "targets__provider", "targets__model")
    looked_up = ("users", "groups")
    actions = ("forget_answers",)
    inlines = (TargetInline,)
    fieldsets = (
        (None, {"fields": ("name", "description", "strategy", "sticky", "is_enabled")}),
        (_("Timeouts"), {"fields": ("timeouts",), "classes": ("collapse",)}),
        (_("When a stream dies"), {"fields": ("continues_streams", "asks_to_continue"), "classes": ("collapse",)}),
        (_("Guardrails"), {"fields": ("guardrails",), "classes": ("collapse",)}),
        (
            _("Answers from the cache"),
            {"fields": ("caching", "cache_seconds", "cache_replay"), "classes": ("collapse",)},
        ),
        (_("For reading later"), {"fields": ("records_bodies",), "classes": ("collapse",)}),
        (_("Who may use it"), {"fields": ("is_public", "groups", "users")}),
        (_("For reports"), {"fields": ("experiment", "tags"), "classes": ("collapse",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Route]:
        """Read the targets along with the rows."""
        return super().get_queryset(request).prefetch_related(Prefetch("targets", to_attr="in_order"))

    def mark_of(self, obj: Route) -> str:
        """See KeptAnswersAdmin.mark_of."""
        return cache_store.mark_of("route", obj.name)

    @admin.display(description=_("targets"))
    def leads_to(self, obj: Route) -> str:
        """Its targets in their order. Those that lead nowhere are marked, with the reason."""
        targets = [target for target in obj.in_order if target.is_enabled]  # type: ignore[attr-defined]
        if not targets:
            return format_html('<span class="gateway-mark gateway-no">✗ {}</span>', _("no target"))
        snapshot = registry.snapshot()
        between = " → " if obj.strategy == Route.Strategy.FAILOVER else " | "
        shown = format_html_join(between, "{}", ((marked(each, snapshot),) for each in targets[:SHOWN_TARGETS]))
        rest = len(targets) - SHOWN_TARGETS
        return format_html("{} … +{}", shown, rest) if rest > 0 else shown

    @admin.display(description=_("strategy"), ordering="strategy")
    def strategy_name(self, obj: Route) -> str:
        """The strategy in a word."""
        return str(STRATEGY_NAMES[Route.Strategy(obj.strategy)])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Say so if it leads nowhere."""
        super().save_related(request, form, formsets, change)
        if form.instance.is_enabled and not form.instance.targets.filter(is_enabled=True).exists():
            messages.warning(
                request, _("It has no target that is enabled: until it has one, calls go as if it was not there.")
            )

    def tools(self, request: HttpRequest, obj: Route) -> Iterable[Tool]:
        """See ControlAdmin.tools."""
        if self.has_change_permission(request, obj):
            yield Tool(str(_("Test this route")), self.url_of("test", obj), "network_check")
        yield Tool(str(_("Explain")), f"{self.explain_url()}?{urlencode({'model': obj.name})}", "help")
        if self.admin_site.is_registered(Playground) and may_use(request.user):
            url = reverse(f"{self.admin_site.name}:ai_gateway_playground", current_app=self.admin_site.name)
            yield Tool(str(_("Playground")), f"{url}?{urlencode({'route': obj.name})}", "chat")

    def list_tools(self, request: HttpRequest) -> Iterable[Tool]:
        """See ControlAdmin.list_tools."""
        yield Tool(str(_("Explain a call")), self.explain_url(), "help")
        yield from super().list_tools(request)

    def explain_url(self) -> str:
        """Give the address of the page that explains calls."""
        return reverse(f"{self.admin_site.name}:ai_gateway_explain", current_app=self.admin_site.name)

    def get_urls(self) -> list[Any]:
        """Add the pages."""
        return [
            path("explain/", self.admin_site.admin_view(self.explain_view), name="ai_gateway_explain"),
            path("<path:object_id>/test/", self.admin_site.admin_view(self.test_view), name="ai_gateway_route_test"),
            *super().get_urls(),
        ]
