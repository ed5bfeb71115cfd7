"""Reading the content of input items: text, images, files and sound.

Source: `input_text`, `input_image`, `input_file`, `input_audio`, `output_text` and `refusal` in OpenAI's API reference
for Responses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ai_gateway.errors import BadRequest
from ai_gateway.protocols import media, members
from ai_gateway.protocols.conversation import Audio, CacheMark, File, Image, Part, Refusal, Text
from ai_gateway.protocols.openai_responses.citations import read_citations

LONG_LIVED = ("12h", "24h", "1h")
"""Lifetimes of a prompt's cache that are rather an hour than five minutes."""


def read_content(item: dict[str, Any], name: str, at: str) -> list[Part]:
    """Read a member of an item that is a string or a list of parts. Raises BadRequest naming the part."""
    content = item.get(name)
    place = members.path(at, name)
    if isinstance(content, str):
        return [Text(text=content, at=place)]
    if content is None:
        return []
    return [read_part(part, part_at) for part_at, part in members.entries(members.sequence(item, name, at), place)]


def read_part(part: dict[str, Any], at: str) -> Part:
    """Read one part."""
    kind = members.present_text(part, "type", at)
    read = READERS.get(kind)
    if read is None:
        known = ", ".join(f"'{name}'" for name in READERS)
        raise BadRequest(f"Invalid value: '{kind}'. Supported values are: {known}.", param=f"{at}.type")
    return read(part, at)


def _text(part: dict[str, Any], at: str) -> Part:
    return Text(
        text=members.present_text(part, "text", at),
        citations=read_citations(part.get("annotations")),
        cache=_cache_mark(part),
        at=at,
    )


def _refusal(part: dict[str, Any], at: str) -> Part:
    return Refusal(text=members.present_text(part, "refusal", at), at=at)


def _image(part: dict[str, Any], at: str) -> Part:
    detail, cache = members.text(part, "detail", at) or "", _cache_mark(part)
    url, file_id = members.text(part, "image_url", at), members.text(part, "file_id", at)
    if url is None:
        return Image(file_id=members.required(file_id, "image_url", at), detail=detail, cache=cache, at=at)
    if not media.is_data_url(url):
        return Image(url=url, detail=detail, cache=cache, at=at)
    media_type, data = media.read_data_url(url, f"{at}.image_url")
    return Image(data=data, media_type=_image_type(media_type, data), detail=detail, cache=cache, at=at)


def _image_type(declared: str, data: str) -> str:
    """What an image really is: providers refuse one that is declared as another kind."""
    found = media.sniffed(data)
    return found if found in media.IMAGES else declared


def _file(part: dict[str, Any], at: str) -> Part:
    name = members.text(part, "filename", at) or ""
    data, url = members.text(part, "file_data", at), members.text(part, "file_url", at)
    file = File(name=name, cache=_cache_mark(part), at=at)
    if data is not None:
        media_type, content = _file_data(data, name, f"{at}.file_data")
        return msgspec.structs.replace(file, media_type=media_type, data=content)
    if url is not None:
        return msgspec.structs.replace(file, url=url)
    file_id = members.required(members.text(part, "file_id", at), "file_data", at)
    return msgspec.structs.replace(file, file_id=file_id)


def _file_data(data: str, name: str, at: str) -> tuple[str, str]:
    """Read the content of a file: a data URL, or bare base64, whose kind is told by its beginning or the name."""
    if media.is_data_url(data):
        return media.read_data_url(data, at)
    content = data if data.isalnum() else "".join(data.split())
    return media.sniffed(content) or ("text/plain" if name.endswith((".txt", ".md")) else "application/pdf"), content


def _audio(part: dict[str, Any], at: str) -> Part:
    audio, place = members.object_in(part, "input_audio", at), f"{at}.input_audio"
    return Audio(
        data=members.present_text(audio, "data", place), format=members.present_text(audio, "format", place), at=at
    )


def _cache_mark(part: dict[str, Any]) -> CacheMark | None:
    """Read the wish to cache up to a part: OpenAI's `prompt_cache_breakpoint`, or the `cache_control` of others."""
    mark = part.get("prompt_cache_breakpoint") or part.get("cache_control")
    if not isinstance(mark, dict):
        return None
    return CacheMark(ttl="1h" if mark.get("ttl") in LONG_LIVED else "5m")


READERS: dict[str, Callable[[dict[str, Any], str], Part]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "summary_text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}
