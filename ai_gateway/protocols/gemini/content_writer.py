"""Writing pictures, documents and sound for Google: `inlineData` for content, `fileData` for addresses.

Google fetches addresses on the web itself, and knows those of its own file store. Source: "Part" of the Gemini API's
reference, and its "File input methods".
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import Audio, File, Image, Part
from ai_gateway.protocols.media import AUDIO_TYPES, sniffed

TYPES_BY_ENDING = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "mp4": "video/mp4",
    "mov": "video/mov",
    "webm": "video/webm",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
}
"""What a file is, by the ending of its name, where nothing else tells."""

FILE_STORES = ("files/", "gs://", "https://generativelanguage.googleapis.com/")
"""How the names of files begin that are stored at Google."""


def write_media(part: Part, destination: Destination, dropped: list[str]) -> dict[str, Any] | None:
    """Write a part that is no text. None for a part that is none of these. Raises Unsupported for what the model does
    not take; what is left out goes to `dropped`."""
    if isinstance(part, Image):
        return _image(part, destination, dropped)
    if isinstance(part, File):
        return _file(part, destination, dropped)
    if isinstance(part, Audio):
        _check(destination.capabilities.audio, "This model does not take sound.", part)
        return _inline(AUDIO_TYPES.get(part.format, f"audio/{part.format}"), part.data)
    return None


def _image(image: Image, destination: Destination, dropped: list[str]) -> dict[str, Any]:
    capabilities = destination.capabilities
    _check(capabilities.images, "This model does not take images.", image)
    if image.detail not in ("", "auto"):
        dropped.append(f"{image.at}.detail")
    if image.data:
        return _inline(sniffed(image.data) or image.media_type or "image/jpeg", image.data)
    if image.file_id:
        return _stored(image.file_id, image.media_type, image)
    _check(capabilities.image_urls or _is_stored(image.url), "This model takes no images by their URL.", image)
    return _fetched(image.url, image.media_type or _type_by_ending(image.url), image)


def _file(file: File, destination: Destination, dropped: list[str]) -> dict[str, Any]:
    if file.cites:
        dropped.append(f"{file.at}.citations")
    if file.text is not None:
        return {"text": file.text}
    _check(destination.capabilities.files, "This model does not take files.", file)
    if file.data:
        given = "" if file.media_type == "application/octet-stream" else file.media_type
        media_type = given or sniffed(file.data) or _type_by_ending(file.name) or "application/pdf"
        return _inline(media_type, file.data)
    media_type = file.media_type or _type_by_ending(file.name) or _type_by_ending(file.url)
    if file.file_id:
        return _stored(file.file_id, media_type, file)
    return _fetched(file.url, media_type, file)


def _inline(media_type: str, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _stored(file_id: str, media_type: str, part: Part) -> dict[str, Any]:
    _check(_is_stored(file_id), "A file that is stored at another provider cannot be used here.", part)
    return _addressed(file_id, media_type)


def _fetched(url: str, media_type: str, part: Part) -> dict[str, Any]:
    is_fine = url.lower().startswith("https://") or _is_stored(url)
    _check(is_fine, "Only addresses that begin with https:// can be fetched.", part)
    return _addressed(url, media_type)


def _addressed(uri: str, media_type: str) -> dict[str, Any]:
    return {"fileData": {"fileUri": uri, "mimeType": media_type} if media_type else {"fileUri": uri}}


def _is_stored(name: str) -> bool:
    return name.startswith(FILE_STORES)


def _type_by_ending(name: str) -> str:
    path = name.partition("?")[0].partition("#")[0]
    return TYPES_BY_ENDING.get(path.rpartition(".")[2].lower(), "")


def _check(is_fine: bool, message: str, part: Part) -> None:
    if not is_fine:
        raise Unsupported(message, param=part.at or None)
