"""The words of Converse that both of its sides use.

Source: the shapes `StopReason`, `ImageFormat`, `DocumentFormat`, `ServiceTierType` and `ToolUseBlock` of the service
model of `bedrock-runtime` (2023-09-30), which AWS publishes with its SDKs.
"""

from __future__ import annotations

from ai_gateway.protocols.conversation import Stop

NAME = "bedrock_converse"
"""The name of the format."""

STOPS = {
    "end_turn": Stop.END,
    "tool_use": Stop.TOOL_USE,
    "max_tokens": Stop.MAX_TOKENS,
    "stop_sequence": Stop.STOP_SEQUENCE,
    "guardrail_intervened": Stop.FILTERED,
    "content_filtered": Stop.FILTERED,
    "model_context_window_exceeded": Stop.CONTEXT_FULL,
}
"""What a `stopReason` means."""

STOP_REASONS = {
    Stop.END: "end_turn",
    Stop.TOOL_USE: "tool_use",
    Stop.MAX_TOKENS: "max_tokens",
    Stop.STOP_SEQUENCE: "stop_sequence",
    Stop.FILTERED: "content_filtered",
    Stop.CONTEXT_FULL: "model_context_window_exceeded",
    Stop.PAUSED: "end_turn",
}
"""How a `stopReason` is written. There is none for a turn that was paused."""

MALFORMED = frozenset(("malformed_model_output", "malformed_tool_use"))
"""Stop reasons of an answer that the model spoiled: what there is of it is not what it was going to say."""

STOP_SEQUENCE_PATH = "/stop_sequence"
"""The JSON Pointer by which a model is asked to tell which stop sequence came. A model that does not know it, ignores
it."""

IMAGE_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
"""The formats of images, and their media types."""

IMAGE_FORMATS = {media_type: name for name, media_type in IMAGE_TYPES.items()} | {"image/jpg": "jpeg"}

DOCUMENT_TYPES = {
    "pdf": "application/pdf",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "html": "text/html",
    "txt": "text/plain",
    "md": "text/markdown",
}
"""The formats of documents, and their media types."""

DOCUMENT_FORMATS = {media_type: name for name, media_type in DOCUMENT_TYPES.items()}

SERVICE_TIERS = frozenset(("priority", "default", "flex", "reserved"))

SERVER_TOOL_USE = "server_tool_use"
"""The `type` of a call that the provider answers itself."""

S3_SCHEME = "s3://"
"""How the address of a file begins that Bedrock fetches itself: it takes no other."""
