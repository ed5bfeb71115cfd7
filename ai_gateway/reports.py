"""A report of what was used: sums by one thing, written as a table for people, or as CSV or JSON for programs.

Sums come from the days, which stay when single calls are forgotten; only tags and the parts of experiments are asked of
the calls themselves.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ai_gateway.exports import safe
from ai_gateway.models import UsageDaily, UsageRecord
from ai_gateway.models.usage_queries import COLUMNS, UsageGroup, UsageTotals
from ai_gateway.money import exact, rounded
from ai_gateway.spending import Names
from ai_gateway.timespans import Span

BY: dict[str, tuple[str, ...]] = {
    "model": ("provider", "model"),
    "provider": ("provider",),
    "user": ("user",),
    "group": ("group",),
    "key": ("key",),
    "route": ("route",),
    "day": ("day",),
    "tag": ("tag",),
    "variant": ("variant",),
}
"""What a report can be made by, with its first columns."""

NOBODY = "—"
"""What a table says where a call had no key, no user, no group or no route."""

SHOWN: dict[str, Callable[[UsageTotals], str]] = {
    "requests": lambda each: f"{each.requests:,}",
    "errors": lambda each: f"{each.errors:,}",
    "input": lambda each: f"{each.input_tokens + each.input_audio_tokens + each.input_image_tokens:,}",
    "cached": lambda each: f"{each.cache_read_tokens:,}",
    "cache written": lambda each: f"{each.cache_write_tokens + each.cache_write_1h_tokens:,}",
    "output": lambda each: f"{each.output_tokens + each.output_audio_tokens + each.output_image_tokens:,}",
    "reasoning": lambda each: f"{each.reasoning_tokens:,}",
    "cost": lambda each: rounded(each.cost_nanos),
}
"""The other columns of a table. Tokens of audio and images stand with the text that they came with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The sums, the names that go with them, and the sum of all, of which `rows` may be the first few."""

    by: str
    span: Span
    rows: Sequence[UsageGroup]
    more: int
    total: UsageTotals
    names: Names

    def labels(self, row: UsageGroup) -> list[str]:
        """Name what a row is about."""
        return [self.names.of(row, kind) for kind in BY[self.by]]


def make_report(by: str, span: Span, filters: Sequence[tuple[str, Any]], top: int | None = None) -> Report:
    """Ask for the sums of a span. `filters` are names of methods such as `by_user`, each with what it is given."""
    table: Any = UsageRecord if by in ("tag", "variant") else UsageDaily
    rows = table.objects.between(*span)
    if by == "variant":
        rows = rows.in_experiments()
    for method, value in filters:
        rows = getattr(rows, method)(value)
    groups = rows.tag_totals() if by == "tag" else rows.group_totals(*BY[by])
    # A call may have two tags, or none: their sum is not that of the calls.
    total = rows.totals() if by == "tag" else sum((each.totals for each in groups), UsageTotals())
    shown = groups if top is None else groups[:top]
    return Report(by=by, span=span, rows=shown, more=len(groups) - len(shown), total=total, names=Names(shown))


def as_table(report: Report) -> str:
    """Write a report for people."""
    columns = BY[report.by]
    lines = [[*columns, *SHOWN]]
    for row in report.rows:
        lines.append([*(label or NOBODY for label in report.labels(row)), *_shown(row.totals)])
    lines.append(["total", *[""] * (len(columns) - 1), *_shown(report.total)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    written = [_line(line, widths, len(columns)) for line in lines]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([written[0], rule, *written[1:-1], rule, written[-1], *_remarks(report)])


def _shown(totals: UsageTotals) -> list[str]:
    return [write(totals) for write in SHOWN.values()]


def _line(cells: Sequence[str], widths: Sequence[int], names: int) -> str:
    aligned = (
        cell.ljust(width) if number < names else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(aligned).rstrip()


def _remarks(report: Report) -> list[str]:
    total = report.total
    remarks = []
    if report.more:
        remarks.append(f"{report.more:,} more are in the total.")
    if total.unpriced:
        remarks.append(f"Requests without a price, which count as nothing: {total.unpriced:,}")
    if total.estimated:
        remarks.append(
            f"Requests that are estimated, because the provider did not say what they used: {total.estimated:,}"
        )
    return remarks


def as_csv(report: Report) -> str:
    """Write a report as CSV, with every column and exact dollars. Only the rows: the total is the reader's to make."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*BY[report.by], *_numbers(report.total)])
    for row in report.rows:
        writer.writerow([*map(safe, report.labels(row)), *_numbers(row.totals).values()])
    return text.getvalue().rstrip("\n")


def as_json(report: Report, zone: str) -> str:
    """Write a report as one JSON object. Dollars are exact, and so a string."""
    columns = BY[report.by]
    document = {
        "since": report.span.since.isoformat() if report.span.since else None,
        "until": report.span.until.isoformat() if report.span.until else None,
        "time_zone": zone,
        "currency": "USD",
        "by": report.by,
        "rows": [
            {**dict(zip(columns, report.labels(row), strict=True)), **_numbers(row.totals)} for row in report.rows
        ],
        "more": report.more,
        "total": _numbers(report.total),
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _numbers(totals: UsageTotals) -> dict[str, Any]:
    numbers = {name: getattr(totals, name) for name in COLUMNS if not name.endswith("_nanos")}
    return {**numbers, "cost": exact(totals.cost_nanos), "saved": exact(totals.saved_nanos)}
