"""Does a request ask for log probabilities? These repeat the answer token by token, where no guardrail would find it.

The document is read, and its members are taken by what their names say: a key that is written with an escape is the
same key to a provider, and Google's servers take `response_logprobs` as well as `responseLogprobs`. Of two equal
members both count. What is said in the conversation, and what a tool is like, asks for nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any

SAID = frozenset(("messages", "contents", "input", "tools"))
"""Lists of the outermost object in which nothing is asked for."""

HOW_MANY = frozenset(("logprobs", "responselogprobs", "nprobs"))
"""Names, in small letters and without a low line, that ask for them by any value that is not false. llama.cpp's is the
last."""

MORE = "toplogprobs"
"""The name that says how many others are told of beside them: none by 0, which SDKs send where none are asked for."""

_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
"""How a letter begins that is written with an escape."""


class _Members(list[tuple[str, Any]]):
    """An object of a document, with all of its members, equal ones too."""


def are_asked_for(body: bytes) -> bool:
    """Whether a JSON document asks for log probabilities. Raises ValueError or RecursionError if it is none."""
    if not _may_ask(body):
        return False
    document = json.loads(body, object_pairs_hook=_Members, parse_int=str, parse_float=str)
    waiting: list[Any] = [document]
    if isinstance(document, _Members):
        waiting = [_Members((name, each) for name, each in document if name not in SAID or type(each) is not list)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Members):
            if any(_asks(name, each) for name, each in value):
                return True
            waiting += [each for _, each in value]
        elif isinstance(value, list):
            waiting += value
    return False


def _may_ask(body: bytes) -> bool:
    """Whether a body has in it what every one has that asks, whichever way it is written. Found so, and not by one
    expression that heeds no case, because that takes ten times as long."""
    return b"probs" in body.lower() or (b"\\u00" in body and _ESCAPED_LETTER.search(body) is not None)


def _asks(name: str, value: Any) -> bool:
    plain = name.lower().replace("_", "")
    if plain == "include":
        return isinstance(value, list) and any(isinstance(each, str) and "logprobs" in each.lower() for each in value)
    if plain in HOW_MANY:
        return value not in (None, False, "false") and not isinstance(value, list)
    return plain == MORE and value not in (None, False, "false", "0") and not isinstance(value, list)
