"""How a call spent its time, phase by phase: a table whose rows have a bar each, drawn as SVG.

The table is the chart's own alternative: who does not see the bars reads the numbers. Bars have no width in a style,
which a strict Content-Security-Policy forbids, but in the picture's coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.utils.translation import gettext as translate

from ai_gateway.models import UsageRecord

WIDTH = 1000
"""The coordinates of a picture go from 0 to this."""

THINNEST = 4
"""How wide the shortest bar is, so that one sees it."""


class Phase(NamedTuple):
    """One phase. `kind` says how it is drawn: "waiting", "gateway", "failed", "provider" or "answer"."""

    kind: str
    name: str
    begin: int
    end: int
    note: str = ""

    @property
    def took(self) -> int:
        """Its length in milliseconds."""
        return self.end - self.begin


class Bar(NamedTuple):
    """A phase with its place in the picture, written for SVG."""

    phase: Phase
    x: str
    width: str


def bars(record: UsageRecord) -> list[Bar]:
    """Draw the phases of a call."""
    found = list(phases(record))
    whole = max([record.duration_ms, *(phase.end for phase in found), 1])
    return [Bar(phase, *_place(phase, whole)) for phase in found]


def _place(phase: Phase, whole: int) -> tuple[str, str]:
    width = max(phase.took * WIDTH / whole, THINNEST)
    x = min(phase.begin * WIDTH / whole, WIDTH - width)
    return f"{x:.1f}", f"{width:.1f}"


def phases(record: UsageRecord) -> Iterator[Phase]:
    """List the phases of a call in their order."""
    sent = round(record.overhead_us / 1000) if record.overhead_us else None
    tries = list(_tries(record))
    if record.queued_ms:
        yield Phase("waiting", translate("waited for a place"), 0, record.queued_ms)
    first = min([each.begin for each in tries] + [sent if sent is not None else record.duration_ms])
    yield Phase("gateway", translate("the gateway"), record.queued_ms, max(first, record.queued_ms))
    yield from tries
    if sent is not None and not _is_part_of_a_try(sent, tries):
        yield from _answer(record, sent)


def _tries(record: UsageRecord) -> Iterator[Phase]:
    """List the attempts that failed. Older records do not say when each began: those stand one behind the other."""
    begin = record.queued_ms
    for each in record.trail or ():
        if "ms" in each and "why" not in each:
            begin = each.get("at", begin)
            name = "/".join(filter(None, (each.get("provider"), each.get("model"))))
            yield Phase("failed", name, begin, begin + each["ms"], failure(each))
            begin += each["ms"]


def _is_part_of_a_try(sent: int, tries: list[Phase]) -> bool:
    """Whether what was sent last was an attempt that failed, rather than the one that was answered."""
    return bool(tries) and tries[-1].begin <= sent < tries[-1].end


def _answer(record: UsageRecord, sent: int) -> Iterator[Phase]:
    """List the phases of the attempt that was answered, or that nobody waited for to the end."""
    name = "/".join(filter(None, (record.provider, record.served_model)))
    marks = [
        ("provider", translate("until its first byte"), record.first_byte_ms),
        ("provider", translate("until its first token"), record.first_token_ms),
        ("answer", translate("the stream") if record.is_stream else translate("the answer"), record.duration_ms),
    ]
    begin = sent
    known = [mark for mark in marks if mark[2] is not None]
    for number, (kind, what, end) in enumerate(known):
        # Whole milliseconds of different clocks' readings may be out of order by one.
        end = max(begin, min(end or 0, record.duration_ms))
        if end > begin or number == len(known) - 1:
            yield Phase(kind, what, begin, end, name if begin == sent else "")
        begin = end


def name_of(attempt: dict[str, Any]) -> str:
    """Name what a line of a trail is about: a target, or a guardrail."""
    if "guardrail" in attempt:
        return translate("guardrail %(name)s") % {"name": attempt["guardrail"]}
    return f"{attempt.get('provider')}/{attempt.get('model')}"


def failure(attempt: dict[str, Any]) -> str:
    """Say how an attempt failed, why a target was passed over, what a piece was that others went on with, or what a
    guardrail did."""
    if "guardrail" in attempt:
        return f"{attempt['stage']} {attempt['action']}: {attempt['why']}"
    if "why" in attempt:
        return translate("passed over: %(why)s") % {"why": attempt["why"]}
    if "ms" not in attempt:
        return f"{sum(attempt['tokens'].values()):,} tokens"
    place = ""
    if "characters" in attempt:
        place = f", after {attempt['characters']:,} characters and {sum(attempt['tokens'].values()):,} tokens"
    return f"{attempt.get('status')} {attempt.get('error') or ''}, {attempt.get('ms')} ms{place}"
