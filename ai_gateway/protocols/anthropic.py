"""Anthropic's other endpoints (token counting, models, files, batches, `/v1/complete`): carried through."""

from __future__ import annotations

from ai_gateway.errors import Kind
from ai_gateway.protocols.anthropic_errors import write_error, write_error_event
from ai_gateway.protocols.dialect import Dialect

DIALECT = Dialect(
    name="anthropic",
    family="anthropic",
    is_generation=False,
    write_error=write_error,
    write_error_event=write_error_event,
    statuses={Kind.OVERLOADED: 529, Kind.QUOTA: 402},
)
