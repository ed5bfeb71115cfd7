"""Data URLs and what is in them."""

from __future__ import annotations

import base64
import binascii
import re

from ai_gateway.errors import BadRequest

IMAGES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
"""The kinds of images that every provider takes."""

_DATA_URL = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)

_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
)

AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mp3", "flac": "audio/flac", "opus": "audio/ogg", "aac": "audio/aac"}
"""What OpenAI calls a format of sound, and what its media type is."""


def is_data_url(url: str) -> bool:
    """Whether a URL holds its content itself."""
    return url[:5].lower() == "data:"


def read_data_url(url: str, at: str) -> tuple[str, str]:
    """Split a data URL into its media type in lower case and its content in base64 without blanks. Raises BadRequest
    naming `at`."""
    found = _DATA_URL.match(url)
    if found is None:
        raise BadRequest("This is not a data URL: it must read data:TYPE;base64,CONTENT.", param=at)
    parameters = [parameter.strip().lower() for parameter in found[2].split(";")]
    if "base64" not in parameters:
        raise BadRequest("The content of a data URL must be in base64 (data:TYPE;base64,CONTENT).", param=at)
    data = url[found.end() :]
    return found[1].strip().lower(), data if data.isalnum() else "".join(data.split())


def write_data_url(media_type: str, data: str) -> str:
    """Write a data URL of content in base64."""
    return f"data:{media_type};base64,{data}"


def sniffed(data: str) -> str | None:
    """Tell the media type of content in base64 by how it begins; None if that is not known."""
    try:
        start = base64.b64decode(data[:64][: len(data[:64]) // 4 * 4])
    except (ValueError, binascii.Error):
        return None
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if start.startswith(magic)), None)
