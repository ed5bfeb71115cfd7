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

import msgspec

from ai_gateway.bodies import Members, members_of
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

_BEFORE_FILE = re.compile(
    rb'(?:;base64,|"(?:data|bytes|file_data|images?|audio)"[ \t\r\n]*:[ \t\r\n]*\[?[ \t\r\n]*")\Z'
)
"""What stands before a file in base64 in all formats. Elsewhere letters are text, which may be without a blank."""

LONGEST_BEFORE = 256
"""Bytes in which that is looked for."""

BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_=-\\"
"""The letters of base64, and how some encoders escape one of them."""

SHORTEST_FILE = 1024
"""Letters of a file that does not count as text."""

STEP = SHORTEST_FILE // 2
_NO_TEXT = re.compile(rb"[A-Za-z0-9+/_=\\-]{%d}" % STEP)
"""What every file has in it, from a multiple of STEP on."""

SHORT = 4096
"""A body of so many bytes has no file in it that is worth looking for."""


TEXT_FORMAT = dict.fromkeys(("completions", "fim/completions", "agents/completions"), "openai_chat")
"""What is asked for a text at other paths, below the version, and as which format it says how long that may be."""


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
    """Give the sizes of the files in a body, in letters. Short ones are no more than text of their length.

    Only every STEP bytes it is looked if a file is there, for most bodies have none: in text, a glance is over at the
    first blank. To search for what stands before files took ten times as long.
    """
    end = 0
    for place in range(0, len(body) - STEP + 1, STEP):
        if place < end or _NO_TEXT.match(body, place) is None:
            continue
        start = max(body.rfind(b'"', end, place), body.rfind(b",", end, place)) + 1
        end = body.find(b'"', place)
        if end < 0:
            return
        is_file = end - start > SHORTEST_FILE and not body[start:end].translate(None, BASE64)
        if is_file and _BEFORE_FILE.search(body, max(0, start - LONGEST_BEFORE), start) is not None:
            yield end - start


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
    members = members_of(call.body, call.reading)
    if members is None:
        return default  # The provider will say what is wrong with it.
    most, answers = BOUNDS[format](members)
    most = most or min(default, LONGEST_ANSWER)
    return most if answers < 2 else most * min(answers, MOST_ANSWERS)


def _of_chat(members: Members) -> tuple[int, int]:
    newer, older, answers = members.max_completion_tokens, members.max_tokens, members.n
    most = max(_member(newer), _member(older)) if newer or older else 0
    return most, _member(answers) if answers else 0


def _of_google(members: Members) -> tuple[int, int]:
    """Google's servers know both ways to write names."""
    most = answers = 0
    for written in (members.generationConfig, members.generation_config):
        bounds = _value(written)
        if isinstance(bounds, dict):
            most = max(most, _number(bounds.get("maxOutputTokens")), _number(bounds.get("max_output_tokens")))
            answers = max(answers, _number(bounds.get("candidateCount")), _number(bounds.get("candidate_count")))
    return most, answers


def _of_bedrock(members: Members) -> tuple[int, int]:
    bounds = _value(members.inferenceConfig)
    return _number(bounds.get("maxTokens")) if isinstance(bounds, dict) else 0, 1


BOUNDS: Mapping[str, Callable[[Members], tuple[int, int]]] = {
    "openai_chat": _of_chat,
    "openai_responses": lambda members: (_member(members.max_output_tokens), 1),
    "anthropic_messages": lambda members: (_member(members.max_tokens), 1),
    "gemini": _of_google,
    "bedrock_converse": _of_bedrock,
}
"""By format, how long an answer may be, LONGEST_ANSWER at most, and how many there are to be; 0: that is not said.
Members of other formats say nothing: who adds them would have less reserved than the call may use."""


def _value(written: msgspec.Raw) -> object:
    """Decode a member. None for one that is not there, or has a number that no float holds."""
    try:
        return msgspec.json.decode(written) if written else None
    except (msgspec.DecodeError, RecursionError):
        return None


def _member(written: msgspec.Raw) -> int:
    return _number(_value(written)) if written else 0


def _number(value: object) -> int:
    """Take a number above 0, as a server might that is not strict, but LONGEST_ANSWER at most; 0 for all else."""
    if value is None:
        return 0
    if type(value) is int and 0 < value < LONGEST_ANSWER:
        return value
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else 0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        return 0
    return int(min(value, LONGEST_ANSWER))
