"""One line for each finished call, by the logger `ai_gateway.calls`: INFO, or WARNING if the provider or the gateway
failed.

How lines are written is the site's choice, by a formatter in `LOGGING`:

    "formatters": {"json": {"()": "ai_gateway.telemetry.logs.JsonFormatter"}}

Both formatters write any other record, too, so that a log has one form throughout. A record of a call has its fields in
the attribute `call`, for formatters of others; its message is the line of `KeyValueFormatter`.

There is no prompt, no answer and no secret in a line, and whatever a caller chose (names, ids) is quoted: no value can
end a line, or look like another field.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import groupby
from typing import Any

import msgspec

from ai_gateway.meter import Entry, Outcome
from ai_gateway.money import NANOS_IN_A_DOLLAR
from ai_gateway.signals import calls_finished
from ai_gateway.telemetry.log_batches import hand_out

logger = logging.getLogger("ai_gateway.calls")

FAILURES = frozenset(each.value for each in (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.STOPPED))

PLAIN = re.compile(r"[A-Za-z0-9_.:/@+-]+")
"""Values that need no quotes."""

ALWAYS = ("status", "attempts", "duration_ms", "cost")
"""Fields that are there even if they are 0, or unknown. What else is empty is left out."""


class Fields(dict[str, Any]):
    """What a line tells of a call. As text it is the line itself, written when somebody asks for it."""

    def __str__(self) -> str:
        return key_values(self)


def connect() -> None:
    """Listen. Which lines are written is decided by the levels in the site's LOGGING."""
    calls_finished.connect(write, Entry, dispatch_uid="ai_gateway.telemetry.logs")


def write(entries: Sequence[Entry], **_: object) -> None:
    """Write the lines of calls."""
    for level, members in groupby(entries, level_of):
        if logger.isEnabledFor(level):
            hand_out(logger, records_of(members, level))


def records_of(entries: Iterable[Entry], level: int) -> list[logging.LogRecord]:
    """Make the records of calls.

    Most of what a record has is the same for all that are made by one thread in one moment. So one is made, and others
    after it; unless the site makes records in its own way.
    """
    # What `logger.log` does, but for the search of the stack for who calls it: that is always here.
    make = partial(logger.makeRecord, logger.name, level, __file__, 0, args=(), exc_info=None, func="write")
    calls = map(fields_of, entries)
    if logging.getLogRecordFactory() is not logging.LogRecord:
        return [make(msg=call, extra={"call": call}) for call in calls]
    common = vars(make(msg=""))
    return [_record(common | {"msg": call, "call": call}) for call in calls]


def _record(attributes: Mapping[str, Any]) -> logging.LogRecord:
    record = logging.LogRecord.__new__(logging.LogRecord)
    vars(record).update(attributes)
    return record


def level_of(entry: Entry) -> int:
    """Choose the level. What a provider refuses because the caller asked for the wrong thing is nobody's failure."""
    is_callers = 400 <= entry.status < 500 and entry.status != 429
    return logging.WARNING if entry.outcome in FAILURES and not is_callers else logging.INFO


def fields_of(entry: Entry) -> Fields:
    """Choose what the line of a call tells."""
    told = {
        "started_at": moment(entry.started_at),
        "request_id": entry.request_id,
        "trace_id": entry.trace_id,
        "key": entry.key_name,
        "user": entry.user_id,
        "provider": entry.provider,
        "model": entry.served_model,
        "requested_model": entry.model,
        "route": entry.route,
        "endpoint": entry.endpoint,
        "outcome": entry.outcome,
        "status": entry.status,
        "error": entry.error_code,
        "attempts": entry.attempts,
        "is_stream": entry.is_stream,
        "is_mirror": entry.is_mirror,
        "duration_ms": entry.duration_ms,
        "first_token_ms": entry.first_token_ms,
        "overhead_ms": entry.overhead_us / 1000,
        "input_tokens": entry.input_tokens,
        "cache_read_tokens": entry.cache_read_tokens,
        "cache_write_tokens": entry.cache_write_tokens + entry.cache_write_1h_tokens,
        "output_tokens": entry.output_tokens,
        "reasoning_tokens": entry.reasoning_tokens,
        "is_estimated": entry.is_estimated,
        "cost": None if entry.cost_nanos is None else entry.cost_nanos / NANOS_IN_A_DOLLAR,
        "saved": entry.saved_nanos / NANOS_IN_A_DOLLAR,
    }
    return Fields({name: value for name, value in told.items() if value or name in ALWAYS})


def moment(seconds: float) -> str:
    """Write a moment by ISO 8601, to the millisecond."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    """Write a moment to the second. Remembered: a busy gateway finishes many calls in the same one."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def key_values(fields: Mapping[str, Any]) -> str:
    """Write fields as `name=value`, separated by spaces."""
    return " ".join(f"{name}={_value(value)}" for name, value in fields.items())


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    text = str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text)


class _Formatter(logging.Formatter):
    """What both formatters have in common: which fields a record has."""

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Give the fields of a record."""
        call: dict[str, Any] | None = getattr(record, "call", None)
        told: dict[str, Any] = {
            "time": moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        told |= call if call is not None else {"message": record.getMessage()}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            told["stack"] = self.formatStack(record.stack_info)
        return told


class JsonFormatter(_Formatter):
    """Writes a record as one line of JSON, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        fields = self.fields(record)
        try:
            return msgspec.json.encode(fields, enc_hook=str).decode("ascii")
        except (ValueError, OverflowError):
            # Several times as slow, for the few lines with letters that are not in ASCII, or are none at all.
            return json.dumps(fields, default=str, separators=(",", ":"))


class KeyValueFormatter(_Formatter):
    """Writes a record as `name=value` in one line (logfmt), in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        return key_values(self.fields(record))
