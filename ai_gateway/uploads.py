"""What routing must know of an upload: the field `model` of a form (`multipart/form-data`, RFC 7578).

A form is held up to the end of that field, which SDKs write before the file (Python) or behind it (JavaScript), and no
longer than a JSON body may be; the rest flows. A form that is longer before it names a model is one without, as is one
that does not keep to the format. The model may get another name on the way; every other byte stays as it is.

The model that is authorised must be the one that is sent. Servers differ in which of two fields they take and in how
they read odd names, so a form that names the model twice, or a field in a way that can be read differently, is refused,
in the middle of the upload if that is where it turns out.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import NamedTuple

from ai_gateway.errors import BadRequest

FORM = b"multipart/form-data"

MAX_PART_HEAD = 16 * 1024
"""Bytes of the head of one part."""

MAX_MODEL = 1024
"""Bytes of a model's name."""

_BOUNDARY = re.compile(rb';[ \t]*boundary[ \t]*=[ \t]*(?:"([^"\\]{1,70})"|([^\s";,]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb';[ \t]*name[ \t]*=[ \t]*(?:"([^"]*)"|([^\s";]*))', re.IGNORECASE)
_ODD_NAME = re.compile(rb';[ \t]*name(?:\*|[ \t]*=[ \t]*"[^"]*\\)', re.IGNORECASE)
"""A name that is encoded (RFC 2231), or has a backslash in it."""


class Place(NamedTuple):
    """Where a field's value is in a form, and what it says."""

    start: int
    end: int
    value: bytes


class Scanner:
    """Goes through a form piece by piece and finds its fields `model`. It holds no more than it needs to go on."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._held = bytearray(b"\r\n")  # The first delimiter may begin with the form.
        self._at = -2
        """Where in the form that begins which is held."""
        self._is_in_head = False
        self._is_in_model = False
        self.is_over = False
        """Whether the last delimiter has come, or what came is no form."""

    def feed(self, piece: bytes) -> list[Place]:
        """Take a piece. Gives the fields that end in it. Raises BadRequest for what can be read in two ways."""
        found: list[Place] = []
        if not self.is_over:
            self._held += piece
            while not self.is_over and (self._head() if self._is_in_head else self._body(found)):
                pass
        return found

    def _body(self, found: list[Place]) -> bool:
        """Look for the delimiter behind a part. Whether there is more to be done with what is held."""
        end = self._held.find(self._delimiter)
        if self._is_in_model and (len(self._held) if end < 0 else end) > MAX_MODEL + len(self._delimiter):
            raise BadRequest("The model's name is too long.", param="model")
        if end < 0:
            if not self._is_in_model:
                self._drop(max(0, len(self._held) - len(self._delimiter) + 1))
            return False
        if self._is_in_model:
            found.append(Place(self._at, self._at + end, bytes(self._held[:end])))
        self._drop(end + len(self._delimiter))
        self._is_in_model, self._is_in_head = False, True
        return True

    def _head(self) -> bool:
        """Read the head of a part. Whether there is more to be done with what is held."""
        if self._held.startswith(b"--"):
            self.is_over = True
            return False
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            self.is_over = len(self._held) > MAX_PART_HEAD
            return False
        head = bytes(self._held[:end])
        if _ODD_NAME.search(head) is not None:
            raise BadRequest("The form names a field in an unusual way. Write the name plainly, in quotes.")
        name = _NAME.search(head)
        self._is_in_model = name is not None and (name[1] or name[2] or b"").lower() == b"model"
        self._is_in_head = False
        self._drop(end + 4)
        return True

    def _drop(self, count: int) -> None:
        del self._held[:count]
        self._at += count


class Form(AsyncIterator[bytes]):
    """An upload whose model was looked for: what of it is held, and what is still to come. To be read once."""

    def __init__(self, held: bytes, model: Place | None, rest: AsyncIterator[bytes]) -> None:
        self._held = held
        self._model = model
        self._rest = rest
        self._is_begun = False

    async def __anext__(self) -> bytes:
        if self._is_begun:
            return await anext(self._rest)
        self._is_begun = True
        return self._held

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
        (start, end, _), written = self._model, model.encode()
        held = b"".join((memoryview(self._held)[:start], written, memoryview(self._held)[end:]))
        return Form(held, Place(start, start + len(written), written), self._rest)

    def longer_than(self, other: Form) -> int:
        """By how many bytes this one is longer than another that it was made of."""
        return len(self._held) - len(other._held)


async def read_form(content_type: bytes, pieces: AsyncIterator[bytes], most: int) -> Form | AsyncIterator[bytes]:
    """Read a form up to the end of its model, or `most` bytes of it. Gives `pieces` for what is no form. Raises
    BadRequest, and what `pieces` raise."""
    boundary = boundary_of(content_type)
    if boundary is None:
        return pieces
    scanner, held = Scanner(boundary), bytearray()
    async for piece in pieces:
        held += piece
        places = scanner.feed(piece)
        if places:
            return Form(bytes(held), _only(places), _watched(scanner, pieces))
        if scanner.is_over or len(held) > most:
            break
    return Form(bytes(held), None, _watched(scanner, pieces))


def boundary_of(content_type: bytes) -> bytes | None:
    """Tell what stands between the parts of a form; None for another type of content."""
    if not content_type.lower().startswith(FORM):
        return None
    found = _BOUNDARY.search(content_type)
    return (found[1] or found[2]) if found is not None else None


def _only(places: list[Place]) -> Place:
    if len(places) > 1:
        raise BadRequest('The form names "model" more than once.', param="model")
    return places[0]


async def _watched(scanner: Scanner, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass the rest of a form on. Raises BadRequest if it names the model."""
    async for piece in pieces:
        if scanner.feed(piece):
            raise BadRequest('The form names "model" more than once, or behind a very long file.', param="model")
        yield piece
