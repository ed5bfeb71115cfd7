"""JSON as it really comes over the wire, and as it may leave.

msgspec is fast and strict. One thing that it refuses does occur: half of a surrogate pair, of a character beyond U+FFFF
that an upstream split over two deltas. It is read, and written as an escape. Numbers that no double can hold, NaN and
Infinity are no JSON and stay refused, though Python's own parser takes them.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec


def loads(data: bytes | str) -> Any:
    """Decode JSON. Raises ValueError for what is none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        text = data.decode("utf-8", "surrogatepass") if isinstance(data, bytes) else data
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dumps(value: Any) -> bytes:
    """Encode JSON as UTF-8, without blanks. NaN and Infinity, which `loads` lets nobody bring in, become null."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def dumps_text(value: Any) -> str:
    """Encode JSON as text, without blanks, as the arguments of a call are written."""
    return dumps(value).decode()


def objects_in(value: object) -> list[dict[str, Any]]:
    """Give the objects of a list, where a provider should have sent nothing else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def arguments_object(raw: str) -> dict[str, Any]:
    """Read the arguments of a call for a format that wants an object.

    Nothing and `null` are an empty object. What is no JSON object (cut off, badly escaped, a list) is kept as text
    under a key that says so: one broken call in the history must not make the conversation unusable.
    """
    text = raw.strip()
    if not text or text == "null":
        return {}
    try:
        value = loads(text)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {INVALID: raw}


INVALID = "INVALID_JSON"
"""The key under which arguments are kept that are no object. pydantic-ai uses the same."""


def arguments_text(value: dict[str, Any]) -> str:
    """Write the arguments of a call as text; what `arguments_object` could not read comes out as it was."""
    if len(value) == 1 and isinstance(value.get(INVALID), str):
        return str(value[INVALID])
    return dumps_text(value)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number
