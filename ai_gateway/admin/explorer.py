"""What calls can be searched by: fields over their list, whose values are in the address of the page.

What no index finds is searched for within a span of time only: whoever names none gets the last days (SPAN), and the
address says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings as site
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from ai_gateway.admin.keyset import AFTER, BEFORE, KeysetChangeList
from ai_gateway.admin.usage_base import SpanFilter
from ai_gateway.models import VirtualKey
from ai_gateway.models.base import as_shown, as_stored
from ai_gateway.models.usage_queries import FAILURES, UsageRecordQuerySet
from ai_gateway.questions import NOBODY

SPAN = "7d"
"""The span that is searched if nobody names one and no index helps."""

INDEXED = ("who", "session", "q")
"""Parameters that an index finds the rows of. It also finds those of a virtual key, and not those of a key of the
settings, which is nothing but a name."""

PLACES = frozenset((AFTER, BEFORE, "order", "span", "since", "until", "p", "e"))
"""Parameters that narrow nothing, or by time."""

MOST_NAMES = 100


OFFSET = re.compile(r"(?<=:\d\d)(Z|[+-]\d\d:?\d\d)$")
"""What stands behind a time of day, and which time zone's it is."""


class MomentInput(forms.DateTimeInput):
    """Asks for a moment with the browser's own calendar, which knows no offsets."""

    def __init__(self) -> None:
        super().__init__(attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S")

    def format_value(self, value: Any) -> str | None:
        """Leave the offset out."""
        return OFFSET.sub("", value) if isinstance(value, str) else super().format_value(value)


class MomentField(forms.DateTimeField):
    """A moment with or without an offset, as the database is asked for it. Django's own field refuses an hour that the
    clocks show twice or leave out; this one takes it for the first, or for the one that the clocks were put to."""

    widget = MomentInput

    def to_python(self, value: Any) -> datetime | None:
        """Read it. Raises ValidationError."""
        try:
            read = parse_datetime(str(value).strip())
            if read is None:
                return super().to_python(value)
            at = read if timezone.is_aware(read) or not site.USE_TZ else timezone.make_aware(read)
            if timezone.is_aware(at):
                at.astimezone(UTC)  # No database has the first or the last day of all.
            return as_stored(at)
        except (ValueError, OverflowError) as error:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from error


class CallForm(forms.Form):
    """What calls are searched by, besides what the filters beside the list offer."""

    key = forms.CharField(label=_("Key"), required=False, help_text=_("Its name."))
    who = forms.CharField(label=_("User"), required=False, help_text=_("The beginning of the name."))
    asked = forms.CharField(label=_("Requested model"), required=False)
    route = forms.CharField(label=_("Route"), required=False, help_text=_("- for none."))
    code = forms.CharField(label=_("Error code"), required=False)
    session = forms.CharField(label=_("Session"), required=False)
    agent = forms.CharField(label=_("Agent"), required=False)
    tag = forms.CharField(label=_("Tag"), required=False)
    slower = forms.FloatField(label=_("Longer than (s)"), required=False, min_value=0, max_value=1e6)
    dearer = forms.DecimalField(label=_("Dearer than ($)"), required=False, min_value=0, max_value=10**6)
    since = MomentField(label=_("Since"), required=False)
    until = MomentField(label=_("Until"), required=False)
    order = forms.ChoiceField(
        label=_("Order"), required=False, choices=[("", _("newest first")), ("oldest", _("oldest first"))]
    )

    @property
    def is_used(self) -> bool:
        """Whether anything is searched by."""
        return any(self.data.get(name) for name in self.fields)

    def narrowed(self, rows: UsageRecordQuerySet) -> UsageRecordQuerySet:
        """Narrow rows to what is searched for; to none if that cannot be read."""
        if not self.is_valid():
            return rows.none()
        for name, value in self.cleaned_data.items():
            if value not in (None, ""):
                rows = NARROWING[name](rows, value)
        return rows


def of_key(rows: UsageRecordQuerySet, name: str) -> UsageRecordQuerySet:
    """Find what a key was used for: a virtual one by its name or its number, one of the settings by its name."""
    ids = ids_of_key(name)
    return rows.filter(key_id__in=ids) if ids else rows.filter(key_name=name)


def ids_of_key(name: str) -> list[int]:
    """List the virtual keys of a name, or the one of a number."""
    named = VirtualKey.objects.filter(Q(pk=int(name)) if name.isdecimal() and len(name) < 19 else Q(name=name))
    return list(named.values_list("pk", flat=True)[:MOST_NAMES])


def of_user(rows: UsageRecordQuerySet, name: str) -> UsageRecordQuerySet:
    """Find what people used, by the beginning of their names."""
    people: Any = get_user_model()
    named = people._default_manager.filter(**{f"{people.USERNAME_FIELD}__startswith": name})
    return rows.filter(user_id__in=list(named.values_list("pk", flat=True)[:MOST_NAMES]))


def since(rows: UsageRecordQuerySet, at: datetime) -> UsageRecordQuerySet:
    """Find what arrived from a moment on."""
    return rows.filter(started_at__gte=at)


def until(rows: UsageRecordQuerySet, at: datetime) -> UsageRecordQuerySet:
    """Find what arrived before a moment."""
    return rows.filter(started_at__lt=at)


NARROWING: dict[str, Any] = {
    "key": of_key,
    "who": of_user,
    "asked": lambda rows, name: rows.filter(model=name),
    "route": lambda rows, name: rows.filter(route="" if name == NOBODY else name),
    "code": lambda rows, code: rows.filter(error_code=code),
    "session": lambda rows, name: rows.filter(session=name),
    "agent": lambda rows, name: rows.filter(agent=name),
    "tag": lambda rows, tag: rows.by_tag(tag),
    "slower": lambda rows, seconds: rows.filter(duration_ms__gt=seconds * 1000),
    "dearer": lambda rows, dollars: rows.filter(cost_nanos__gt=int(Decimal(dollars).scaleb(9))),
    "since": since,
    "until": until,
    "order": lambda rows, order: rows,
}
"""What each field narrows rows to."""


def needs_span(query: QueryDict) -> bool:
    """Whether a search would read all rows there are: it names neither a time nor anything that an index finds."""
    given = {name for name in query if query.get(name)}
    is_bounded = not given.isdisjoint(("span", "since", *INDEXED)) or bool(ids_of_key(query.get("key", "")))
    return bool(given - PLACES) and not is_bounded


class CallList(KeysetChangeList):
    """A page of the calls that were searched for."""

    own_params = KeysetChangeList.own_params | frozenset(CallForm.base_fields)

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Narrow what the filters leave."""
        rows: Any = super().get_queryset(request, exclude_parameters)
        self.form = CallForm(request.GET)
        return self.form.narrowed(rows)

    def span_query(self, since: datetime, until: datetime) -> str:
        """The query string of the calls of a span."""
        return self.get_query_string({"since": written(since), "until": written(until)}, ["span"])

    @property
    def others(self) -> list[tuple[str, str]]:
        """What else is in the address, for the form to keep."""
        own = {*CallForm.base_fields, AFTER, BEFORE, "q", "p", "e"}
        return [(name, value) for name, value in self.params.items() if name not in own]


def written(at: datetime) -> str:
    """Write a moment as the form reads it, in the time zone that people see; with its offset in an hour that the clocks
    show twice."""
    shown = as_shown(at)
    comes_twice = shown.replace(fold=0).utcoffset() != shown.replace(fold=1).utcoffset()
    return (shown if comes_twice else shown.replace(tzinfo=None)).isoformat(timespec="seconds")


class CallSpanFilter(SpanFilter):
    """Spans of single calls, hours among them."""

    HOURS = {"1h": 1, "24h": 24}  # noqa: RUF012

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name the choices."""
        hours = [("1h", _("the last hour")), ("24h", _("the last 24 hours"))]
        return [*hours, *super().lookups(request, model_admin), ("all", _("all"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter."""
        hours = self.HOURS.get(self.value() or "")
        if hours is None:
            return super().queryset(request, queryset)
        return queryset.filter(started_at__gte=timezone.now() - timedelta(hours=hours))

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Offer the choices. All of them is one that is named: the address of a search says how far back it goes."""
        chosen = self.value() or ("" if changelist.params.get("since") else "all")
        for value, title in self.lookup_choices:
            link = changelist.get_query_string({self.parameter_name: value}, ["since", "until"])
            yield {"selected": chosen == value, "query_string": link, "display": title}


class StatusFilter(admin.SimpleListFilter):
    """By the class of the status that the caller got."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Name the choices."""
        return [("2", "2xx"), ("4", "4xx"), ("5", "5xx"), ("0", _("none")), ("errors", _("every error"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter."""
        value = self.value() or ""
        if value == "errors":
            return queryset.filter(outcome__in=FAILURES)
        if value == "0":
            return queryset.filter(status=0)
        if value in ("2", "4", "5"):
            return queryset.filter(status__range=(int(value) * 100, int(value) * 100 + 99))
        return queryset
