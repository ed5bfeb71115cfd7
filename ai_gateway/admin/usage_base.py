"""What the lists of single calls and of days have in common: they can be looked at and not be changed.

Whoever has `view_usage` sees everybody's; with `view_usagerecord` or `view_usagedaily` alone one sees one's own. Lists
count nothing, and what they can be filtered and searched by costs little with a million rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from ai_gateway.admin.base import ReadOnlyAdmin, Tool
from ai_gateway.models import UsageDaily, VirtualKey
from ai_gateway.models.usage_queries import BUCKETS
from ai_gateway.questions import NOBODY
from ai_gateway.spending import today

NOTHING = "—"

RECENT = timedelta(days=30)
"""How far back the choices of a filter look for what was used."""

MOST_CHOICES = 40


class SpanFilter(admin.SimpleListFilter):
    """Calls or days of a span, as the days of accounting are."""

    title = _("when")
    parameter_name = "span"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name the choices."""
        return [
            ("today", _("today")),
            ("yesterday", _("yesterday")),
            ("7d", _("the last 7 days")),
            ("30d", _("the last 30 days")),
            ("month", _("this month")),
            ("last-month", _("last month")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter."""
        day = today()
        month = day.replace(day=1)
        spans = {
            "today": (day, None),
            "yesterday": (day - timedelta(days=1), day),
            "7d": (day - timedelta(days=6), None),
            "30d": (day - timedelta(days=29), None),
            "month": (month, None),
            "last-month": ((month - timedelta(days=1)).replace(day=1), month),
        }
        span = spans.get(self.value() or "")
        rows: Any = queryset
        return queryset if span is None else rows.between(*span)


class DaySpanFilter(SpanFilter):
    """The same with this month for a beginning: nobody wants to add up all days by mistake."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name the choices."""
        return [*super().lookups(request, model_admin), ("all", _("all days"))]

    def value(self) -> str:
        """Give the choice."""
        return super().value() or "month"

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Offer the choices, and no other."""
        for value, title in self.lookup_choices:
            link = changelist.get_query_string({self.parameter_name: value})
            yield {"selected": self.value() == value, "query_string": link, "display": title}


class ChoiceFilter(admin.SimpleListFilter):
    """Something that was used lately, for choice. The days are asked, which are few, and once a page."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name what was used in the last thirty days, by those whose rows are shown."""
        found = {pair[self.column] for pair in recent_pairs(request)}
        nothing = [(NOBODY, NOTHING)] if "" in found else []
        return [*((name, name) for name in sorted(found - {""})[:MOST_CHOICES]), *nothing]

    def has_output(self) -> bool:
        """Whether it filters: also by what was not used lately."""
        return super().has_output() or self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter."""
        value = self.value()
        return queryset.filter(**{self.column: "" if value == NOBODY else value}) if value else queryset


class ProviderFilter(ChoiceFilter):
    """By provider."""

    title = _("provider")
    parameter_name = column = "provider"


class ModelFilter(ChoiceFilter):
    """By the provider's own name of the model."""

    title = _("model")
    parameter_name = column = "served_model"


class PriceFilter(admin.SimpleListFilter):
    """Calls whose cost is known, and those whose is not."""

    title = _("price")
    parameter_name = "price"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name the choices."""
        return [("known", _("known")), ("unknown", _("unknown"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter."""
        if self.value() in ("known", "unknown"):
            return queryset.filter(cost_nanos__isnull=self.value() == "unknown")
        return queryset


def tools_for(request: HttpRequest, site: admin.AdminSite, key: VirtualKey) -> Iterator[Tool]:
    """Link a key's page to what was used with it, and to its limits, if the user may see them."""
    if sees_all(request) or key.user_id == request.user.pk:
        usage = site.get_model_admin(UsageDaily)
        if usage.has_view_permission(request):
            yield Tool(str(_("Usage")), f"{list_url(site, 'usagedaily')}?key={key.pk}", "monitoring")
    if request.user.has_perm("ai_gateway.view_limit"):
        yield Tool(str(_("Limits")), f"{list_url(site, 'limit')}?key={key.pk}", "speed")


def list_url(site: admin.AdminSite, model: str) -> str:
    """Give the address of a list."""
    return reverse(f"{site.name}:ai_gateway_{model}_changelist", current_app=site.name)


def sees_all(request: HttpRequest) -> bool:
    """Whether a user may see what other people used."""
    return request.user.has_perm("ai_gateway.view_usage")


def recent_pairs(request: Any) -> list[dict[str, str]]:
    """List the providers and models that were used lately, remembered for the length of a request."""
    if not hasattr(request, "gateway_recent"):
        rows = UsageDaily.objects.between(today() - RECENT)
        mine = rows if sees_all(request) else rows.by_user(request.user)
        request.gateway_recent = list(mine.order_by().values("provider", "served_model").distinct())
    found: list[dict[str, str]] = request.gateway_recent
    return found


class UsageAdmin(ReadOnlyAdmin):
    """What both tables have in common."""

    list_select_related = ("key", "user", "group")
    sortable_by = ()
    actions = None
    search_fields = ("user",)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may see everybody's needs no other permission. Somebody else's row does not exist for anybody else."""
        return sees_all(request) or super().has_view_permission(request, obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the lists to whoever may see them."""
        return sees_all(request) or super().has_module_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Show everybody's, or one's own. What rows name may be deleted: it is read along, and then is None."""
        rows = super().get_queryset(request).select_related(*self.list_select_related)
        return rows if sees_all(request) else rows.filter(user_id=request.user.pk)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by what an index can find in a million rows."""
        term = search_term.strip()
        return (queryset.filter(self.found_by(term)) if term else queryset), False

    def found_by(self, term: str) -> Q:
        """Say what a search finds: what people used, by the beginning of their names."""
        people: Any = get_user_model()
        named = {f"{people.USERNAME_FIELD}__startswith": term}
        return Q(user_id__in=list(people._default_manager.filter(**named).values_list("pk", flat=True)[:100]))

    @admin.display(description=_("model"))
    def served_by(self, obj: Any) -> str:
        """Who served it."""
        return "/".join(filter(None, (obj.provider, obj.served_model))) or NOTHING

    @admin.display(description=_("key"))
    def key_shown(self, obj: Any) -> str:
        """The key, as it was called."""
        return obj.key_name or (NOTHING if obj.key is None else obj.key.name)

    @admin.display(description=_("key"))
    def used_by(self, obj: Any) -> str:
        """The key and its owner."""
        owner = named(obj, "user")
        return self.key_shown(obj) if owner == NOTHING else f"{self.key_shown(obj)} ({owner})"

    @admin.display(description=_("user"))
    def user_shown(self, obj: Any) -> str:
        """The owner of the key."""
        return named(obj, "user")

    @admin.display(description=_("group"))
    def group_shown(self, obj: Any) -> str:
        """The group that the key is for."""
        return named(obj, "group")

    @admin.display(description=_("tokens"))
    def tokens_shown(self, obj: Any) -> str:
        """All tokens, of the prompt and of the answer."""
        total = sum(getattr(obj, name) for name in BUCKETS)
        return f"{total:,}" if total else NOTHING


def named(obj: Any, field: str) -> str:
    """Name what a row refers to, or give its number if it was deleted."""
    found: Model | None = getattr(obj, field)
    number = getattr(obj, f"{field}_id")
    return str(found) if found is not None else NOTHING if number is None else f"#{number}"
