"""Reading the content blocks of a request's messages.

Source: the shapes `ContentBlock`, `ToolResultContentBlock` and `SystemContentBlock` of the service model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.bedrock_converse.citations import joined_text, read_citations
from ai_gateway.protocols.bedrock_converse.states import attached, carried_text, read_carried
from ai_gateway.protocols.bedrock_converse.words import DOCUMENT_TYPES, IMAGE_TYPES, NAME, SERVER_TOOL_USE
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import (
    Audio,
    CacheMark,
    File,
    Image,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.jsontext import arguments_text, dumps_text
from ai_gateway.protocols.members import list_at, object_at, text_at

Marked = Text | ToolCall | Image | File | ToolResult
"""Parts that can hold a cache mark."""


def read_content(blocks: Any, at: str, carrier: Carrier) -> list[Part]:
    """Read a list of blocks. A `cachePoint` becomes a mark of the last part before it that can have one."""
    parts: list[Part] = []
    for number, block in enumerate(list_at(blocks, at)):
        place = f"{at}[{number}]"
        block = object_at(block, place)
        if "cachePoint" in block:
            _mark(parts, read_cache_point(block["cachePoint"]))
        else:
            parts.append(_read_block(block, place, carrier))
    return attached([part for part in parts if not _is_nothing(part)])


def _is_nothing(part: Part) -> bool:
    return isinstance(part, Thinking) and not part.text and part.state is None


def read_cache_point(value: Any) -> CacheMark:
    """Read a `cachePoint`."""
    ttl = value.get("ttl") if isinstance(value, dict) else None
    return CacheMark(ttl="1h" if ttl == "1h" else "5m")


def _mark(parts: list[Part], mark: CacheMark) -> None:
    for place in range(len(parts) - 1, -1, -1):
        part = parts[place]
        if isinstance(part, Marked):
            parts[place] = msgspec.structs.replace(part, cache=mark)
            return


def _read_block(block: dict[str, Any], at: str, carrier: Carrier) -> Part:
    if "reasoningContent" in block:
        return _read_reasoning(object_at(block["reasoningContent"], f"{at}.reasoningContent"), at, carrier)
    for member, read in _READERS.items():
        if member in block:
            return read(block[member], f"{at}.{member}")
    if not block:
        raise BadRequest(f"{at} is an empty block.", param=at)
    return Opaque(at=at, format=NAME, value=block)


def _read_reasoning(content: dict[str, Any], at: str, carrier: Carrier) -> Part:
    """Read reasoning. A signature that is no carrier is a provider's own, and nobody knows which provider's."""
    state = read_carried(content, carrier)
    reasoning = content.get("reasoningText")
    text = reasoning.get("text") if isinstance(reasoning, dict) else None
    is_redacted = "redactedContent" in content and carried_text(content) is None
    return Thinking(at=at, text=text if isinstance(text, str) else "", state=state, is_redacted=is_redacted)


def _read_text(value: Any, at: str) -> Part:
    return Text(at=at, text=text_at(value, at))


def _read_guarded(value: Any, at: str) -> Part:
    """Read content that a guardrail shall look at: it is content all the same."""
    content = object_at(value, at)
    if "image" in content:
        return _read_image(content["image"], f"{at}.image")
    return _read_text(object_at(content.get("text"), f"{at}.text").get("text"), f"{at}.text.text")


def _read_cited_text(value: Any, at: str) -> Part:
    content = object_at(value, at)
    return Text(
        at=at,
        text=joined_text(content.get("content")),
        citations=read_citations(content.get("citations")),
    )


def _read_search_result(value: Any, at: str) -> Part:
    """Read a search result as the text that it is, under its source and title."""
    result = object_at(value, at)
    head = f"<{result.get('source', '')}> {result.get('title', '')}"
    return Text(at=at, text=f"{head}\n{joined_text(result.get('content'))}")


def _read_source(value: Any, at: str) -> tuple[str, str]:
    """Read where the content of a file is: its base64, or its URL."""
    source = object_at(value, at)
    if "bytes" in source:
        return text_at(source["bytes"], f"{at}.bytes"), ""
    location = object_at(source.get("s3Location"), f"{at}.s3Location")
    if not location:
        raise BadRequest(f"{at} must have bytes or an s3Location.", param=at)
    return "", text_at(location.get("uri"), f"{at}.s3Location.uri")


def _read_image(value: Any, at: str) -> Part:
    image = object_at(value, at)
    data, url = _read_source(image.get("source"), f"{at}.source")
    name = text_at(image.get("format"), f"{at}.format")
    return Image(at=at, data=data, url=url, media_type=IMAGE_TYPES.get(name, f"image/{name}"))


def _read_audio(value: Any, at: str) -> Part:
    audio = object_at(value, at)
    data, url = _read_source(audio.get("source"), f"{at}.source")
    if url:
        return Opaque(at=at, format=NAME, value={"audio": audio})
    return Audio(at=at, data=data, format=text_at(audio.get("format"), f"{at}.format"))


def _read_document(value: Any, at: str) -> Part:
    document = object_at(value, at)
    source = object_at(document.get("source"), f"{at}.source")
    name = document.get("name")
    cites = object_at(document.get("citations"), f"{at}.citations").get("enabled") is True
    file = File(at=at, name=name if isinstance(name, str) else "", cites=cites)
    if "text" in source:
        return msgspec.structs.replace(file, text=text_at(source["text"], f"{at}.source.text"))
    if "content" in source:
        return msgspec.structs.replace(file, text=joined_text(source["content"]))
    data, url = _read_source(source, f"{at}.source")
    media_type = DOCUMENT_TYPES.get(str(document.get("format")), "application/octet-stream")
    return msgspec.structs.replace(file, data=data, url=url, media_type=media_type)


def _read_tool_use(value: Any, at: str) -> Part:
    use = object_at(value, at)
    if use.get("type") == SERVER_TOOL_USE:
        return Opaque(at=at, format=NAME, value={"toolUse": use})
    arguments = use.get("input")
    return ToolCall(
        at=at,
        id=text_at(use.get("toolUseId"), f"{at}.toolUseId"),
        name=text_at(use.get("name"), f"{at}.name"),
        arguments=arguments_text(arguments) if isinstance(arguments, dict) else dumps_text(arguments),
    )


def _read_tool_result(value: Any, at: str) -> Part:
    result = object_at(value, at)
    if isinstance(result.get("type"), str):
        return Opaque(at=at, format=NAME, value={"toolResult": result})
    status = result.get("status")
    content = list_at(result.get("content"), f"{at}.content")
    return ToolResult(
        at=at,
        call_id=text_at(result.get("toolUseId"), f"{at}.toolUseId"),
        parts=[_read_result_block(block, f"{at}.content[{number}]") for number, block in enumerate(content)],
        is_error=None if status is None else status == "error",
    )


def _read_result_block(block: Any, at: str) -> Part:
    block = object_at(block, at)
    if "json" in block:
        return Text(at=at, text=dumps_text(block["json"]))
    for member in ("text", "image", "document", "searchResult"):
        if member in block:
            return _READERS[member](block[member], f"{at}.{member}")
    return Opaque(at=at, format=NAME, value=block)


_READERS: dict[str, Callable[[Any, str], Part]] = {
    "text": _read_text,
    "toolUse": _read_tool_use,
    "toolResult": _read_tool_result,
    "image": _read_image,
    "document": _read_document,
    "audio": _read_audio,
    "citationsContent": _read_cited_text,
    "guardContent": _read_guarded,
    "searchResult": _read_search_result,
}
