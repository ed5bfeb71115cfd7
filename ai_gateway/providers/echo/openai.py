"""The rest of OpenAI's API: models, embeddings, moderations, images and audio. Small, but of the right shape.

Source: "Models", "Embeddings", "Moderations", "Images" and "Audio" in OpenAI's API reference; the WAV and PNG files by
RIFF WAVE and by the PNG specification.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from typing import Any

from ai_gateway.providers.echo.answers import EchoResponse, document, whole
from ai_gateway.providers.echo.prompt import Ask, texts, tokens

DIMENSIONS = 8
"""How many numbers an embedding has if the caller does not say."""

MAX_DIMENSIONS = 4096

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)

TRANSCRIPT = "This is the echo provider. It does not listen."

SAMPLE_RATE = 8000


def list_models(models: tuple[str, ...]) -> EchoResponse:
    """Answer `GET /v1/models`."""
    return document({"object": "list", "data": [_model(model) for model in models]})


def show_model(model: str) -> EchoResponse:
    """Answer `GET /v1/models/{id}`."""
    return document(_model(model))


def _model(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": 0, "owned_by": "echo"}


def embed(ask: Ask) -> EchoResponse:
    """Answer `POST /v1/embeddings`: for each input numbers between -1 and 1 that depend on nothing but the input."""
    inputs = _inputs(ask.body.get("input"))
    asked = ask.body.get("dimensions")
    size = min(asked, MAX_DIMENSIONS) if isinstance(asked, int) and asked > 0 else DIMENSIONS
    is_base64 = ask.body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _embedding(text, size, is_base64=is_base64)}
        for index, text in enumerate(inputs)
    ]
    count = sum(tokens(text) for text in inputs)
    usage = {"prompt_tokens": count, "total_tokens": count}
    return document({"object": "list", "data": data, "model": ask.model, "usage": usage})


def _inputs(value: Any) -> list[str]:
    """List the inputs: a text or a list of token numbers is one, a list of either is several."""
    if not isinstance(value, list) or all(isinstance(item, int) for item in value):
        value = [value]
    return [item if isinstance(item, str) else repr(item) for item in value]


def _embedding(text: str, size: int, *, is_base64: bool) -> list[float] | str:
    digest = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(size)
    numbers = [byte / 127.5 - 1.0 for byte in digest]
    return base64.b64encode(struct.pack(f"<{size}f", *numbers)).decode() if is_base64 else numbers


def moderate(ask: Ask) -> EchoResponse:
    """Answer `POST /v1/moderations`: everything is harmless."""
    value = ask.body.get("input")
    count = len(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else 1
    result = {
        "flagged": False,
        "categories": dict.fromkeys(CATEGORIES, False),
        "category_scores": dict.fromkeys(CATEGORIES, 0.0),
        "category_applied_input_types": {category: ["text"] for category in CATEGORIES},
    }
    return document({"id": f"modr-{ask.id}", "model": ask.model, "results": [result] * count})


def draw(ask: Ask) -> EchoResponse:
    """Answer `POST /v1/images/...`: a PNG file of one grey pixel, whatever was asked for."""
    image = {"b64_json": base64.b64encode(png()).decode(), "revised_prompt": "\n".join(texts(ask.body.get("prompt")))}
    count = ask.body.get("n")
    data = [image] * (min(count, 10) if isinstance(count, int) and count > 0 else 1)
    return document({"created": ask.now, "data": data, "output_format": "png"})


def speak(ask: Ask) -> EchoResponse:
    """Answer `POST /v1/audio/speech`: a WAV file with silence of 10 ms a character, 50 ms at least."""
    text = ask.body.get("input")
    milliseconds = max(50, 10 * min(len(text), 500)) if isinstance(text, str) else 50
    return whole(wav(SAMPLE_RATE * milliseconds // 1000), b"audio/wav")


def transcribe(ask: Ask) -> EchoResponse:
    """Answer `POST /v1/audio/transcriptions` and `/translations`: a fixed text. The upload was read and thrown away."""
    return document({"text": TRANSCRIPT, "usage": {"type": "duration", "seconds": 1}})


def wav(samples: int) -> bytes:
    """Write a WAV file of silence: PCM, one channel, 16 bits."""
    data = b"\x00\x00" * samples
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, SAMPLE_RATE * 2, 2, 16)
    chunks = form + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks


def png() -> bytes:
    """Write a PNG file of one grey pixel."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\x00\x80")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
