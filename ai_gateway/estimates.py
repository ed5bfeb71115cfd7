"""How much will a call use, and how much did one use that nobody counted? Guesses from the bytes of its body.

What limits and budgets reserve is a guess before the call is sent, on the high side: a token for three bytes of text is
more than any tokenizer needs for English, and about right for code and for other scripts in UTF-8. What is charged for
a call whose provider did not say is a fair one: a token for four bytes. Files in base64 count as what models charge for
an image. For the answer it is what the caller allows (`max_tokens`), else what the site says; and afterwards the text
that came.

Neither can know what the provider adds: the pages of a web search, a file or a cache that the body only names, the
instructions that come with tools (300 to 500 tokens with Anthropic's models).
"""

from __future__ import annotations

import re
from math import ceil

import msgspec

from ai_gateway.calls import Call

BYTES_PER_TOKEN = 3
"""For what is reserved."""

FAIR_BYTES_PER_TOKEN = 4
"""For what is charged: measured with recorded prompts in English of more than a page, 4.4 to 4.6."""

TOKENS_OF_A_FILE = 1600
"""What a large image costs with most providers."""

LONGEST_ANSWER = 10_000_000
"""Tokens of an answer, at most: no model gives as many, whatever its caller allows."""

MOST_ANSWERS = 128
"""Answers to one call, at most: what OpenAI allows."""

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


def input_tokens(body: object, bytes_per_token: int = BYTES_PER_TOKEN) -> int:
    """Guess the tokens of a request body, for reserving. 0 for what is no JSON, an upload for example."""
    if not isinstance(body, bytes):
        return 0
    length, files = len(body), 0
    if length > SHORT:
        for found in _BASE64.finditer(body):
            files += 1
            length -= found.end() - found.start()
    return -(-length // bytes_per_token) + files * TOKENS_OF_A_FILE


def likely_input_tokens(body: object) -> int:
    """Guess the tokens of a request body, for charging. 0 for what is no JSON."""
    return input_tokens(body, FAIR_BYTES_PER_TOKEN)


def text_tokens(size: float, pieces: float = 0) -> int:
    """Guess the tokens of a text that came, by its bytes in UTF-8 and the pieces in which it came.

    No piece has less than a token, and with most providers each has just one.
    """
    return ceil(max(size / FAIR_BYTES_PER_TOKEN, pieces))


def output_tokens(call: Call, default: int) -> int:
    """Tell how many tokens an answer may have: what the caller allows, else `default`. 0 for a call for no text.

    Whatever a caller writes, an answer is taken to have LONGEST_ANSWER at most, and a call MOST_ANSWERS."""
    if not call.dialect.is_generation or not isinstance(call.body, bytes):
        return default if call.dialect.is_session else 0
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
    tokens = max(0, min(default if most is None else most, LONGEST_ANSWER))
    return tokens if answers == 1 else tokens * max(1, min(answers, MOST_ANSWERS))
