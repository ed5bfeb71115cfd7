"""The dashboard: what is used, by whom, of what, how well it goes, and what of that is new.

Whoever has `view_usage` sees everybody's; any other member of staff sees their own. Everything follows from the
address, the CSV included. Names lead to the calls that are meant, for those who may see calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from ai_gateway import charts, figures, wording
from ai_gateway.admin.amounts import NONE, UNPRICED, change, compact, milliseconds, money, named, percent
from ai_gateway.admin.base import ControlAdmin, PageAdmin
from ai_gateway.admin.dashboard_csv import TABLES, as_csv
from ai_gateway.admin.explorer import written
from ai_gateway.admin.limits import rule_of, standings_of
from ai_gateway.admin.usage_base import list_url, recent_pairs, sees_all
from ai_gateway.budgets import burn
from ai_gateway.conf import settings
from ai_gateway.figures import Figures, Share, Step, Sums
from ai_gateway.models import BreakerEvent, Dashboard, Limit
from ai_gateway.models.base import as_told
from ai_gateway.models.usage_queries import beginning, stored_beginning
from ai_gateway.money import rounded
from ai_gateway.questions import BY, FILTERS, NOBODY, PERIODS, Question, read_question

PERIOD_NAMES = {
    "24h": _("24 hours"),
    "7d": _("7 days"),
    "30d": _("30 days"),
    "90d": _("90 days"),
    "month": _("This month"),
    "custom": _("Custom"),
}
NAMES = {
    "model": _("Model"),
    "provider": _("Provider"),
    "key": _("Key"),
    "user": _("User"),
    "group": _("Group"),
    "route": _("Route"),
    "tag": _("Tag"),
    "session": _("Session"),
    "agent": _("Agent"),
    "project": _("Project"),
    "end_user": _("End user"),
}
PLURALS = {
    "model": _("Models"),
    "provider": _("Providers"),
    "key": _("Keys"),
    "user": _("Users"),
    "route": _("Routes"),
    "session": _("Sessions"),
}

MOST_BUDGETS = 20
MOST_EVENTS = 20

BAD_RATE = 0.05
"""From this share of errors on, a provider's day is marked."""


class Tile(NamedTuple):
    """A number, what became of it since the span before, and its line."""

    title: str
    value: str
    detail: str
    change: str
    line: SafeString
    link: str = ""


@admin.register(Dashboard)
class DashboardAdmin(PageAdmin):
    """The page. It is of no table, so that there is no other one."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show the page to all members of staff: of others' usage it tells only who may know."""
        return bool(request.user.is_active and request.user.is_staff)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Name the page in the index to those who may see more than their own, or calls."""
        return sees_all(request) or request.user.has_module_perms("ai_gateway")

    @method_decorator(never_cache)
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show the page, or one of its tables as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        question = read_question(request.GET, settings.TIME_ZONE)
        page = Page(self, request, question)
        try:
            found = figures.ask(question, None if sees_all(request) else request.user.pk)
        except figures.TooMany:
            return self.page(request, "dashboard.html", translate("Dashboard"), None, too_many=True, **page.frame())
        if request.GET.get("csv") in TABLES:
            return as_csv(request.GET["csv"], found)
        return self.page(request, "dashboard.html", translate("Dashboard"), None, **page.frame(), **page.shown(found))


class Page:
    """What the page shows of some figures, written for people."""

    def __init__(self, model_admin: ControlAdmin, request: HttpRequest, question: Question) -> None:
        self.admin = model_admin
        self.request = request
        self.question = question
        self.sees_all = sees_all(request)
        self.may_open = self.sees_all or request.user.has_perm("ai_gateway.view_usagerecord")

    def frame(self) -> dict[str, Any]:
        """Give what stands around the figures: what can be chosen, and what is chosen."""
        question = self.question
        pairs = recent_pairs(self.request)
        return {
            "question": question,
            "sees_all": self.sees_all,
            "time_zone": "UTC" if question.is_hourly else settings.TIME_ZONE,
            "span": self._span(),
            "last_day": question.until - timedelta(days=1),
            "periods": [
                (
                    PERIOD_NAMES[period],
                    question.address(period=period, since=None, until=None),
                    period == question.period,
                )
                for period in PERIODS
                if period != "custom"
            ],
            "period_names": PERIOD_NAMES.items(),
            "choices": [
                (question.address(by=by), NAMES[by], by == question.by) for by in BY if by != "user" or self.sees_all
            ],
            "fields": [
                (name, NAMES[name], question.filters.get(name, ""), suggestions(name, pairs))
                for name in FILTERS
                if self.sees_all or name not in ("user", "group")
            ],
            "filters": [
                (NAMES[name], value, question.address(**{name: None})) for name, value in question.filters.items()
            ],
            "clear": f"?{urlencode({'period': question.period, 'by': question.by})}",
        }

    def _span(self) -> str:
        question = self.question
        if question.is_hourly:
            return translate("the last 24 hours")
        first, last = (date_format(day, "j M Y") for day in (question.since, question.until - timedelta(days=1)))
        return f"{first} \N{EN DASH} {last}" if first != last else first

    def shown(self, found: Figures) -> dict[str, Any]:
        """Give the figures."""
        if not (found.now.requests or found.before.requests):
            may_look = any(self.request.user.has_perm(f"ai_gateway.{each}_provider") for each in ("view", "change"))
            return {"empty": True, "providers_url": list_url(self.admin.admin_site, "provider") if may_look else ""}
        top = charts.nice(max((sum(parts) for parts in self._measured(found)), default=0))
        return {
            "tiles": self._tiles(found),
            "chart": self._chart(found, top),
            "axis": [self._measure(top * number // charts.LINES) for number in range(charts.LINES, -1, -1)],
            "ends": self._ends(found),
            "legend": [(number, named(name)) for number, (name, _sums) in enumerate(found.stacks)],
            "is_money": self._is_money(found),
            "by_name": NAMES[self.question.by],
            "breakdown": self._lines(self.question.by, found.shares[:50], found.now),
            "more": max(len(found.shares) - 50, 0),
            "timeline": self._timeline(found),
            "tops": [
                (by, PLURALS[by], self._lines(by, found.tops[by], found.now))
                for by in ("model", "key", *(("user",) if self.sees_all else ()), "provider", "route", "session")
                if any(share.name and share.now.requests for share in found.tops[by])
            ],
            "movers": [
                (
                    share.name or NONE,
                    money(share.before),
                    money(share.now),
                    share.change > 0,
                    rounded(abs(share.change)),
                )
                for share in found.movers
            ],
            "health": self._health(found),
            "events": self._events(),
            "budgets": self._budgets(),
            "csv": [(title, self.question.address(csv=name)) for name, title in TABLES.items()],
        }

    # The tiles.

    def _tiles(self, found: Figures) -> list[Tile]:
        now, before, steps = found.now, found.before, list(found.steps.values())
        link = self.link(since=self.question.since, until=self.question.until)

        def tile(title: Any, read: Any, write: Any, detail: str = "", link: str = link) -> Tile:
            value, old = read(now), read(before)
            shown = NONE if value is None else write(value)
            return Tile(
                str(title), shown, detail, change(value, old), charts.sparkline([read(step) for step in steps]), link
            )

        unpriced = translate("%(count)s without a price") % {"count": f"{now.unpriced:,}"} if now.unpriced else ""
        spend = tile(
            _("Spend"),
            lambda step: step.cost_nanos,
            rounded,
            unpriced,
            self.link(price="unknown") if unpriced else link,
        )
        if now.unpriced and not now.cost_nanos:
            spend = spend._replace(value=str(UNPRICED), change="")
        failed = translate("%(count)s errors") % {"count": f"{now.errors:,}"}
        limited = translate("%(count)s limited") % {"count": f"{now.limited:,}"} if now.limited else ""
        p95, p99 = (milliseconds(now.duration(share)) for share in (0.95, 0.99))
        hits = translate("%(count)s answered from the cache") % {"count": f"{now.cached:,}"}
        saved = tile(_("Saved"), lambda step: step.saved_nanos, rounded, hits, self.link(outcome__exact="cached"))
        return [
            spend,
            tile(_("Requests"), lambda step: step.requests, compact, limited),
            tile(_("Tokens"), lambda step: step.tokens, compact),
            tile(_("Error rate"), lambda step: step.error_rate, percent, failed, self.link(status="errors")),
            tile(_("Duration, median"), lambda step: step.duration(0.5), milliseconds, f"p95 {p95} · p99 {p99}"),
            tile(
                _("First token, median"),
                lambda step: step.first_token(0.5),
                milliseconds,
                f"p95 {milliseconds(now.first_token(0.95))}",
            ),
            tile(_("Prompt tokens cached"), lambda step: step.cached_share, percent),
            *([saved] if now.cached or before.cached else []),
        ]

    # The chart.

    def _is_money(self, found: Figures) -> bool:
        """Whether money is shown, or requests: where nothing has a price there is no money."""
        return bool(found.now.cost_nanos)

    def _measured(self, found: Figures) -> list[list[int]]:
        name = "cost_nanos" if self._is_money(found) else "requests"
        return [[getattr(sums[place], name) for _name, sums in found.stacks] for place in range(len(found.steps))]

    def _measure(self, value: int) -> str:
        return rounded(value) if value >= 4 * 10**4 else f"{value:,}"

    def _chart(self, found: Figures, top: int) -> SafeString:
        write = rounded if self._is_money(found) else compact
        drawn = []
        for (moment, step), parts in zip(found.steps.items(), self._measured(found), strict=True):
            largest = max(range(len(parts)), key=parts.__getitem__, default=None)
            name = f"{self._moment(moment)}: {write(sum(parts))}, {step.requests:,} {translate('requests')}"
            if largest is not None and parts[largest]:
                name += f", {named(found.stacks[largest][0])} {write(parts[largest])}"
            drawn.append(charts.Column(parts, name, self.link(since=moment, until=moment + self._step())))
        return charts.columns(drawn, top)

    def _step(self) -> timedelta:
        return timedelta(hours=1) if self.question.is_hourly else timedelta(days=1)

    def _moment(self, moment: date) -> str:
        if isinstance(moment, datetime):
            return date_format(moment.astimezone(UTC), "j M H:i")
        return date_format(moment, "D j M")

    def _ends(self, found: Figures) -> list[str]:
        moments = list(found.steps)
        return [self._moment(moments[place]) for place in sorted({0, len(moments) // 2, len(moments) - 1})]

    # The tables.

    def _lines(self, by: str, shares: Sequence[Share], total: Step) -> list[dict[str, Any]]:
        is_money = bool(total.cost_nanos)
        whole = (total.cost_nanos if is_money else total.requests) or 1
        lines = []
        for share in shares:
            part = (share.now.cost_nanos if is_money else share.now.requests) / whole
            lines.append(
                {
                    "name": share.name or NONE,
                    "link": self.link_to(by, share.value),
                    "filter": self._filter(by, share.value),
                    "requests": f"{share.now.requests:,}",
                    "errors": f"{share.now.errors:,}",
                    "tokens": compact(share.now.tokens),
                    "cost": money(share.now),
                    "change": change(share.now.cost_nanos, share.before.cost_nanos),
                    "percent": percent(part),
                    "bar": charts.bar(part),
                }
            )
        return lines

    def _filter(self, by: str, value: Any) -> str:
        if by not in FILTERS or value in (None, ""):
            return ""
        name = f"{figures.OF_SETTINGS}{value}" if by == "key" and isinstance(value, str) else value
        return self.question.address(**{by: name})

    def _timeline(self, found: Figures) -> list[dict[str, Any]]:
        return [
            {
                "moment": self._moment(moment),
                "link": self.link(since=moment, until=moment + self._step()) if step.requests else "",
                "cost": money(step),
                "requests": f"{step.requests:,}",
                "tokens": compact(step.tokens),
                "errors": f"{step.errors:,}",
                "median": milliseconds(step.duration(0.5)),
                "p95": milliseconds(step.duration(0.95)),
                "first": milliseconds(step.first_token(0.5)),
            }
            for moment, step in found.steps.items()
        ]

    def _health(self, found: Figures) -> list[dict[str, Any]]:
        moments = list(found.steps)
        lines = []
        for provider, steps in found.health.items():
            requests, errors = sum(step.requests for step in steps), sum(step.errors for step in steps)
            cells = [
                (10 * place, look_of(step), f"{provider}, {self._moment(moment)}: {step.errors:,} / {step.requests:,}")
                for place, (moment, step) in enumerate(zip(moments, steps, strict=True))
            ]
            rate = errors / requests if requests else None
            lines.append(
                {
                    "name": provider,
                    "requests": f"{requests:,}",
                    "rate": NONE if rate is None else percent(rate),
                    "cells": cells,
                    "width": 10 * len(cells),
                }
            )
        return lines

    def _events(self) -> list[dict[str, Any]]:
        """The breakers that opened and closed: of interest to whoever sees everybody's."""
        if not self.sees_all:
            return []
        span = (self.question.since, self.question.until)
        since, until = (stored_beginning(moment, settings.TIME_ZONE) for moment in span)
        rows = BreakerEvent.objects.filter(at__gte=since, at__lt=until)
        if provider := self.question.filters.get("provider"):
            rows = rows.filter(provider=provider)
        zone = UTC if self.question.is_hourly else ZoneInfo(settings.TIME_ZONE)
        return [
            {
                "at": date_format(as_told(event.at).astimezone(zone), "j M H:i:s"),
                "target": "/".join(filter(None, (event.provider, event.model))),
                "event": event.get_event_display(),
                "reason": event.reason,
            }
            for event in rows.order_by("-at")[:MOST_EVENTS]
        ]

    def _budgets(self) -> list[dict[str, Any]]:
        """Limits of money and tokens, where they stand, and when they will be used up at this pace."""
        if not self.request.user.has_perm("ai_gateway.view_limit"):
            return []
        rows = Limit.objects.filter(is_enabled=True, measure__in=("cost", "tokens")).exclude(window="minute")
        limits = list(rows.select_related("key", "user", "group").order_by("name")[:MOST_BUDGETS])
        found = standings_of(limits)
        now = datetime.now(UTC)
        budgets = []
        for limit in limits:
            standing = found.get(limit.pk)
            if standing is None:
                continue
            projected = burn(standing, now)
            budgets.append(
                {
                    "name": limit.name,
                    "link": f"{list_url(self.admin.admin_site, 'limit')}{limit.pk}/change/",
                    "allows": wording.allowance(rule_of(limit)),
                    "stands": wording.standing(standing),
                    "percent": standing.percent,
                    "elapsed": None if projected is None else round(100 * projected.elapsed),
                    "bar": charts.bar(
                        standing.percent / 100, "gateway-over" if standing.percent >= 90 else "gateway-s0"
                    ),
                    "until": ""
                    if projected is None or projected.exhausted_at is None
                    else date_format(projected.exhausted_at.astimezone(ZoneInfo(settings.TIME_ZONE)), "j M H:i"),
                }
            )
        return budgets

    # Where things lead.

    def link(self, *, since: date | None = None, until: date | None = None, **more: str) -> str:
        """Give the address of the calls that are meant, with the page's own filters."""
        if not self.may_open:
            return ""
        bounds = {"since": since or self.question.since, "until": until or self.question.until}
        parts = {name: written(beginning(moment, settings.TIME_ZONE)) for name, moment in bounds.items()}
        for name, value in self.question.filters.items():
            parts |= parameters(name, value)
        return f"{list_url(self.admin.admin_site, 'usagerecord')}?{urlencode({**parts, **more})}"

    def link_to(self, by: str, value: Any) -> str:
        """Give the address of the calls of one line."""
        if by in ("project", "end_user") or value == "":
            return ""
        name = (
            NOBODY
            if value is None
            else f"{figures.OF_SETTINGS}{value}"
            if by == "key" and isinstance(value, str)
            else str(value)
        )
        return self.link(**parameters(by, name))


def parameters(name: str, value: str) -> dict[str, Any]:
    """Write a filter as the list of calls has it."""
    if name == "model":
        provider, slash, model = value.partition("/")
        return {"provider": provider, "served_model": model} if slash else {"served_model": value}
    if name in ("user", "group", "key") and value == NOBODY:
        return {f"{name}__isnull": "True"}
    if name == "key":
        return {"key": value.removeprefix(figures.OF_SETTINGS)}
    return {f"{name}__id__exact" if name in ("user", "group") else name: value}


def suggestions(name: str, pairs: Iterable[dict[str, str]]) -> list[str]:
    """Suggest what was used lately."""
    column = {"provider": "provider", "model": "served_model"}.get(name)
    return sorted({pair[column] for pair in pairs if pair[column]})[:40] if column else []


def look_of(step: Sums) -> str:
    """Give the class of a provider's step."""
    if not step.requests:
        return "gateway-idle"
    rate = step.errors / step.requests
    return "gateway-well" if not step.errors else "gateway-ill" if rate >= BAD_RATE else "gateway-weak"
