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
from collections.abc import Callable, Iterator, Mapping
from math import ceil
from typing import Any

import msgspec

from ai_gateway.calls import Call, below_version

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

_FILE = re.compile(rb';base64,|"(?:data|bytes|file_data|images?|audio)"[ \t\r\n]*:[ \t\r\n]*\[?[ \t\r\n]*"')
"""What stands before a file in base64 in all formats. Elsewhere letters are text, which may be without a blank."""

BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_=-\\"
"""The letters of base64, and how some encoders escape one of them."""

SHORTEST_FILE = 1024
"""Letters of a file that does not count as text."""

SHORT = 4096
"""A body of so many bytes has no file in it that is worth looking for."""


TEXT_FORMAT = dict.fromkeys(("completions", "fim/completions", "agents/completions"), "openai_chat")
"""What is asked for a text at other paths, below the version, and as which format it says how long that may be."""


class _Asked(msgspec.Struct):
    """The members that may say it, in all formats."""

    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    n: Any = None
    generationConfig: Any = None
    generation_config: Any = None
    inferenceConfig: Any = None


_asked = msgspec.json.Decoder(_Asked)


def input_tokens(body: object, bytes_per_token: int = BYTES_PER_TOKEN) -> int:
    """Guess the tokens of a request body, for reserving. 0 for what is no JSON, an upload for example."""
    if not isinstance(body, bytes):
        return 0
    length, files = len(body), 0
    if length > SHORT:
        for size in _files(body):
            files += 1
            length -= size
    return -(-length // bytes_per_token) + files * TOKENS_OF_A_FILE


def _files(body: bytes) -> Iterator[int]:
    """Give the sizes of the files in a body, in letters. Up to a quotation mark is found much faster than by a pattern.
    Short ones are no more than text of their length."""
    place = 0
    while (found := _FILE.search(body, place)) is not None:
        start = found.end()
        place = body.find(b'"', start)
        if place < 0:
            return
        if place - start > SHORTEST_FILE and not body[start:place].translate(None, BASE64):
            yield place - start


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
    format = call.dialect.name if call.dialect.is_generation else TEXT_FORMAT.get(below_version(call.path))
    if format is None or not isinstance(call.body, bytes):
        return default if call.dialect.is_session else 0
    try:
        asked = _asked.decode(call.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return default  # The provider will say what is wrong with it.
    most, answers = BOUNDS[format](asked)
    return min(most or default, LONGEST_ANSWER) * max(1, min(answers, MOST_ANSWERS))


def _of_chat(asked: _Asked) -> tuple[int, int]:
    return max(_number(asked.max_completion_tokens), _number(asked.max_tokens)), _number(asked.n)


def _of_google(asked: _Asked) -> tuple[int, int]:
    """Google's servers know both ways to write names."""
    most = answers = 0
    for bounds in (asked.generationConfig, asked.generation_config):
        if isinstance(bounds, dict):
            most = max(most, _number(bounds.get("maxOutputTokens")), _number(bounds.get("max_output_tokens")))
            answers = max(answers, _number(bounds.get("candidateCount")), _number(bounds.get("candidate_count")))
    return most, answers


def _of_bedrock(asked: _Asked) -> tuple[int, int]:
    bounds = asked.inferenceConfig
    return _number(bounds.get("maxTokens")) if isinstance(bounds, dict) else 0, 1


BOUNDS: Mapping[str, Callable[[_Asked], tuple[int, int]]] = {
    "openai_chat": _of_chat,
    "openai_responses": lambda asked: (_number(asked.max_output_tokens), 1),
    "anthropic_messages": lambda asked: (_number(asked.max_tokens), 1),
    "gemini": _of_google,
    "bedrock_converse": _of_bedrock,
}
"""By format, how long an answer may be and how many there are to be; 0: that is not said. Members of other formats say
nothing: who adds them would have less reserved than the call may use."""


def _number(value: object) -> int:
    """Take a number above 0, as a server might that is not strict; 0 for all else."""
    if value is None:
        return 0
    if type(value) is int:
        return min(value, LONGEST_ANSWER) if value > 0 else 0
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else 0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        return 0
    return int(min(value, LONGEST_ANSWER))
