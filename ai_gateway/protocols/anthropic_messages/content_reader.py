"""Reading the content of a caller's turns.

Source: the content block types of Anthropic's Messages API reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.anthropic_messages.citations import FORMAT, read_citation
from ai_gateway.protocols.anthropic_messages.states import read_thinking, reunited
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import CacheMark, File, Image, Opaque, Part, Text, ToolCall, ToolResult
from ai_gateway.protocols.jsontext import arguments_text
from ai_gateway.protocols.members import object_in, present_text, required_mapping, required_text


def read_content(content: object, carrier: Carrier, at: str, is_result: bool = False) -> list[Part]:
    """Read the content of a turn or of a tool's result: a string, or a list of blocks. Raises BadRequest."""
    if isinstance(content, str):
        return [Text(text=content, at=at)] if content else []
    if not isinstance(content, list):
        raise BadRequest("The content must be a string or a list of blocks.", param=at)
    parts: list[Part] = []
    for place, block in enumerate(content):
        parts += _read_block(block, carrier, f"{at}[{place}]", is_result)
    return reunited(parts)


def _read_block(block: object, carrier: Carrier, at: str, is_result: bool) -> list[Part]:
    if not isinstance(block, dict):
        raise BadRequest("A content block must be an object.", param=at)
    kind = block.get("type")
    if not isinstance(kind, str):
        raise BadRequest("A content block must have a type.", param=f"{at}.type")
    if kind in ("thinking", "redacted_thinking"):
        return [read_thinking(block, carrier, at)]
    if kind == "tool_result":
        if is_result:
            raise BadRequest("There is no result inside a result.", param=f"{at}.type")
        return [_read_result(block, carrier, at)]
    read = _READERS.get(kind)
    return read(block, at) if read else [Opaque(format=FORMAT, value=block, at=at)]


def read_mark(value: object) -> CacheMark | None:
    """Read `cache_control`."""
    if not isinstance(value, dict) or value.get("type") != "ephemeral":
        return None
    return CacheMark(ttl="1h") if value.get("ttl") == "1h" else CacheMark()


def _optional(block: dict[str, Any], name: str) -> str:
    value = block.get(name)
    return value if isinstance(value, str) else ""


def _read_text(block: dict[str, Any], at: str) -> list[Part]:
    text = present_text(block, "text", at)
    given = block.get("citations")
    citations = [
        read_citation(each, 0, len(text))
        for each in (given if isinstance(given, list) else ())
        if isinstance(each, dict)
    ]
    return [Text(text=text, citations=citations, cache=read_mark(block.get("cache_control")), at=at)]


def _source(block: dict[str, Any], at: str) -> tuple[dict[str, Any], str]:
    source = required_mapping(block, "source", at)
    return source, _optional(source, "type")


def _read_image(block: dict[str, Any], at: str) -> list[Part]:
    source, kind = _source(block, at)
    cache = read_mark(block.get("cache_control"))
    if kind == "base64":
        data = required_text(source, "data", f"{at}.source")
        return [Image(data=data, media_type=_optional(source, "media_type").lower(), cache=cache, at=at)]
    if kind == "url":
        return [Image(url=required_text(source, "url", f"{at}.source"), cache=cache, at=at)]
    if kind == "file":
        return [Image(file_id=required_text(source, "file_id", f"{at}.source"), cache=cache, at=at)]
    raise BadRequest("The source of an image must be of type base64, url or file.", param=f"{at}.source.type")


def _read_document(block: dict[str, Any], at: str) -> list[Part]:
    source, kind = _source(block, at)
    context = _optional(block, "context")
    before: list[Part] = [Text(text=context, at=f"{at}.context")] if context else []
    if kind == "content":
        return before + _read_nested_document(block, source.get("content"), at)
    if kind not in _DOCUMENT_MEMBERS:
        message = "The source of a document must be of type base64, text, url, file or content."
        raise BadRequest(message, param=f"{at}.source.type")
    citations = block.get("citations")
    field, member = _DOCUMENT_MEMBERS[kind]
    document: dict[str, Any] = {
        field: required_text(source, member, f"{at}.source"),
        "name": _optional(block, "title"),
        "cites": isinstance(citations, dict) and citations.get("enabled") is True,
        "cache": read_mark(block.get("cache_control")),
        "at": at,
    }
    if kind == "base64":
        document["media_type"] = _optional(source, "media_type").lower()
    return [*before, File(**document)]


_DOCUMENT_MEMBERS = {
    "base64": ("data", "data"),
    "text": ("text", "data"),
    "url": ("url", "url"),
    "file": ("file_id", "file_id"),
}
"""By the type of a document's source: the field of a File, and the member of the source that goes there."""


def _read_nested_document(block: dict[str, Any], content: object, at: str) -> list[Part]:
    """Read a document that is made of blocks: its title and the blocks, as no other format can keep them together."""
    title = _optional(block, "title")
    parts: list[Part] = [Text(text=title, at=f"{at}.title")] if title else []
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    for place, each in enumerate(blocks):
        inner_at = f"{at}.source.content[{place}]"
        read = _OF_DOCUMENTS.get(_optional(each, "type")) if isinstance(each, dict) else None
        if read is None:
            raise BadRequest("A document consists of text and images.", param=inner_at)
        parts += read(each, inner_at)
    return parts


_OF_DOCUMENTS = {"text": _read_text, "image": _read_image}


def _read_search_result(block: dict[str, Any], at: str) -> list[Part]:
    content = block.get("content")
    texts = [_optional(each, "text") for each in content if isinstance(each, dict)] if isinstance(content, list) else []
    head = f"<{_optional(block, 'source')}> {_optional(block, 'title')}"
    return [Text(text="\n".join([head, *texts]), cache=read_mark(block.get("cache_control")), at=at)]


def _read_reference(block: dict[str, Any], at: str) -> list[Part]:
    return [Text(text=f"Tool: {_optional(block, 'tool_name')}", at=at)]


def _read_compaction(block: dict[str, Any], at: str) -> list[Part]:
    """A summary of what came before, which the provider made: its text stands for that."""
    content = _optional(block, "content")
    return [Text(text=content, at=at)] if content else []


def _read_call(block: dict[str, Any], at: str) -> list[Part]:
    given = object_in(block, "input", at)
    return [
        ToolCall(
            id=required_text(block, "id", at),
            name=required_text(block, "name", at),
            arguments=arguments_text(given),
            cache=read_mark(block.get("cache_control")),
            at=at,
        )
    ]


def _read_result(block: dict[str, Any], carrier: Carrier, at: str) -> ToolResult:
    content = block.get("content")
    is_error = block.get("is_error")
    return ToolResult(
        call_id=required_text(block, "tool_use_id", at),
        parts=read_content(content, carrier, f"{at}.content", is_result=True) if content is not None else [],
        is_error=is_error if isinstance(is_error, bool) else None,
        cache=read_mark(block.get("cache_control")),
        at=at,
    )


_READERS: dict[str, Callable[[dict[str, Any], str], list[Part]]] = {
    "text": _read_text,
    "image": _read_image,
    "document": _read_document,
    "search_result": _read_search_result,
    "tool_reference": _read_reference,
    "compaction": _read_compaction,
    "tool_use": _read_call,
}
"""By type. What is not here is known to Anthropic only: the blocks of its server tools, and new ones."""
