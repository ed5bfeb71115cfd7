"""Writing the content blocks of a request's messages.

Source: the shapes `ContentBlock`, `ImageBlock`, `DocumentBlock`, `AudioBlock` and `ToolResultBlock` of the service
model.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.bedrock_converse.states import write_own
from ai_gateway.protocols.bedrock_converse.tool_writer import ToolNames
from ai_gateway.protocols.bedrock_converse.words import (
    DOCUMENT_FORMATS,
    IMAGE_FORMATS,
    NAME,
    S3_SCHEME,
)
from ai_gateway.protocols.capabilities import Destination
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
from ai_gateway.protocols.jsontext import arguments_object
from ai_gateway.protocols.media import sniffed

Block = dict[str, Any]

SEE_BELOW = "The file follows below."
"""What stands in the result of a tool for a file that may not stand there."""

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9\s()\[\]-]+", re.ASCII)
"""What the name of a document may not have in it."""

_SAME_MEDIA = {"text/x-markdown": "md", "application/csv": "csv", "application/xhtml+xml": "html"}
"""Media types that are other names for formats that Bedrock knows."""


class ContentWriter:
    """Writes the parts of one conversation. Documents get names that are unique in it."""

    def __init__(self, destination: Destination, names: ToolNames) -> None:
        self._destination = destination
        self._capabilities = destination.capabilities
        self._names = names
        self._documents: dict[str, int] = {}
        """The names that documents have, and with which number the next of the same name is tried."""
        self.dropped: list[str] = []
        """What was left out: where it stood."""
        self._writers: dict[type[Part], Callable[[Any], list[Block]]] = {
            Text: self._text,
            Refusal: self._text,
            Thinking: self._thinking,
            ToolCall: self._call,
            Image: self._image,
            File: self._file,
            Audio: self._audio,
            Opaque: self._opaque,
        }

    def write(self, part: Part) -> list[Block]:
        """Write a part that is no result of a tool. Raises Unsupported for what the model cannot take in."""
        return self._writers[type(part)](part)

    def _text(self, part: Text | Refusal) -> list[Block]:
        """Write a text; blank ones are refused, and say nothing."""
        return [{"text": part.text}] if part.text.strip() else []

    def _thinking(self, part: Thinking) -> list[Block]:
        block = write_own(part, self._destination)
        return [block] if block is not None else []

    def _call(self, call: ToolCall) -> list[Block]:
        arguments = {"input": call.arguments} if call.is_custom else arguments_object(call.arguments)
        return [{"toolUse": {"toolUseId": call.id, "name": self._names.sent(call.name), "input": arguments}}]

    def result(self, result: ToolResult) -> tuple[Block, list[Block]]:
        """Write the result of a tool, and the files that may not stand in it."""
        content: list[Block] = []
        outside: list[Block] = []
        for part in result.parts:
            blocks = self.write(part)
            if isinstance(part, Audio) or (isinstance(part, Image | File) and not self._capabilities.result_media):
                outside += blocks
                blocks = [{"text": SEE_BELOW}]
            content += blocks
        written: Block = {"toolUseId": result.call_id, "content": content}
        if result.is_error:
            written["status"] = "error"
        return {"toolResult": written}, outside

    def _image(self, image: Image) -> list[Block]:
        if not self._capabilities.images:
            raise Unsupported("This model does not see images.", param=image.at)
        if image.detail not in ("", "auto"):
            self.dropped.append(f"{image.at}.detail")
        source = _source(image, image.at)
        return [{"image": {"format": _image_format(image), "source": source}}]

    def _file(self, file: File) -> list[Block]:
        if file.media_type.startswith("image/") and file.data:
            return self._image(Image(at=file.at, data=file.data, media_type=file.media_type))
        if not self._capabilities.files:
            raise Unsupported("This model does not read documents.", param=file.at)
        source = _source(file, file.at)
        document: Block = {"format": _document_format(file), "name": self._document_name(file.name), "source": source}
        if file.cites:
            document["citations"] = {"enabled": True}
        return [{"document": document}]

    def _document_name(self, given: str) -> str:
        """Give a name that is allowed and not taken. The model reads it."""
        name = " ".join(_NOT_IN_NAMES.sub(" ", given).split())[:190].strip() or "document"
        unique, number = name, self._documents.get(name, 1)
        while unique in self._documents:
            number += 1
            unique = f"{name} {number}"
        self._documents[name] = number
        self._documents.setdefault(unique, 1)
        return unique

    def _audio(self, audio: Audio) -> list[Block]:
        if not self._capabilities.audio:
            raise Unsupported("This model does not hear sound.", param=audio.at)
        return [{"audio": {"format": audio.format, "source": {"bytes": audio.data}}}]

    def _opaque(self, part: Opaque) -> list[Block]:
        """Write what only Converse knows. What the assistant did with another provider's own tools is left out."""
        if part.format == NAME:
            return [part.value]
        self.dropped.append(part.at)
        return []


def _image_format(image: Image) -> str:
    """Tell the format of an image by its content, else by its media type or the end of its address."""
    media_type = (sniffed(image.data) if image.data else None) or image.media_type
    known = IMAGE_FORMATS.get(media_type)
    if known is None and image.url:
        known = IMAGE_FORMATS.get(f"image/{image.url.rpartition('.')[2].lower()}", "png")
    if known is None:
        raise Unsupported(f"Images must be PNG, JPEG, GIF or WebP, not {media_type!r}.", param=image.at)
    return known


def _document_format(file: File) -> str:
    if file.text is not None:
        return "txt"
    media_type = ((sniffed(file.data) if file.data else None) or file.media_type).partition(";")[0].strip()
    known = DOCUMENT_FORMATS.get(media_type) or _SAME_MEDIA.get(media_type)
    if known is None and file.url:
        extension = file.url.rpartition(".")[2].lower()
        known = extension if extension in DOCUMENT_FORMATS.values() else None
    if known is None and media_type.startswith("text/"):
        known = "txt"
    if known is None:
        raise Unsupported(f"Documents of the type {media_type!r} are not read by this provider.", param=file.at)
    return known


def _source(file: Image | File, at: str) -> Block:
    """Write where the content is. Raises Unsupported for an address that Bedrock does not fetch from."""
    if isinstance(file, File) and file.text is not None:
        return {"bytes": base64.b64encode(file.text.encode("utf-8", "replace")).decode()}
    if file.data:
        return {"bytes": file.data}
    if file.url.startswith(S3_SCHEME):
        return {"s3Location": {"uri": file.url}}
    raise Unsupported("This provider takes files only by their content in base64, or from Amazon S3.", param=at)


def cache_point(mark: CacheMark) -> Block:
    """Write a cache point."""
    return {"cachePoint": {"type": "default", "ttl": "1h"} if mark.ttl == "1h" else {"type": "default"}}


def add_cache_point(blocks: list[Block], mark: CacheMark) -> None:
    """Put a cache point behind the last of some blocks; before documents and videos at their end, and before
    reasoning, behind which it would be refused. With nothing before those, there is none."""
    end = len(blocks)
    while end and not blocks[end - 1].keys().isdisjoint(("document", "video", "reasoningContent")):
        end -= 1
    if end and "cachePoint" not in blocks[end - 1]:
        blocks.insert(end, cache_point(mark))
