"""Writing the parts of a user's message for a provider.

Source: the message types of OpenAI's chat completions reference.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import Audio, File, Image, Part, Refusal, Request, Text
from ai_gateway.protocols.media import write_data_url
from ai_gateway.protocols.openai_chat.tool_writer import ToolSet
from ai_gateway.protocols.writing import untranslatable

PDF = "application/pdf"
DEFAULT_NAME = "document.pdf"
TEXTUAL = ("text/", "application/json", "application/xml", "application/x-yaml")
"""How the media types begin of what can be said as text."""


class PartWriter:
    """Writes parts as a model's capabilities allow."""

    def __init__(self, request: Request, capabilities: Capabilities, tools: ToolSet) -> None:
        self._request = request
        self._capabilities = capabilities
        self._tools = tools

    def write(self, part: Part) -> dict[str, Any]:
        """Write a part. Raises Unsupported naming it if it cannot be said."""
        writer = WRITERS.get(type(part))
        if writer is None:
            raise untranslatable(part)
        return writer(self, part)

    def text(self, part: Text) -> dict[str, Any]:
        """Write a text."""
        return {"type": "text", "text": part.text, **self._tools.mark(part.cache)}

    def _image(self, part: Image) -> dict[str, Any]:
        if not self._capabilities.images:
            raise Unsupported("This model does not see images.", param=part.at)
        if part.file_id or not (part.data or part.url):
            raise Unsupported("An image must be given by its content or a URL.", param=part.at)
        if part.url and not self._capabilities.image_urls:
            raise Unsupported("This model takes images by their content, not by a URL.", param=part.at)
        image = {"url": part.url or write_data_url(part.media_type, part.data)}
        if part.detail:
            image["detail"] = part.detail
        return {"type": "image_url", "image_url": image, **self._tools.mark(part.cache)}

    def _file(self, part: File) -> dict[str, Any]:
        text = _file_text(part)
        if text is not None:
            return {"type": "text", "text": text, **self._tools.mark(part.cache)}
        if part.data and part.media_type.startswith("image/"):
            return self._image(Image(data=part.data, media_type=part.media_type, cache=part.cache, at=part.at))
        if not self._capabilities.files:
            raise Unsupported("This model does not read files.", param=part.at)
        return {"type": "file", "file": self._file_object(part), **self._tools.mark(part.cache)}

    def _file_object(self, part: File) -> dict[str, Any]:
        if part.data:
            media_type = part.media_type or PDF
            return {"filename": part.name or DEFAULT_NAME, "file_data": write_data_url(media_type, part.data)}
        is_at_provider = self._capabilities.openai_hints and self._request.format.startswith("openai")
        if part.file_id and is_at_provider:
            return {"file_id": part.file_id}
        raise Unsupported("A file must be given by its content.", param=part.at)

    def _audio(self, part: Audio) -> dict[str, Any]:
        if not self._capabilities.audio:
            raise Unsupported("This model does not hear sound.", param=part.at)
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}

    def _refusal(self, part: Refusal) -> dict[str, Any]:
        return {"type": "text", "text": part.text}


WRITERS: dict[type[Part], Callable[[PartWriter, Any], dict[str, Any]]] = {
    Text: PartWriter.text,
    Image: PartWriter._image,
    File: PartWriter._file,
    Audio: PartWriter._audio,
    Refusal: PartWriter._refusal,
}


def _file_text(part: File) -> str | None:
    """Give what a file says, if it is text."""
    if part.text is not None:
        return part.text
    if not part.data or not part.media_type.startswith(TEXTUAL):
        return None
    try:
        return base64.b64decode(part.data, validate=True).decode()
    except (binascii.Error, ValueError):
        raise Unsupported("The content of this file is not text in UTF-8.", param=part.at) from None
