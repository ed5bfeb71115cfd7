"""OpenAI's other endpoints (embeddings, files, audio, images, ...): carried through, errors in OpenAI's shape."""

from __future__ import annotations

from ai_gateway.errors import Kind
from ai_gateway.protocols.dialect import Dialect
from ai_gateway.protocols.openai_errors import write_error, write_error_event

DIALECT = Dialect(
    name="openai",
    family="openai",
    is_generation=False,
    write_error=write_error,
    write_error_event=write_error_event,
    statuses={Kind.QUOTA: 429},
)
