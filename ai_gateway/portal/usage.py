"""The page with what the user used this month, by model and by key, and what is left of the limits that hold.

All of it is the user's own, but for limits that are shared: of those it says how much is used in all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as translate
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from ai_gateway import key_store, registry, wording
from ai_gateway.allowances import Due, now
from ai_gateway.calls import Caller
from ai_gateway.conf import settings
from ai_gateway.limits import StoreUnavailable, store
from ai_gateway.models import UsageDaily, VirtualKey
from ai_gateway.models.usage_queries import UsageGroup
from ai_gateway.spending import Names, today
from ai_gateway.standings import Standing, standings

logger = logging.getLogger("ai_gateway")

MOST_KEYS = 100
"""Keys whose limits are shown."""

MOST_ROWS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLimit:
    """A limit as the page has it: its name, whose it is, what it allows, where it stands."""

    name: str
    whose: str
    allows: str
    stands: str
    percent: int


@login_required
@never_cache
@require_GET
def usage(request: HttpRequest) -> HttpResponse:
    """This month of the user."""
    month = today().replace(day=1)
    rows = UsageDaily.objects.by_user(request.user.pk).between(month)
    models, keys = rows.group_totals("provider", "model"), rows.group_totals("key")
    context = {
        "section": "usage",
        "month": month,
        "time_zone": settings.TIME_ZONE,
        "used": wording.figures(rows.totals()),
        "tables": [
            (translate("By model"), translate("Model"), _lines(models, ("provider", "model"))),
            (translate("By key"), translate("Key"), _lines(keys, ("key",))),
        ],
        "limits": shown_limits(request.user),
    }
    return render(request, "ai_gateway/portal/usage.html", context)


def _lines(groups: list[UsageGroup], kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    """Write sums as lines of a table. A key needs no owner's name here."""
    names = Names([]) if kinds == ("key",) else Names(groups)
    lines = []
    for group in groups[:MOST_ROWS]:
        name = group.key_name if kinds == ("key",) else "/".join(names.of(group, kind) for kind in kinds)
        lines.append({"parts": (name or "—").split("/"), **wording.figures(group.totals)})
    return lines


def shown_limits(user: Any) -> list[ShownLimit] | None:
    """Tell where the limits stand that hold for a user's calls; None if that cannot be told now."""
    whose = limits_of(user)
    try:
        found = async_to_sync(standings)(list(whose), store(), now())
    except StoreUnavailable as error:
        logger.error("Where the limits stand cannot be told: %s", error)
        return None
    return [_shown(standing, name) for standing, name in zip(found, whose.values(), strict=True)]


def limits_of(user: Any) -> Mapping[Due, str]:
    """List the limits that hold for a user's calls, each once, with whose it is."""
    table = registry.snapshot().limits
    found: dict[Due, str] = {}
    for due in table.of_caller(key_store.caller_of(user)):
        if due.rule.scope == "everyone":
            found[due] = translate("everybody together")
        elif due.rule.scope == "user":
            found[due] = translate("all of my keys")
    for key in _keys_of(user):
        caller = Caller(key_name=key.name, key_id=key.pk, user_id=user.pk, group_id=key.group_id)
        for due in table.of_caller(caller):
            if due.rule.scope == "key":
                found[due] = translate("the key %(name)s") % {"name": key.name}
            elif due.rule.scope == "group":
                found[due] = translate("the team %(name)s") % {"name": key.group}
    return found


def _keys_of(user: Any) -> Iterable[VirtualKey]:
    return VirtualKey.objects.filter(user=user.pk, is_active=True).select_related("group")[:MOST_KEYS]


def _shown(standing: Standing, whose: str) -> ShownLimit:
    return ShownLimit(
        name=standing.rule.name,
        whose=whose,
        allows=wording.allowance(standing.rule),
        stands=wording.standing(standing),
        percent=standing.percent,
    )
