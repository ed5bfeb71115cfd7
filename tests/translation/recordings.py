"""The recorded answers, and how an upstream says them again."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import pairwise

from tests.protocols.vectors import Vector, vectors
from tests.upstream import LAST_CHUNK, Script, chunk, plain_answer, play, stream_head

GENERATION = {
    "openai_chat": ("/chat/completions",),
    "openai_responses": ("/responses",),
    "anthropic_messages": ("/messages",),
    "gemini": (":generateContent", ":streamGenerateContent"),
}
"""How the paths end that ask for an answer, by format."""

MOST_PIECES = 24
"""In how many pieces a stream is sent. What every single byte does is tested without sockets."""


def generations() -> Iterator[Vector]:
    """Give every recorded exchange in which text was asked for."""
    for format, endings in GENERATION.items():
        yield from (vector for vector in vectors(format) if vector.path.endswith(endings))


def said_again(vector: Vector) -> Script:
    """Answer as recorded: a stream in pieces that are cut at odd places, anything else whole."""
    if not vector.is_stream:
        return plain_answer(json.dumps(vector.response).encode(), "application/json", vector.status)
    return in_pieces(vector.stream, vector.name)


def in_pieces(stream: bytes, seed: str, content_type: str = "text/event-stream") -> Script:
    """Answer with a stream, cut at odd places."""
    chance = random.Random(seed)
    places = sorted({0, *(chance.randrange(1, len(stream)) for _ in range(MOST_PIECES - 1)), len(stream)})
    pieces = [stream[start:end] for start, end in pairwise(places)]
    return play(stream_head(content_type=content_type), *map(chunk, pieces), LAST_CHUNK)
