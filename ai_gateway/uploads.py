"""What routing must know of an upload: the field `model` of a form (`multipart/form-data`, RFC 7578).

A form is held up to the end of that field, which SDKs write before the file (Python) or behind it (JavaScript), and no
longer than a JSON body may be; the rest flows. A form that is longer before it names a model is one without. The model
may get another name on the way; every other byte stays as it is.

The model that is authorised must be the one that is sent. Servers differ widely in what they make of a form that does
not keep to the format, so nothing is searched for here, and everything is taken apart by a grammar that leaves no
choice: a form that names the model twice, or has anything in it that could be read in another way, is refused, in the
middle of the upload if that is where it turns out. What clients and SDKs send keeps to it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from ai_gateway.bodies import MAX_MODEL
from ai_gateway.errors import BadRequest, RequestTimeout

FORM = b"multipart/form-data"

MAX_PART_HEAD = 16 * 1024
"""Bytes of the head of one part."""

PIECE = 64 * 1024
"""Bytes of what is held that go out at a time."""

LEAST_RATE = 64 * 1024
"""Bytes of a form that have to come in a second, beyond the time that a body may take in any case."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = rb'[ \t]*;[ \t]*(%s)=(%s|"[^"\x00-\x1f\x7f]*")' % (_TOKEN, _TOKEN)
_PARAMETERS = re.compile(_PARAMETER)
_VALUE = re.compile(rb"(%s(?:/%s)?)((?:%s)*)[ \t]*;?[ \t]*" % (_TOKEN, _TOKEN, _PARAMETER))
"""The value of a header: what it is, and parameters. A quoted one has no quotation mark in it, escaped or not."""

_LINE = re.compile(rb"(%s):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)" % _TOKEN)
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")

AS_IT_IS = (b"7bit", b"8bit", b"binary")
"""Encodings of a part that change nothing."""

TEXTS = (b"", b"utf-8", b"us-ascii")
"""Character sets in which a model's name is what it looks like."""

DELIMITER_END = 2
"""Bytes behind a delimiter that say what follows: the end of the line, or two dashes where the form ends."""


class Place(NamedTuple):
    """Where a field's value is in a form, and what it says."""

    start: int
    end: int
    value: bytes


class Value(NamedTuple):
    """The value of a header, taken apart."""

    what: bytes
    parameters: Mapping[bytes, bytes]


class Scanner:
    """Goes through a form piece by piece and finds its fields `model`. It holds no more than it needs to go on."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._held = bytearray(b"\r\n")  # The first delimiter begins with the form.
        self._at = -2
        """Where in the form that begins which is held."""
        self._step = self._begin
        self._is_in_model = False
        self._found: list[Place] = []

    @property
    def is_over(self) -> bool:
        """Whether the last delimiter has come."""
        return self._step == self._end

    def feed(self, piece: bytes) -> list[Place]:
        """Take a piece. Gives the fields that end in it. Raises BadRequest for what is no form, or could be read in
        another way."""
        self._held += piece
        while self._step():
            pass
        found, self._found = self._found, []
        return found

    def finish(self) -> None:
        """Note that nothing more comes. Raises BadRequest for a form that has no end."""
        if not self.is_over:
            raise BadRequest("The form has no end: its last delimiter is missing.")

    # The steps: each tells whether more can be done with what is held.

    def _begin(self) -> bool:
        """Expect a delimiter where the form begins."""
        if len(self._held) < len(self._delimiter):
            return False
        if not self._held.startswith(self._delimiter):
            raise BadRequest("The form does not begin with the boundary that its content type names.")
        self._drop(len(self._delimiter))
        self._step = self._behind_delimiter
        return True

    def _behind_delimiter(self) -> bool:
        """Expect a part, or the end."""
        if len(self._held) < DELIMITER_END:
            return False
        end = bytes(self._held[:DELIMITER_END])
        if end not in (b"\r\n", b"--"):
            raise BadRequest("The form has its boundary in the middle of a line.")
        self._drop(DELIMITER_END)
        self._step = self._head if end == b"\r\n" else self._end
        return True

    def _head(self) -> bool:
        """Read the head of a part."""
        end = self._held.find(b"\r\n\r\n")
        if end > MAX_PART_HEAD or (end < 0 and len(self._held) > MAX_PART_HEAD):
            raise BadRequest(f"A part of the form has a head of more than {MAX_PART_HEAD} bytes.")
        if end < 0:
            return False
        self._is_in_model = is_model(bytes(self._held[:end]))
        self._drop(end + 4)
        self._step = self._begin_content
        return True

    def _begin_content(self) -> bool:
        """Expect no boundary here: the line that it begins with has been the end of the head, some would say."""
        boundary = self._delimiter[2:]
        if self._held.startswith(boundary):
            raise BadRequest("The form has its boundary at the beginning of a part.")
        if boundary.startswith(self._held):
            return False
        self._step = self._content
        return True

    def _content(self) -> bool:
        """Look for the delimiter behind a part."""
        end = self._held.find(self._delimiter)
        if self._is_in_model and (len(self._held) if end < 0 else end) > MAX_MODEL + len(self._delimiter):
            raise BadRequest("The model's name is too long.", param="model")
        if end < 0:
            if not self._is_in_model:
                self._drop(max(0, len(self._held) - len(self._delimiter) + 1))
            return False
        if self._is_in_model:
            self._found.append(Place(self._at, self._at + end, bytes(self._held[:end])))
        self._drop(end + len(self._delimiter))
        self._step = self._behind_delimiter
        return True

    def _end(self) -> bool:
        """Expect nothing more but the end of the line."""
        if not b"\r\n".startswith(self._held):
            raise BadRequest("The form goes on behind its end.")
        return False

    def _drop(self, count: int) -> None:
        del self._held[:count]
        self._at += count


def is_model(head: bytes) -> bool:
    """Whether a part is the field `model`, by its head. Raises BadRequest for a head that could be read in another
    way."""
    lines = [_LINE.fullmatch(line) for line in head.split(b"\r\n")]
    headers = [(line[1].lower(), line[2].strip(b" \t")) for line in lines if line is not None]
    names = [name for name, _ in headers]
    if len(headers) != len(lines) or len(set(names)) != len(names) or b'\\"' in head:
        raise _odd()
    fields = dict(headers)
    disposition = value_of(fields.get(b"content-disposition", b""))
    if disposition is None or disposition.what.lower() != b"form-data" or b"name" not in disposition.parameters:
        raise _odd()
    if any(name != b"name" and name.startswith(b"name*") for name in disposition.parameters):
        raise _odd()
    if fields.get(b"content-transfer-encoding", b"binary").lower() not in AS_IT_IS:
        raise BadRequest("A part of the form is encoded. Send it as it is.")
    if disposition.parameters[b"name"].strip().lower() != b"model":
        return False
    kind = value_of(fields.get(b"content-type", b"text/plain"))
    if kind is None or kind.what.lower() != b"text/plain" or kind.parameters.get(b"charset", b"").lower() not in TEXTS:
        raise BadRequest("The model's name must be plain text in UTF-8.", param="model")
    return True


def value_of(header: bytes) -> Value | None:
    """Take the value of a header apart. None for one that could be read in another way, because it does not keep to the
    grammar or names a parameter twice."""
    found = _VALUE.fullmatch(header)
    if found is None:
        return None
    pairs = [(name.lower(), value.strip(b'"')) for name, value in _PARAMETERS.findall(found[2])]
    parameters = dict(pairs)
    return Value(found[1], parameters) if len(parameters) == len(pairs) else None


def _odd() -> BadRequest:
    return BadRequest(
        'A part of the form has an unusual head. Write one plain line Content-Disposition: form-data; name="...".'
    )


class Form(AsyncIterator[bytes]):
    """An upload whose model was looked for: what of it is held, and what is still to come. To be read once.

    What is held is shared by a form and one that has another name of the model."""

    def __init__(self, held: Sequence[memoryview], model: Place | None, rest: AsyncIterator[bytes]) -> None:
        self._held = held
        self._model = model
        self._rest = rest
        self._flow = self._pieces()

    async def __anext__(self) -> bytes:
        return await anext(self._flow)

    async def _pieces(self) -> AsyncIterator[bytes]:
        for part in self._held:
            for start in range(0, len(part), PIECE):
                yield bytes(part[start : start + PIECE])
        async for piece in self._rest:
            yield piece

    @property
    def model(self) -> str | None:
        """What it names. None: nothing. Raises BadRequest for a name that is no text."""
        if self._model is None:
            return None
        try:
            return self._model.value.decode() or None
        except UnicodeDecodeError:
            raise BadRequest("The model's name is not valid UTF-8.", param="model") from None

    def renamed(self, model: str) -> Form:
        """Give the same form with another name for the model, in place of the one that it has."""
        assert self._model is not None
        (start, end, _), written, (held,) = self._model, model.encode(), self._held
        return Form((held[:start], memoryview(written), held[end:]), None, self._rest)

    def longer_than(self, other: Form) -> int:
        """By how many bytes this one is longer than another that it was made of."""
        return sum(map(len, self._held)) - sum(map(len, other._held))


async def read_form(
    content_type: bytes, pieces: AsyncIterator[bytes], most: int, seconds: float
) -> Form | AsyncIterator[bytes]:
    """Read a form up to the end of its model, or `most` bytes of it, within so many `seconds` and what LEAST_RATE adds
    to them. Gives `pieces` for what is no form. Raises BadRequest, RequestTimeout, and what `pieces` raise."""
    boundary = boundary_of(content_type)
    if boundary is None:
        return pieces
    scanner, held, began = Scanner(boundary), bytearray(), monotonic()
    rest = _watched(scanner, pieces)
    async for piece in pieces:
        held += piece
        places = scanner.feed(piece)
        if places:
            return Form((memoryview(bytes(held)),), _only(places), rest)
        if len(held) > most:
            return Form((memoryview(bytes(held)),), None, rest)
        if monotonic() - began > seconds + len(held) / LEAST_RATE:
            raise RequestTimeout("The form arrives too slowly. Put its field model in front of the file.")
    scanner.finish()
    return Form((memoryview(bytes(held)),), None, rest)


def boundary_of(content_type: bytes) -> bytes | None:
    """Tell what stands between the parts of a form; None for another type of content. Raises BadRequest for a boundary
    that could be read in another way."""
    if not content_type.strip().lower().startswith(FORM):
        return None
    found = value_of(content_type.strip())
    boundary = found.parameters.get(b"boundary", b"") if found is not None and found.what.lower() == FORM else b""
    is_plain = found is not None and not any(name.startswith(b"boundary*") for name in found.parameters)
    if not is_plain or _BOUNDARY.fullmatch(boundary) is None:
        raise BadRequest("The form's content type must name one plain boundary of at most 70 characters.")
    return boundary


def _only(places: list[Place]) -> Place:
    if len(places) > 1:
        raise _named_twice()
    return places[0]


def _named_twice() -> BadRequest:
    return BadRequest('The form names "model" more than once, or behind a very long file.', param="model")


async def _watched(scanner: Scanner, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass the rest of a form on. Raises BadRequest if it names the model, or turns out to be no form."""
    async for piece in pieces:
        if scanner.feed(piece):
            raise _named_twice()
        yield piece
    scanner.finish()
