"""Prices in the admin: what is in force, what was, and which models have none.

What a person saves is theirs from then on: a synchronised row that was changed here counts as entered, and is never
touched by a synchronisation again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _

from ai_gateway import registry
from ai_gateway.admin import formfields
from ai_gateway.admin.base import Tool
from ai_gateway.admin.changes import ChangesAdmin
from ai_gateway.models import Price, UsageDaily, known_aliases
from ai_gateway.models.base import as_shown

UNPRICED_DAYS = 7
MOST_UNPRICED = 200
NOTHING = "—"


class Unpriced(NamedTuple):
    """A model whose calls were written down without a cost."""

    provider: str
    model: str
    calls: int
    last_day: Any
    is_priced_now: bool
    add_url: str


class InForceFilter(admin.SimpleListFilter):
    """Prices by whether they count now."""

    title = _("in force")
    parameter_name = "in_force"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, Any]]:
        """See SimpleListFilter."""
        return (("now", _("now")), ("ended", _("not any more")), ("later", _("not yet")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Price]) -> QuerySet[Price]:
        """See SimpleListFilter."""
        now = timezone.now()
        in_force = Q(valid_from__lte=now) & (Q(valid_until=None) | Q(valid_until__gt=now))
        is_replaced = Exists(rivals().filter(in_force))
        if self.value() == "now":
            return queryset.filter(in_force).exclude(is_replaced)
        if self.value() == "ended":
            return queryset.filter(Q(valid_until__lte=now) | (in_force & Q(is_replaced)))
        return queryset.filter(valid_from__gt=now) if self.value() == "later" else queryset


def rivals() -> QuerySet[Price]:
    """Give the rows that win over one, for a question within another: newer ones of its kind, and entered ones over
    synchronised ones."""
    same = Price.objects.filter(provider=OuterRef("provider"), model=OuterRef("model"))
    newer = Q(source=OuterRef("source"), valid_from__gt=OuterRef("valid_from"))
    entered = Q(source=Price.Source.MANUAL) & ~Q(source=OuterRef("source"))
    return same.filter(newer | entered).order_by("valid_from")


def dollars(name: str, description: Any) -> Any:
    """Make a column of the list for an amount, without the zeros that it is stored with."""

    @admin.display(description=description, ordering=name)
    def column(obj: Price) -> str:
        return written(getattr(obj, name))

    return column


def written(amount: Decimal | None) -> str:
    """Write an amount of dollars."""
    if amount is None:
        return NOTHING
    return f"${amount:f}".rstrip("0").rstrip(".") if "." in f"{amount:f}" else f"${amount:f}"


@admin.register(Price)
class PriceAdmin(ChangesAdmin):
    """What models cost."""

    when_empty = _(
        "No price is stored yet. What the providers publish counts without being listed, if the extra prices is "
        "installed. Add one for a model that has none, or that costs you something else."
    )
    list_display = (
        "__str__",
        dollars("input", _("input, $/M")),
        dollars("output", _("output, $/M")),
        "cached",
        "others",
        "span",
        "is_entered",
    )
    list_filter = (InForceFilter, "source")
    search_fields = ("provider", "model", "note")
    ordering = ("provider", "model", "-valid_from")
    save_as = True
    readonly_fields = ("source",)
    fieldsets = (
        (None, {"fields": ("provider", "model", ("valid_from", "valid_until"))}),
        (
            _("Dollars for a million tokens"),
            {
                "fields": (
                    ("input", "output"),
                    ("cache_read", "cache_write", "cache_write_1h"),
                    ("reasoning",),
                    ("input_audio", "output_audio"),
                    ("input_image", "output_image"),
                ),
                "description": _(
                    "An empty one is charged as what it is a kind of: what is cached, heard or seen as input, "
                    "reasoning and what is spoken or drawn as output. Without a price of its kind it costs nothing."
                ),
            },
        ),
        (_("Long contexts, service tiers, fees"), {"fields": ("tiers", "service_tiers", "request", "units")}),
        (_("For people"), {"fields": ("note", "source")}),
    )

    @admin.display(description=_("cached, $/M"))
    def cached(self, obj: Price) -> str:
        """What it costs to read from the cache and to write to it."""
        if obj.cache_read is None and obj.cache_write is None:
            return NOTHING
        return f"{written(obj.cache_read)} / {written(obj.cache_write)}"

    @admin.display(description=_("also"))
    def others(self, obj: Price) -> str:
        """What else has a price, in a word each."""
        names = {"tiers": _("long"), "service_tiers": _("tiers"), "request": _("call"), "units": _("units")}
        return ", ".join(str(name) for field, name in names.items() if field in obj.columns()) or NOTHING

    @admin.display(description=_("entered"), boolean=True, ordering="source")
    def is_entered(self, obj: Price) -> bool:
        """Whether a person entered it."""
        return obj.source == Price.Source.MANUAL

    @admin.display(description=_("valid"), ordering="valid_from")
    def span(self, obj: Price) -> str:
        """From when to when it counts: until another row takes its place, at the latest."""
        ends = [moment for moment in (obj.valid_until, getattr(obj, "replaced_at", None)) if moment is not None]
        return f"{day(obj.valid_from)} → {day(min(ends)) if ends else '…'}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Price]:
        """Read along when a newer row takes a row's place."""
        newer = rivals().filter(source=OuterRef("source")).values("valid_from")[:1]
        found: QuerySet[Price] = super().get_queryset(request)
        return found.annotate(replaced_at=Subquery(newer))

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Suggest the providers that there are."""
        if db_field.name == "provider":
            kwargs["widget"] = formfields.SuggestingInput(
                lambda: ["*", *sorted(known_aliases())], {"class": "vTextField"}
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Price, form: Any, change: bool) -> None:
        """Save it as entered by a person, and say what it leaves free. What nobody changed stays as it is."""
        if change and not form.changed_data:
            return
        if change and obj.source == Price.Source.SYNCED:
            messages.info(request, _("It counts as entered now: no synchronisation changes it any more."))
        obj.source = Price.Source.MANUAL
        super().save_model(request, obj, form, change)
        if obj.input and obj.output is None and not obj.service_tiers:
            messages.warning(request, _("It has no price for output: answers of these models count as free."))
        if "*" not in obj.provider and obj.provider not in known_aliases():
            text = _("There is no provider %(alias)s: it counts for nothing until there is one.")
            messages.warning(request, text % {"alias": obj.provider})

    def tools(self, request: HttpRequest, obj: Price) -> Iterable[Tool]:
        """See ControlAdmin.tools."""
        query = urlencode({"provider__exact": obj.provider, "model__exact": obj.model})
        yield Tool(translate("All prices of this model"), f"{self.url_of('changelist')}?{query}", "history")

    def list_tools(self, request: HttpRequest) -> Iterable[Tool]:
        """See ControlAdmin.list_tools."""
        yield Tool(translate("Models without a price"), self.url_of("unpriced"), "money_off")
        yield from super().list_tools(request)

    def get_urls(self) -> list[Any]:
        """Add the page."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_unpriced"
        return [path("unpriced/", self.admin_site.admin_view(self.unpriced_view), name=name), *super().get_urls()]

    def unpriced_view(self, request: HttpRequest) -> HttpResponse:
        """Show the models that were called lately and that nobody knew the price of."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {"found": self.unpriced(), "days": UNPRICED_DAYS, "may_add": self.has_add_permission(request)}
        return self.page(request, "unpriced.html", translate("Models without a price"), None, **context)

    def unpriced(self) -> list[Unpriced]:
        """Find them, those that are called most first."""
        since = timezone.now().date() - timedelta(days=UNPRICED_DAYS)
        rows = (
            UsageDaily.objects.filter(day__gte=since, unpriced__gt=0)
            .order_by()
            .values_list("provider", "served_model")
            .annotate(calls=Sum("unpriced"), last_day=Max("day"))
            .order_by("-calls", "provider", "served_model")[:MOST_UNPRICED]
        )
        snapshot, at = registry.snapshot(), timezone.now().timestamp()
        found = []
        for alias, model, calls, last_day in rows:
            provider = snapshot.providers.get(alias)
            price = snapshot.prices.of(alias, provider.row if provider else "", model, at)
            query = urlencode({"provider": alias, "model": model})
            found.append(Unpriced(alias, model, calls, last_day, price is not None, f"{self.url_of('add')}?{query}"))
        return found


def day(value: datetime) -> str:
    """Write the day of a point in time as the site does."""
    return date_format(as_shown(value), "SHORT_DATE_FORMAT")
