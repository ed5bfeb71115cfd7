"""docs/signals.md: every signal, of what `signals.py` says, and what an entry tells of a call."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from ai_gateway import signals
from ai_gateway.meter import Entry, Outcome
from ai_gateway.models import UsageRecord
from tests.docs.tables import code, paragraphs, table

HEAD = """# Signals

What a site can hear of, by `ai_gateway.signals`. Receivers are connected as to any signal of Django's, in the `ready()`
of an app, for example; [telemetry](telemetry.md) and [alerts](alerts.md) listen in the same way.

"""

ENTRY = """## What an entry tells

The `entry` of `call_finished` is what is written down of a call: a row of `UsageRecord` in plain values.

"""

MEANT = {
    "id": "A UUID as 32 hexadecimal digits.",
    "started_at": "When the call arrived, in seconds since 1970.",
    "outcome": f"How it ended: {', '.join(each.value for each in Outcome)}.",
    "trail": "The attempts that failed, and the targets that were left out, with the reasons.",
    "parent_span_id": "The span that the caller made the call in.",
    "is_sampled": "Whether the trace is one that somebody records.",
}
"""What the admin does not say of a field."""

COLUMNS = {field.attname: field for field in UsageRecord._meta.concrete_fields}


def write() -> str:
    """Write the page."""
    text = HEAD + "\n".join(f"## `{name}`\n\n{paragraphs(said)}\n" for name, said in documented())
    return f"{text}\n{ENTRY}{table(('Field', 'Type', 'Meaning'), *map(row, msgspec.structs.fields(Entry)))}"


def documented() -> Iterator[tuple[str, str]]:
    """Give the names of the signals, each with the text below it."""
    body = ast.parse(Path(signals.__file__).read_text(encoding="utf-8")).body
    for node, below in pairwise(body):
        if isinstance(node, ast.Assign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield ast.unparse(node.targets[0]), str(below.value.value)


def row(field: msgspec.structs.FieldInfo) -> tuple[str, str, str]:
    """Write a field of an entry."""
    return code(field.name), code(type_of(field.type)), MEANT.get(field.name) or told(field.name)


def told(name: str) -> str:
    """Say what a column holds, as the admin does."""
    label = str(COLUMNS[name].verbose_name)
    return " ".join(filter(None, (f"{label[:1].upper()}{label[1:]}.", str(COLUMNS[name].help_text))))


def type_of(kind: Any) -> str:
    """Write a type as the source does."""
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
