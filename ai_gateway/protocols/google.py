"""Google's other endpoints (token counting, embeddings, models, files, caches): carried through, or translated one by
one."""

from __future__ import annotations

from ai_gateway.errors import Kind
from ai_gateway.protocols.dialect import Dialect
from ai_gateway.protocols.gemini import write_error, write_error_event

DIALECT = Dialect(
    name="google",
    family="gemini",
    is_generation=False,
    write_error=write_error,
    write_error_event=write_error_event,
    statuses={Kind.QUOTA: 429},
)
