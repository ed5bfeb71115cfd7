"""Charts as SVG, made on the server: they are crisp at any size and on paper, need no script and nothing of anybody
else, keep to the strictest Content-Security-Policy, and take their colours from the page's style sheet.

Pictures are stretched to the width that there is, so that no text stands in them: axes are the page's. A column is a
link with a name for those who hear pages instead of seeing them, and the page has the same numbers in a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH = 1000
HEIGHT = 200
GAP = 0.18
"""Which share of its place a column leaves free."""

LINES = 4
"""Lines across a chart, the top one included."""


class Column(NamedTuple):
    """A column: what is stacked, from the bottom up, what it is called, and where it leads ("" for nowhere)."""

    parts: Sequence[int]
    name: str
    link: str = ""


def nice(value: int) -> int:
    """Give the end of an axis: the next number of 1, 2, 4, 5, 8 and 10 with zeros behind it, which divide well."""
    if value <= LINES:
        return LINES
    unit: int = 10 ** (len(str(value)) - 1)
    return next(step * unit for step in (1, 2, 4, 5, 8, 10) if step * unit >= value)


def columns(found: Sequence[Column], top: int) -> SafeString:
    """Draw columns of stacked parts, up to `top`. A part's class is `gateway-s` with its place."""
    place = WIDTH / max(len(found), 1)
    lines = format_html_join(
        "",
        '<line class="gateway-grid" x1="0" x2="{}" y1="{}" y2="{}"/>',
        ((WIDTH, y, y) for y in (HEIGHT * number / LINES for number in range(LINES + 1))),
    )
    drawn = [(_column(each, number * place, place, top),) for number, each in enumerate(found)]
    return format_html(
        '<svg class="gateway-columns" viewBox="0 0 {} {}" preserveAspectRatio="none" role="group">{}{}</svg>',
        WIDTH,
        HEIGHT,
        lines,
        format_html_join("", "{}", drawn),
    )


def _column(column: Column, x: float, place: float, top: int) -> SafeString:
    rects, y = [], float(HEIGHT)
    for number, part in enumerate(column.parts):
        height = max(part, 0) * HEIGHT / top
        if height:
            y -= height
            rects.append(
                (number, _number(x + place * GAP / 2), _number(y), _number(place * (1 - GAP)), _number(height))
            )
    inner = format_html(
        '<title>{}</title><rect class="gateway-touch" x="{}" y="0" width="{}" height="{}"/>{}',
        column.name,
        _number(x),
        _number(place),
        HEIGHT,
        format_html_join("", '<rect class="gateway-s{}" x="{}" y="{}" width="{}" height="{}"/>', rects),
    )
    if column.link and any(column.parts):
        return format_html('<a href="{}" aria-label="{}">{}</a>', column.link, column.name, inner)
    return format_html('<g role="img" aria-label="{}">{}</g>', column.name, inner)


def sparkline(values: Sequence[float | None]) -> SafeString:
    """Draw a line of values, from nothing up. Where there is no value the line is interrupted."""
    highest = max((value for value in values if value), default=0) or 1
    step = 100 / max(len(values) - 1, 1)
    runs: list[list[str]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{_number(number * step)},{_number(26 - 24 * value / highest)}")
    # A run of one point would be invisible.
    lines = format_html_join(
        "", '<polyline points="{}"/>', ((" ".join(run if len(run) > 1 else run * 2),) for run in runs if run)
    )
    return format_html(
        '<svg class="gateway-spark" viewBox="0 0 100 28" preserveAspectRatio="none" aria-hidden="true">{}</svg>', lines
    )


def bar(share: float, look: str = "gateway-s0") -> SafeString:
    """Draw a bar of a share of its width."""
    return format_html(
        '<svg class="gateway-share" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="gateway-rail" width="100" height="6"/><rect class="{}" width="{}" height="6"/></svg>',
        look,
        _number(100 * min(max(share, 0), 1)),
    )


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
