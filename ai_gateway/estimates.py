"""How much will a call use? A guess from its body, before it is sent: what limits and budgets reserve.

The guess for the prompt is on the high side: a token for three bytes of text is more than any tokenizer needs for
English, and about right for code and for other scripts in UTF-8. Files in base64 count as what models charge for an
image. For the answer it is what the caller allows (`max_tokens`), else what the site says.
"""

from __future__ import annotations

import re

import msgspec

from ai_gateway.calls import Call

BYTES_PER_TOKEN = 3

TOKENS_OF_A_FILE = 1600
"""What a large image costs with most providers."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/_=-]{1024,}")
"""A run of letters that no text has, but a file in base64."""

SHORT = 4096
"""A body of so many bytes has no file in it that is worth looking for."""


class _Bounds(msgspec.Struct):
    maxOutputTokens: int | None = None
    maxTokens: int | None = None
    candidateCount: int | None = None


class _Asked(msgspec.Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None
    generationConfig: _Bounds | None = None
    inferenceConfig: _Bounds | None = None


_asked = msgspec.json.Decoder(_Asked)


def input_tokens(body: object) -> int:
    """Guess the tokens of a request body. 0 for what is no JSON, an upload for example."""
    if not isinstance(body, bytes):
        return 0
    length, files = len(body), 0
    if length > SHORT:
        for found in _BASE64.finditer(body):
            files += 1
            length -= found.end() - found.start()
    return -(-length // BYTES_PER_TOKEN) + files * TOKENS_OF_A_FILE


def output_tokens(call: Call, default: int) -> int:
    """Tell how many tokens an answer may have: what the caller allows, else `default`. 0 for a call for no text."""
    if not call.dialect.is_generation or not isinstance(call.body, bytes):
        return 0
    try:
        asked = _asked.decode(call.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return default  # The provider will say what is wrong with it.
    most = asked.max_completion_tokens or asked.max_tokens or asked.max_output_tokens
    answers = asked.n or 1
    for bounds in (asked.generationConfig, asked.inferenceConfig):
        if bounds is not None:
            most = most or bounds.maxOutputTokens or bounds.maxTokens
            answers = bounds.candidateCount or answers
    return max(0, default if most is None else most) * max(1, min(answers, 128))
