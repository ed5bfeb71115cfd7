"""What the dashboard shows, as CSV, with exact dollars."""

from __future__ import annotations

import csv
import io
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _

from ai_gateway.exports import safe
from ai_gateway.figures import Figures, Sums
from ai_gateway.money import exact

TABLES = {"breakdown": _("Breakdown as CSV"), "timeline": _("Timeline as CSV")}

PERCENTILES = (0.5, 0.95, 0.99)


def as_csv(name: str, found: Figures) -> HttpResponse:
    """Write one of TABLES, with exact dollars."""
    text = io.StringIO()
    lines = csv.writer(text)
    if name == "timeline":
        shown = [f"{what}_p{round(100 * share)}_ms" for what in ("duration", "first_token") for share in PERCENTILES]
        lines.writerow(["time", *NUMBERS, *shown])
        for moment, step in found.steps.items():
            read = [measure(share) for measure in (step.duration, step.first_token) for share in PERCENTILES]
            lines.writerow([moment.isoformat(), *numbers(step), *read])
    else:
        lines.writerow([found.question.by, *NUMBERS, *(f"{name}_before" for name in COMPARED)])
        for share in found.shares:
            lines.writerow([safe(share.name), *numbers(share.now), *compared(share.before)])
    response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    span = f"{found.question.since:%Y-%m-%d}-{found.question.period}"
    response["Content-Disposition"] = f'attachment; filename="{name}-{span}.csv"'
    return response


NUMBERS = ("requests", "errors", "unpriced", "tokens", "cost")


COMPARED = ("requests", "unpriced", "cost")


def compared(before: Sums) -> list[Any]:
    """Give the cells of a sum of the span before."""
    found = dict(zip(NUMBERS, numbers(before), strict=True))
    return [found[name] for name in COMPARED]


def numbers(sums: Sums) -> list[Any]:
    """Give the cells of a sum. What has no price has no cost."""
    is_unpriced = sums.unpriced and not sums.cost_nanos
    return [sums.requests, sums.errors, sums.unpriced, sums.tokens, "" if is_unpriced else exact(sums.cost_nanos)]
