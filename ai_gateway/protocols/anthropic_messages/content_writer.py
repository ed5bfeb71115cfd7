"""Writing the parts of a conversation as content blocks.

Source: the content block types of Anthropic's Messages API reference, and "Vision", "PDF support" and "Files API".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.anthropic_messages.citations import FORMAT
from ai_gateway.protocols.anthropic_messages.draft import Draft
from ai_gateway.protocols.anthropic_messages.response import call_input
from ai_gateway.protocols.carrier import belongs_to
from ai_gateway.protocols.conversation import (
    Audio,
    CacheMark,
    File,
    Image,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.media import IMAGES, sniffed

Block = dict[str, Any]
FILES_BETA = "files-api-2025-04-14"
PDF = "application/pdf"


def write_blocks(parts: list[Part], draft: Draft) -> list[Block]:
    """Write parts as blocks, in their order. What only another format knows, and what is empty, gives none."""
    blocks: list[Block] = []
    for part in parts:
        block = _WRITERS[type(part)](part, draft)
        if block is not None:
            blocks.append(block)
    return blocks


def write_mark(mark: CacheMark) -> dict[str, str]:
    """Write `cache_control`. Five minutes are what it means without a `ttl`."""
    return {"type": "ephemeral", "ttl": "1h"} if mark.ttl == "1h" else {"type": "ephemeral"}


def _marked(block: Block, mark: CacheMark | None) -> Block:
    return block if mark is None else {**block, "cache_control": write_mark(mark)}


def _write_text(part: Text, draft: Draft) -> Block | None:
    """Anthropic refuses texts that are empty or blank."""
    return _marked({"type": "text", "text": part.text}, part.cache) if part.text.strip() else None


def _write_refusal(part: Refusal, draft: Draft) -> Block | None:
    return {"type": "text", "text": part.text} if part.text.strip() else None


def _write_thinking(part: Thinking, draft: Draft) -> Block | None:
    """Thinking goes back only with its signature, to the model that signed it: unsigned it would be refused."""
    state = part.state
    if state is None or not belongs_to(state, draft.destination) or not draft.capabilities.thinking_signature:
        return None
    if state.kind == "redacted":
        return {"type": "redacted_thinking", "data": state.value}
    return {"type": "thinking", "thinking": part.text, "signature": state.value}


def _write_call(part: ToolCall, draft: Draft) -> Block:
    name = draft.sent_names.get(part.name, part.name)
    return _marked({"type": "tool_use", "id": part.id, "name": name, "input": call_input(part)}, part.cache)


def _write_result(part: ToolResult, draft: Draft) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": part.call_id}
    content = write_blocks(part.parts, draft)
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        block["content"] = content[0]["text"]
    elif content:
        block["content"] = content
    if part.is_error is not None:
        block["is_error"] = part.is_error
    return _marked(block, part.cache)


def _write_image(part: Image, draft: Draft) -> Block:
    if not draft.capabilities.images:
        raise Unsupported("This model does not see images.", param=part.at or None)
    return _marked({"type": "image", "source": _image_source(part, draft)}, part.cache)


def _image_source(part: Image, draft: Draft) -> Block:
    if part.data:
        # Anthropic refuses an image that is not of the type that it is said to be.
        media_type = sniffed(part.data) or part.media_type
        if media_type not in IMAGES:
            raise Unsupported("An image must be a JPEG, PNG, GIF or WebP.", param=part.at or None)
        return {"type": "base64", "media_type": media_type, "data": part.data}
    if part.file_id:
        return _file_source(part, draft)
    return _url_source(part, draft)


def _url_source(part: Image | File, draft: Draft) -> Block:
    if not draft.capabilities.image_urls:
        raise Unsupported("This model takes no URLs; send the content itself.", param=part.at or None)
    if not part.url.lower().startswith("https://"):
        raise Unsupported("A URL must begin with https://.", param=part.at or None)
    return {"type": "url", "url": part.url}


def _file_source(part: Image | File, draft: Draft) -> Block:
    """A file that was uploaded is known only to the provider that it was uploaded to."""
    if draft.request.format != FORMAT:
        raise Unsupported("The provider does not know this file; send its content.", param=part.at or None)
    draft.need(FILES_BETA)
    return {"type": "file", "file_id": part.file_id}


def _write_file(part: File, draft: Draft) -> Block:
    media_type = (part.media_type or sniffed(part.data) or "") if part.data else ""
    if media_type in IMAGES:
        return _write_image(Image(data=part.data, media_type=media_type, cache=part.cache, at=part.at), draft)
    block: Block = {"type": "document", "source": _document_source(part, media_type, draft)}
    if part.name:
        block["title"] = part.name
    if part.cites:
        block["citations"] = {"enabled": True}
    return _marked(block, part.cache)


def _document_source(part: File, media_type: str, draft: Draft) -> Block:
    if part.text is not None:
        return {"type": "text", "media_type": "text/plain", "data": part.text}
    if media_type.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": _decoded(part)}
    if not draft.capabilities.files:
        raise Unsupported("This model does not read documents.", param=part.at or None)
    if part.media_type.startswith(("audio/", "video/")):
        raise Unsupported("This model takes neither sound nor films.", param=part.at or None)
    if part.data and media_type == PDF:
        return {"type": "base64", "media_type": PDF, "data": part.data}
    if part.data:
        raise Unsupported("A document must be a PDF, an image or text.", param=part.at or None)
    return _file_source(part, draft) if part.file_id else _url_source(part, draft)


def _decoded(part: File) -> str:
    try:
        return base64.b64decode(part.data).decode("utf-8", "replace")
    except binascii.Error:
        raise Unsupported("The document is not in base64.", param=part.at or None) from None


def _write_audio(part: Audio, draft: Draft) -> Block:
    raise Unsupported("This model does not hear sound.", param=part.at or None)


def _write_opaque(part: Opaque, draft: Draft) -> Block | None:
    if part.format == FORMAT:
        return {**part.value}
    draft.drop_names((part.at,) if part.at else ())
    return None


_WRITERS: dict[type[Part], Callable[[Any, Draft], Block | None]] = {
    Text: _write_text,
    Refusal: _write_refusal,
    Thinking: _write_thinking,
    ToolCall: _write_call,
    ToolResult: _write_result,
    Image: _write_image,
    File: _write_file,
    Audio: _write_audio,
    Opaque: _write_opaque,
}
