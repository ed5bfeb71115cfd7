"""Limits in the admin: who may use how much of what, and where each limit stands now.

The store of limits is asked where they stand, once a page. With the store `memory` that is this process, and others
count for themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ai_gateway import wording
from ai_gateway.admin import formfields
from ai_gateway.admin.base import UncountedChangeList
from ai_gateway.admin.changes import ChangesAdmin
from ai_gateway.allowances import Due, LimitRule, now, read_limit
from ai_gateway.conf import settings
from ai_gateway.limits import StoreUnavailable, store
from ai_gateway.models import Limit, Route, known_aliases
from ai_gateway.standings import Standing, standings

logger = logging.getLogger("ai_gateway")

FOR_WHOM = _(
    "The scope says whose calls are counted together. For a key, a user or a group choose which one; for a route, a "
    "provider or a model write its name, with * for anything; for a value of a header write the header and the value. "
    "Without one, the limit holds for each by itself: each key 60 requests a minute, for example."
)

NAMED = ("route", "provider", "model", "header")
"""The scopes whose limits say by a text what they are for."""

HOW_MUCH = _(
    "A minute slides: what was used comes back little by little. Hours, days, weeks and months are those of the "
    "calendar. Before a call its tokens and dollars are estimated and reserved; after it, what it really used counts."
)


class LimitForm(forms.ModelForm):  # type: ignore[type-arg]
    """A limit, which calls must be able to keep to."""

    class Meta:
        model = Limit
        fields = "__all__"  # noqa: DJ007

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["amount"] = f"{self.instance.amount.normalize():f}"

    def clean(self) -> dict[str, Any] | None:
        """Take for empty what the scope has no use for: whoever changes the scope need not clear the other fields."""
        cleaned = super().clean()
        scope = self.cleaned_data.get("scope")
        for name, nothing in (("key", None), ("user", None), ("group", None), ("header", "")):
            if scope != name and name in self.cleaned_data:
                self.cleaned_data[name] = nothing
        if scope not in NAMED:
            self.cleaned_data["subject"] = ""
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            try:
                rule_of(self.instance)
            except ValueError as error:
                self.add_error(None, ValidationError(str(error)))


def rule_of(limit: Limit) -> LimitRule:
    """Read a limit as the gateway does. Raises ValueError."""
    return read_limit(limit.entry(), id=str(limit.pk), zone=settings.TIME_ZONE)


def standings_of(limits: Iterable[Limit]) -> Mapping[Any, Standing]:
    """Ask where limits stand, of those that have one counter and not one for each whom they hold for."""
    dues: dict[Any, Due] = {}
    for limit in limits:
        try:
            rule = rule_of(limit)
        except ValueError:
            continue  # It is left out, and the log says why.
        if rule.subject:
            dues[limit.pk] = Due(rule, rule.subject)
    try:
        found = async_to_sync(standings)(list(dues.values()), store(), now())
    except StoreUnavailable as error:
        logger.error("Where the limits stand cannot be told: %s", error)
        return {}
    return dict(zip(dues, found, strict=True))


class LimitChangeList(UncountedChangeList):
    """A page of limits, with where they stand."""

    def get_results(self, request: HttpRequest) -> None:
        """Ask for all limits of the page at once."""
        super().get_results(request)
        found = standings_of(self.result_list)
        for limit in self.result_list:
            limit.standing = found.get(limit.pk)


@admin.register(Limit)
class LimitAdmin(ChangesAdmin):
    """Limits, and where they stand."""

    form = LimitForm
    when_empty = _(
        "No limit is stored yet. Unless the settings have some, everybody may use as much as they like. Add one, for "
        "example of the dollars that each user may spend in a month."
    )
    list_display = ("name", "holds_for", "allows", "stands", "is_enabled")
    list_filter = ("scope", "measure", "window", "is_enabled")
    list_select_related = ("key", "user", "group")
    sortable_by = ("name",)
    search_fields = ("name", "subject")
    search_help_text = _("A part of the name, or of what it is for.")
    looked_up = ("key", "user", "group")
    actions = ("enable_selected", "disable_selected")

    class Media:
        js = ("ai_gateway/limits.js",)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Say where a limit stands that there is."""
        first = ("name", "is_enabled") if obj is None else ("name", "stands", "is_enabled")
        return (
            (None, {"fields": first}),
            (
                _("For whom"),
                {"fields": ("scope", "key", "user", "group", "header", "subject"), "description": FOR_WHOM},
            ),
            (_("How much"), {"fields": ("measure", "amount", "window", "time_zone"), "description": HOW_MUCH}),
            (_("Warnings"), {"fields": ("soft_percent", "is_soft")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Where it stands is not for anybody to say."""
        return ("stands",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        """List with where the limits stand."""
        return LimitChangeList

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Suggest the routes and providers that there are."""
        if db_field.name == "subject":
            kwargs["widget"] = formfields.SuggestingInput(suggestions, {"class": "vTextField"})
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Limit, form: Any, change: bool) -> None:
        """Say so if there is nothing yet that it is for."""
        super().save_model(request, obj, form, change)
        known = names_of(Limit.Scope(obj.scope))
        if known is not None and obj.subject and "*" not in obj.subject and obj.subject not in known:
            text = _("There is nothing by the name of %(subject)s: it holds for nothing until there is.")
            messages.warning(request, text % {"subject": obj.subject})

    # What is shown.

    @admin.display(description=_("for"))
    def holds_for(self, obj: Limit) -> str:
        """Whose calls are counted together."""
        scope = Limit.Scope(obj.scope).label
        if obj.scope == Limit.Scope.EVERYONE:
            return str(scope)
        chosen = getattr(obj, obj.scope) if obj.scope in ("key", "user", "group") else obj.subject
        which = str(chosen) if chosen else str(_("each by itself"))
        return f"{scope} {obj.header}: {which}" if obj.header else f"{scope}: {which}"

    @admin.display(description=_("allows"))
    def allows(self, obj: Limit) -> str:
        """How much of what, in which time."""
        try:
            return wording.allowance(rule_of(obj))
        except ValueError as error:
            return str(error)

    @admin.display(description=_("stands at"))
    def stands(self, obj: Limit) -> str:
        """How much is used of it now, and when it begins anew."""
        if not obj.is_enabled:
            return str(_("not enabled"))
        found = obj.standing if hasattr(obj, "standing") else standings_of([obj]).get(obj.pk)
        if found is not None:
            look = "gateway-no" if found.left == 0 else ""
            return format_html('<span class="{}">{}</span>', look, wording.standing(found))
        is_each = obj.scope != Limit.Scope.EVERYONE and not (obj.subject or obj.key_id or obj.user_id or obj.group_id)
        return str(_("each has its own count") if is_each else _("cannot be told now"))

    # What is done.

    @admin.action(description=_("Enable the selected limits"), permissions=["change"])
    def enable_selected(self, request: HttpRequest, queryset: QuerySet[Limit]) -> None:
        """Enable limits."""
        self.switch(request, queryset, to=True)

    @admin.action(description=_("Disable the selected limits"), permissions=["change"])
    def disable_selected(self, request: HttpRequest, queryset: QuerySet[Limit]) -> None:
        """Disable limits."""
        self.switch(request, queryset, to=False)

    def switch(self, request: HttpRequest, queryset: QuerySet[Limit], *, to: bool) -> None:
        """Switch limits on or off, one by one: so each tells that it was changed, and has it in its history."""
        limits = list(queryset.exclude(is_enabled=to))
        for limit in limits:
            limit.is_enabled = to
            limit.save(update_fields=["is_enabled", "updated_at"])
            self.log_change(request, limit, [{"changed": {"fields": [f"enabled: {'no → yes' if to else 'yes → no'}"]}}])
        text = _("Enabled %(count)d limits.") if to else _("Disabled %(count)d limits.")
        messages.success(request, text % {"count": len(limits)})


def names_of(scope: str) -> set[str] | None:
    """Name all that a limit of this scope can be for; None if nobody here knows them."""
    if scope == Limit.Scope.ROUTE:
        return {*settings.ROUTES, *Route.objects.values_list("name", flat=True)}
    return known_aliases() if scope == Limit.Scope.PROVIDER else None


def suggestions() -> list[str]:
    """Name what a limit may be for: routes, and providers with what they serve."""
    routes = Route.objects.order_by("name").values_list("name", flat=True)[:200]
    return [*routes, *sorted(known_aliases())]
