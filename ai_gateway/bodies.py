"""What routing must know of a JSON body, read without decoding the rest, and the few changes ever made to it.

The body that is authorised must be the body that is sent. JSON parsers differ in which of two equal keys they take, so
a body that names `model` twice is refused. So is one that spells it with capitals: servers written in Go take `Model`
for `model`, and of both the last. Only `model`, `stream` and `models` are decoded (msgspec skips the other members
while it checks their syntax: about 1.5 ms for 5 MiB on the reference machine, against 10 ms for `json.loads`), and a
few more are found. All that somebody wants to know later is found in this one pass, and goes with the call (`Reading`):
agents send prompts of hundreds of kilobytes, and to go through one once more takes longer than all else.

The model may get another name, a provider of chat completions may be asked for the usage of a stream, and a member that
was for the gateway is taken out. Every other value stays as it is, byte for byte.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection
from itertools import islice, product
from typing import Annotated, Any

import msgspec

from ai_gateway.errors import InvalidBody

MAX_MODEL = 1024
"""Characters that the name of a model may have: it is remembered in many places, and compared with many patterns."""

UTF8_PIECE = 1 << 20
"""How much of a body is checked for UTF-8 at a time, in bytes: the check must not hold a second copy of it."""

ESCAPED_LETTER_OF_MODEL = b"\\u006"
r"""All five letters lie between U+0060 and U+006F: without this in the body, no key spells `model` with escapes."""

ESCAPED_LETTER = b"\\u00"
"""How an ASCII letter begins that is written with an escape."""


def _key(name: str) -> re.Pattern[bytes]:
    """Make the pattern of a key that reads like this, up to its value. In valid JSON its last quote always ends a
    string, and the colon behind makes that string a key (it may be the tail of a longer key, for example `a"model`)."""
    letters = "".join(rf"(?:{letter}|\\u(?i:{ord(letter):04x}))" for letter in name)
    return re.compile(rf'"{letters}"[ \t\r\n]*:[ \t\r\n]*'.encode())


_MODEL_KEY, _OPTIONS_KEY, _USAGE_KEY = _key("model"), _key("stream_options"), _key("include_usage")

MODEL = b'"model"'

END_OF_MODEL = b'odel"'
"""Python finds five bytes three times as fast as six or more, which counts in long bodies."""

SHORT = 4096
FEW = 100
"""How often it is worth to look for them in place of the whole."""

_MODEL_MEMBER = re.compile(MODEL + rb'[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]|\\.)*")')

MOST_KEYS = 10_000
"""How many keys of one name, at any depth, a body may have that is to be changed: each costs a microsecond or two."""

_EMPTY_OBJECT = re.compile(rb"[ \t\r\n]*\{[ \t\r\n]*\}")


NOT_THERE = msgspec.Raw()


class Members(msgspec.Struct):
    """Members that are found, and decoded by whoever wants to know: those that may say how long an answer may be, in
    all formats, and two that change how it comes. As they are written; empty if they are not there."""

    max_tokens: msgspec.Raw = NOT_THERE
    max_completion_tokens: msgspec.Raw = NOT_THERE
    max_output_tokens: msgspec.Raw = NOT_THERE
    n: msgspec.Raw = NOT_THERE
    generationConfig: msgspec.Raw = NOT_THERE
    generation_config: msgspec.Raw = NOT_THERE
    inferenceConfig: msgspec.Raw = NOT_THERE
    background: msgspec.Raw = NOT_THERE
    stream_options: msgspec.Raw = NOT_THERE


class Routing(Members):
    """The members that decide where a call goes and how its answer comes back, and the others that are looked at."""

    model: Annotated[str, msgspec.Meta(max_length=MAX_MODEL)] | None = None
    stream: bool | None = None
    models: Any = None


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What was read of a body. It says nothing of any other, however little was changed, so whoever uses it compares
    `body` first (with `is`)."""

    body: bytes
    members: Routing
    model_at: int = -1
    """Where the key `model` of the outermost object begins; -1 if that has to be looked for."""


class _Capital:
    """Stands for the value of a member that is called `Model`, `MODEL` or the like."""


_SPELLINGS = {"".join(letters) for letters in product(*zip("model", "MODEL", strict=True))} - {"model"}

_Read = msgspec.defstruct("_Read", [(name, _Capital, _Capital()) for name in sorted(_SPELLINGS)], bases=(Routing,))
"""What is decoded: the hook hears of each of these that stands in the outermost object, at no cost for all others."""


def _refuse_capital(kind: type, value: Any) -> Any:
    raise InvalidBody('The JSON body names "model" with a capital letter. Names are in small letters.', param="model")


class _Noticed:
    """Stands for a `model` whose value does not matter."""


class _Mention(msgspec.Struct):
    model: _Noticed = _Noticed()


class _OptionsMention(msgspec.Struct):
    stream_options: _Noticed = _Noticed()


class _UsageMention(msgspec.Struct):
    include_usage: _Noticed = _Noticed()


class _Written(msgspec.Struct):
    model: msgspec.Raw = NOT_THERE


class _Options(msgspec.Struct):
    include_usage: msgspec.Raw = NOT_THERE


_routing: msgspec.json.Decoder[Routing] = msgspec.json.Decoder(_Read, dec_hook=_refuse_capital)
_found = msgspec.json.Decoder(Members)
_written = msgspec.json.Decoder(_Written)
_options = msgspec.json.Decoder(_Options)
_numbered = {
    name: msgspec.json.Decoder(msgspec.defstruct("_Numbered", [(name, int, 0)]))
    for name in ("model", "stream_options", "include_usage")
}
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read(body: bytes) -> Reading:
    """Read a JSON object. Raises InvalidBody for anything else, naming the member if one is bad."""
    try:
        return _read(body)
    except msgspec.ValidationError as error:
        raise InvalidBody(f"The JSON body is not what it must be: {error}", param=_member(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidBody(f"The body is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidBody("The JSON body is nested too deeply.") from None


def _read(body: bytes) -> Reading:
    routing = _routing.decode(body)
    if not body.isascii():
        _check_utf8(body)
    place = _only_place(body)
    if place is None or body.find(ESCAPED_LETTER_OF_MODEL) >= 0:
        _check_unambiguous(body)
        return Reading(body, routing)
    # A member of the outermost object was read, and there is no other one that it could be.
    return Reading(body, routing, place if routing.model is not None else -1)


def _only_place(body: bytes) -> int | None:
    """Find where `"model"` stands in a body; -1 if nowhere, None if more than once."""
    place = end = -1
    for _ in range(FEW if len(body) > SHORT else 0):
        end = body.find(END_OF_MODEL, end + 1)
        if end < 0:
            return place
        if body.startswith(MODEL, end - 2):
            if place >= 0:
                return None
            place = end - 2
    return body.find(MODEL) if body.count(MODEL) < 2 else None


def members_of(body: bytes, reading: Reading | None = None) -> Members | None:
    """Find the members of a body that are looked at: in what was read, if that was of this one. None for what is no
    JSON object."""
    if reading is not None and reading.body is body:
        return reading.members
    try:
        return _found.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def replace_model(body: bytes, model: str, reading: Reading | None = None) -> bytes:
    """Copy a JSON object with another `model`; every other byte stays as it is. A missing `model` is put in front.

    `body` is one that `read` has accepted. It is never changed. Raises InvalidBody if it has an absurd number of
    members of that name.
    """
    written = msgspec.json.encode(model)
    if reading is not None and reading.body is body and reading.model_at >= 0:
        found = _MODEL_MEMBER.match(body, reading.model_at)
        if found is not None:
            view = memoryview(body)
            return b"".join((view[: found.start(1)], written, view[found.end(1) :]))
    value = bytes(_written.decode(body).model)
    if not value:
        return _insert(body, "model", written)
    return _replace(body, "model", _MODEL_KEY, value, written)


def without(body: bytes, names: Collection[str]) -> bytes:
    """Copy a JSON object without some of its members. The values of the others stay as they are, byte for byte; of a
    member that is there more than once the last one stays, which is the one that was read."""
    members = _members.decode(body)
    return msgspec.json.encode({name: value for name, value in members.items() if name not in names})


def ask_usage(body: bytes, reading: Reading | None = None) -> bytes | None:
    """Copy the body of a streamed chat completion with `stream_options.include_usage` true. None if it is so already.

    None also for a body that nobody should touch: one whose options are not what the provider takes, or that has them
    twice, or has an absurd number of members of that name.
    """
    members = members_of(body, reading)
    assert members is not None  # It was read before.
    options = bytes(members.stream_options)
    if not options:
        return _insert(body, "stream_options", b'{"include_usage":true}')
    if _mentions(body, _OPTIONS_KEY, _OptionsMention) > 1:
        return None
    try:
        written = _asking(options)
        return _replace(body, "stream_options", _OPTIONS_KEY, options, written) if written is not None else None
    except InvalidBody:
        return None


def moved(reading: Reading | None, body: bytes, longer: bytes) -> Reading | None:
    """Say of a body with another member in front (`ask_usage`) what was read of the one without. None if that is not
    what was done to it."""
    if reading is None or reading.body is not body or reading.members.stream_options is not NOT_THERE:
        return None
    place = reading.model_at
    return Reading(longer, reading.members, place + len(longer) - len(body) if place >= 0 else place)


def _asking(options: bytes) -> bytes | None:
    """Write the options with the usage asked for. None if it is, or if they are no options."""
    if options == b"null":
        return b'{"include_usage":true}'
    if not options.startswith(b"{") or _mentions(options, _USAGE_KEY, _UsageMention) > 1:
        return None
    value = bytes(_options.decode(options).include_usage)
    if not value:
        return _insert(options, "include_usage", b"true")
    return _replace(options, "include_usage", _USAGE_KEY, value, b"true") if value in (b"false", b"null") else None


def _insert(body: bytes, name: str, written: bytes) -> bytes:
    """Put a member in front of the others."""
    start = body.index(b"{") + 1
    comma = b"" if _EMPTY_OBJECT.match(body) else b","
    return b"".join((memoryview(body)[:start], b'"%s":' % name.encode(), written, comma, memoryview(body)[start:]))


def _replace(body: bytes, name: str, key: re.Pattern[bytes], value: bytes, written: bytes) -> bytes:
    start = _place(body, name, key, value)
    return b"".join((memoryview(body)[:start], written, memoryview(body)[start + len(value) :]))


def _place(body: bytes, name: str, key: re.Pattern[bytes], value: bytes) -> int:
    """Find where a member of the outermost object has its value.

    Inner objects may have a member of that name with an equal value. Which one is the outermost is found out by writing
    a number in place of each, and reading which number it has: one more pass, however many there are.
    """
    keys = list(islice(key.finditer(body), MOST_KEYS + 1))
    if len(keys) > MOST_KEYS:
        raise InvalidBody(f'The JSON body has more than {MOST_KEYS} keys "{name}".', param=name)
    starts = [found.end() for found in keys if body.startswith(value, found.end())]
    if len(starts) == 1:
        return starts[0]
    pieces, place = [], 0
    for number, start in enumerate(starts):
        pieces += [body[place:start], b"%d" % number]
        place = start + len(value)
    number = getattr(_numbered[name].decode(b"".join((*pieces, body[place:]))), name)
    assert isinstance(number, int)
    return starts[number]


def _member(error: msgspec.ValidationError) -> str | None:
    """Name the member that msgspec complains about: it ends its message with "- at `$.stream`"."""
    _, found, path = str(error).partition("`$.")
    return path.rstrip("`") if found else None


def _check_utf8(body: bytes) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(body)
    try:
        for start in range(0, len(body), UTF8_PIECE):
            decoder.decode(view[start : start + UTF8_PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise InvalidBody("The body is not valid UTF-8.") from None


def _check_unambiguous(body: bytes) -> None:
    """Refuse a `model` that stands twice in the outermost object."""
    if _mentions(body, _MODEL_KEY, _Mention) > 1:
        raise InvalidBody('The JSON body names "model" more than once.', param="model")


def _mentions(body: bytes, key: re.Pattern[bytes], kind: type[msgspec.Struct]) -> int:
    """Count how often a member stands in the outermost object: msgspec takes the last, but shows each to the hook."""
    if sum(1 for _ in islice(key.finditer(body), 2)) < 2:
        return 1
    mentions = 0

    def notice(kind: type, value: Any) -> _Noticed:
        nonlocal mentions
        mentions += 1
        return _Noticed()

    msgspec.json.decode(body, type=kind, dec_hook=notice)
    return mentions
