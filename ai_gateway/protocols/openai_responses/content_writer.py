"""Writing the content of input items. Raises Unsupported naming the caller's part for what the model cannot take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols import media
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import Audio, File, Image, Part, Refusal, Text, Thinking
from ai_gateway.protocols.writing import untranslatable

OPENAI_FORMATS = ("openai_chat", "openai_responses")
"""The formats in which the id of a file is one of OpenAI's."""


class ContentWriter:
    """Writes parts for one model and one caller's format."""

    def __init__(self, capabilities: Capabilities, caller_format: str) -> None:
        self._capabilities = capabilities
        self._knows_files = capabilities.openai_hints and caller_format in OPENAI_FORMATS

    def write(self, parts: Iterable[Part]) -> list[dict[str, Any]]:
        """Write the parts of a caller's turn, or of the result of a tool."""
        return [written for part in parts if (written := self._part(part)) is not None]

    def _part(self, part: Part) -> dict[str, Any] | None:
        if isinstance(part, Text | Refusal):
            return input_text(part.text) if part.text else None
        if isinstance(part, Image):
            return self._image(part)
        if isinstance(part, File):
            return self._file(part)
        if isinstance(part, Audio):
            return self._audio(part)
        if isinstance(part, Thinking):
            return None
        raise untranslatable(part)

    def _image(self, image: Image) -> dict[str, Any]:
        if not self._capabilities.images:
            raise Unsupported("This model does not take images.", param=image.at)
        written = {"type": "input_image", "detail": image.detail or "auto"}
        if image.data:
            return {**written, "image_url": media.write_data_url(image.media_type, image.data)}
        if image.url and not self._capabilities.image_urls:
            raise Unsupported("This model takes no URLs of images: send the image itself.", param=image.at)
        if image.url:
            return {**written, "image_url": image.url}
        return {**written, "file_id": self._file_id(image.file_id, image.at)}

    def _file(self, file: File) -> dict[str, Any]:
        if file.text is not None:
            return input_text(f"{file.name}\n{file.text}" if file.name else file.text)
        if file.media_type.startswith("image/"):
            media_type, at = file.media_type, file.at
            return self._image(Image(data=file.data, url=file.url, file_id=file.file_id, media_type=media_type, at=at))
        if not self._capabilities.files:
            raise Unsupported("This model does not take files.", param=file.at)
        if file.data:
            url = media.write_data_url(file.media_type or "application/pdf", file.data)
            return {"type": "input_file", "filename": file.name or _default_name(file.media_type), "file_data": url}
        if file.media_type.startswith(("audio/", "video/")):
            raise Unsupported("This model takes neither sound nor films as files.", param=file.at)
        if file.url:
            return {"type": "input_file", "file_url": file.url}
        return {"type": "input_file", "file_id": self._file_id(file.file_id, file.at)}

    def _file_id(self, file_id: str, at: str) -> str:
        if not self._knows_files:
            raise Unsupported("A file that was uploaded to another provider cannot be used here.", param=at)
        return file_id

    def _audio(self, audio: Audio) -> dict[str, Any]:
        if not self._capabilities.audio:
            raise Unsupported("This model does not take audio.", param=audio.at)
        return {"type": "input_audio", "input_audio": {"data": audio.data, "format": audio.format}}


def input_text(text: str) -> dict[str, Any]:
    """Write a text of the caller's."""
    return {"type": "input_text", "text": text}


def _default_name(media_type: str) -> str:
    """Name a file that has no name: one is demanded for a file that is sent along."""
    kind = media_type.partition("/")[2]
    return f"document.{kind}" if kind.isalpha() and kind != "plain" else "document.txt" if kind else "document.pdf"
