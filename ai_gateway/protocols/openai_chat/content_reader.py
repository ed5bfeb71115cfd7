"""Reading the parts of a caller's messages: text, images, files and sound.

Source: the message types of OpenAI's chat completions reference. `cache_control` on a part is the convention of
OpenRouter and LiteLLM for Anthropic's prompt caching, `prompt_cache_breakpoint` OpenAI's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ai_gateway.errors import BadRequest, Unsupported
from ai_gateway.protocols.conversation import Audio, CacheMark, File, Image, Part, Refusal, Text
from ai_gateway.protocols.media import IMAGES, is_data_url, read_data_url, sniffed
from ai_gateway.protocols.members import (
    entry,
    integer,
    mapping,
    path,
    required_mapping,
    required_text,
    sequence,
    text,
    wrong_type,
)

LIFETIMES = {"5m": "5m", "1h": "1h", "30m": "5m", "12h": "1h"}
"""How long a caller wants the prompt cached, in Anthropic's or OpenAI's words, and what of Anthropic's is nearest."""

TYPES_BY_SUFFIX = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "json": "application/json",
    "html": "text/html",
}
"""The media type of a file that came without one, by the end of its name."""


def read_content(message: dict[str, Any], at: str) -> list[Part]:
    """Read the content of a message: a string, a list of parts, or nothing."""
    content = message.get("content")
    where = path(at, "content")
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(text=content, at=where)]
    if not isinstance(content, list):
        raise wrong_type(content, "a string or an array", where)
    parts: list[Part] = []
    for place, value in enumerate(content):
        here = f"{where}[{place}]"
        parts += [Text(text=value, at=here)] if isinstance(value, str) else read_part(entry(value, here), here)
    return parts


def read_part(value: dict[str, Any], at: str) -> list[Part]:
    """Read one part of a list. Reasoning inside the content is Mistral's way, and read with the message."""
    kind = required_text(value, "type", at)
    reader = READERS.get(kind)
    if reader is None:
        raise Unsupported(f"A content part of type '{kind}' cannot be translated.", param=path(at, "type"))
    return reader(value, at)


def read_mark(value: dict[str, Any], at: str = "") -> CacheMark | None:
    """Read the wish to cache the prompt up to here."""
    for name in ("cache_control", "prompt_cache_breakpoint"):
        mark = mapping(value, name, at)
        if mark is not None:
            return CacheMark(ttl=LIFETIMES.get(str(mark.get("ttl")), "5m"))
    return None


def _text(value: dict[str, Any], at: str) -> list[Part]:
    return [Text(text=text(value, "text", at) or "", cache=read_mark(value, at), at=at)]


def _refusal(value: dict[str, Any], at: str) -> list[Part]:
    return [Refusal(text=text(value, "refusal", at) or "", at=at)]


def _image(value: dict[str, Any], at: str) -> list[Part]:
    where = path(at, "image_url")
    image = {"url": value["image_url"]} if isinstance(value.get("image_url"), str) else value
    image = image if image is not value else required_mapping(value, "image_url", at)
    url = required_text(image, "url", where)
    detail, mark = text(image, "detail", where) or "", read_mark(value, at)
    if not is_data_url(url):
        return [Image(url=url, detail=detail, cache=mark, at=at)]
    media_type, data = read_data_url(url, path(where, "url"))
    found = sniffed(data) or media_type
    if found in IMAGES or found.startswith("image/"):
        return [Image(data=data, media_type=found, detail=detail, cache=mark, at=at)]
    return [File(data=data, media_type=found, cache=mark, at=at)]


def _file(value: dict[str, Any], at: str) -> list[Part]:
    where = path(at, "file")
    file = required_mapping(value, "file", at)
    name, mark = text(file, "filename", where) or "", read_mark(value, at)
    content = text(file, "file_data", where)
    if content:
        media_type, data = _file_content(content, name, path(where, "file_data"))
        return [File(data=data, media_type=media_type, name=name, cache=mark, at=at)]
    file_id = text(file, "file_id", where)
    if not file_id:
        raise BadRequest(f"Missing required parameter: '{where}.file_data'.", param=path(where, "file_data"))
    return [File(file_id=file_id, name=name, cache=mark, at=at)]


def _file_content(content: str, name: str, at: str) -> tuple[str, str]:
    """Give the media type and the base64 of a file, which comes as a data URL, as mere base64, or as a web URL."""
    if is_data_url(content):
        media_type, data = read_data_url(content, at)
    elif content.startswith(("https://", "http://")):
        raise Unsupported("A file must be given by its content, not by a URL.", param=at)
    else:
        media_type, data = "", "".join(content.split())
    suffix = name.rpartition(".")[2].lower()
    return media_type or sniffed(data) or TYPES_BY_SUFFIX.get(suffix, "application/octet-stream"), data


def _audio(value: dict[str, Any], at: str) -> list[Part]:
    where = path(at, "input_audio")
    audio = required_mapping(value, "input_audio", at)
    return [Audio(data=required_text(audio, "data", where), format=required_text(audio, "format", where), at=at)]


def _nothing(value: dict[str, Any], at: str) -> list[Part]:
    return []


READERS: dict[str, Callable[[dict[str, Any], str], list[Part]]] = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "file": _file,
    "input_audio": _audio,
    "thinking": _nothing,
    "reference": _nothing,
}
"""By the type of a part. `input_text` and `output_text` are of Responses, and seen in chat; `thinking` and `reference`
are what Mistral's answers have, and come back in the history."""


def read_thinking_parts(message: dict[str, Any], at: str) -> str:
    """Read the reasoning inside the content of an assistant's message, as Mistral writes it."""
    content = message.get("content")
    if not isinstance(content, list):
        return ""
    pieces: list[str] = []
    for place, value in enumerate(content):
        if isinstance(value, dict) and value.get("type") == "thinking":
            where = f"{at}.content[{place}]"
            inner = value.get("thinking")
            if isinstance(inner, str):
                pieces.append(inner)
            else:
                pieces += [text(entry(each, where), "text", where) or "" for each in sequence(value, "thinking", where)]
    return "".join(pieces)


def offset(detail: dict[str, Any], at: str) -> tuple[int, int]:
    """Read how many characters of the content and how many calls stand before a block of reasoning."""
    position = mapping(detail, "position", at) or {}
    return integer(position, "content", at) or 0, integer(position, "tool_calls", at) or 0
