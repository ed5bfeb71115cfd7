"""Forms: the model is found wherever it stands, and everything else passes as it came."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

import pytest

from ai_gateway.bodies import MAX_MODEL
from ai_gateway.errors import BadRequest, RequestTimeout
from ai_gateway.uploads import MAX_PART_HEAD, Form, boundary_of, read_form
from tests.factories import run

TYPE = b"multipart/form-data; boundary=frontier"
MODEL = b'Content-Disposition: form-data; name="model"\r\n\r\nwhisper-1'
LANGUAGE = b'Content-Disposition: form-data; name="language"\r\n\r\nde'
SOUND = bytes(range(256)) * 40 + b'\r\n--front\r\nname="model"\r\n\r\nnot-this'
FILE = b'Content-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n' + SOUND


def form(*parts: bytes) -> bytes:
    return b"".join(b"--frontier\r\n" + part + b"\r\n" for part in parts) + b"--frontier--\r\n"


class Pieces:
    """A body on its way, and how much of it is still to be read."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.left = list(pieces)

    async def flow(self) -> AsyncIterator[bytes]:
        while self.left:
            yield self.left.pop(0)


class Passed(NamedTuple):
    """What became of a form."""

    model: str | None
    left: int
    """Bytes that were not read yet when the model was known."""
    sent: bytes
    longer: int = 0


def passed(body: bytes, name: str | None = None, *, size: int = 100, most: int = 10**6) -> Passed:
    """Read a form in pieces, and send it, with another name of the model if there is one."""

    async def go_on() -> Passed:
        pieces = Pieces(body[start : start + size] for start in range(0, len(body), size))
        found = await read_form(TYPE, pieces.flow(), most, 10)
        assert isinstance(found, Form)
        model, left = found.model, len(b"".join(pieces.left))
        form = found if name is None else found.renamed(name)
        return Passed(model, left, b"".join([piece async for piece in form]), form.longer_than(found))

    return run(go_on())


ORDERS = pytest.mark.parametrize(
    "body",
    [form(MODEL, LANGUAGE, FILE), form(FILE, LANGUAGE, MODEL), form(FILE, MODEL, FILE), form(FILE, MODEL)[:-2]],
    ids=["first", "last", "between", "without an end of the last line"],
)


@ORDERS
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10**6])
def test_the_model_is_found_however_the_form_is_cut_and_every_byte_passes(body: bytes, size: int) -> None:
    found = passed(body, size=size)
    assert found.model == "whisper-1"
    assert found.sent == body


@ORDERS
def test_it_may_get_another_name(body: bytes) -> None:
    found = passed(body, "a-much-longer-name")
    assert found.longer == len("a-much-longer-name") - len("whisper-1")
    assert found.sent == body.replace(b"\r\n\r\nwhisper-1\r\n", b"\r\n\r\na-much-longer-name\r\n")


def test_no_more_is_read_than_need_be() -> None:
    assert passed(form(MODEL, FILE)).left > len(SOUND) - 200


def test_a_form_without_a_model_has_none() -> None:
    found = passed(form(FILE, LANGUAGE))
    assert (found.model, found.sent) == (None, form(FILE, LANGUAGE))


def test_a_form_is_held_no_longer_than_it_may_be() -> None:
    found = passed(form(FILE, LANGUAGE), most=1000)
    assert found.model is None
    assert found.left > len(SOUND) - 1200
    assert found.sent == form(FILE, LANGUAGE)
    with pytest.raises(BadRequest, match="very long file"):
        passed(form(FILE, MODEL), most=1000)


@pytest.mark.parametrize("order", [(MODEL, MODEL), (MODEL, FILE, MODEL)])
@pytest.mark.parametrize("size", [10, 10**6])
def test_a_model_that_is_named_twice_is_refused(order: tuple[bytes, ...], size: int) -> None:
    with pytest.raises(BadRequest, match="more than once"):
        passed(form(*order), size=size)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Disposition: form-data; name*=UTF-8''model",
        b"Content-Disposition: form-data; name=x; name*0=model",
        b'Content-Disposition: form-data; name="x\\"; name="model"',
        b'Content-Disposition: form-data; foo="a; name=x"; foo=b; name="model"',
        b'Content-Disposition: form-data; name="x"; name="model"',
        b'Content-Disposition: form-data; filename="a\\"; name=x"; name="model"',
        b'Content-Disposition: form-data;\r\n name="model"',
        b'Content-Disposition: form-data; name="model"\r\nContent-Disposition: form-data; name="x"',
        b'Content-Disposition : form-data; name="model"',
        b'Content-Disposition: attachment; name="model"',
        b'Content-Disposition: form-data; name="mo\rdel"',
        b'Content-Disposition: form-data; name="mo\x00del"',
        b"Content-Disposition: form-data; name",
        b"Content-Disposition: form-data",
        b"Content-Type: text/plain; name=model",
        b"",
    ],
)
def test_a_name_that_can_be_read_in_two_ways_is_refused(head: bytes) -> None:
    with pytest.raises(BadRequest, match="unusual head"):
        passed(form(head + b"\r\n\r\nx"))


@pytest.mark.parametrize(
    "head",
    [
        b"content-disposition: form-data; name=model",
        b'CONTENT-DISPOSITION: Form-Data; Name="Model"; filename="x"',
        b'Content-Type: text/plain\r\nContent-Disposition: form-data ; name="model"',
        b"content-type: text/plain; charset=UTF-8\r\ncontent-disposition:form-data;name=model;",
        b'Content-Transfer-Encoding: binary\r\nContent-Disposition: form-data; name="model"\r\nContent-Length: 1',
        b'Content-Type: text/plain; name=x\r\nContent-Disposition: form-data; foo="a; name=x"; name="model"',
        b'Content-Disposition: form-data; name="model"; filename="C:\\a.mp3"; filename*=UTF-8\'\'a.mp3',
    ],
)
def test_a_name_may_be_written_in_all_usual_ways(head: bytes) -> None:
    assert passed(form(head + b"\r\n\r\nm")).model == "m"


def test_an_empty_name_is_none_and_a_file_may_be_empty() -> None:
    empty = b'Content-Disposition: form-data; name="model"\r\n\r\n'
    assert passed(form(empty)).model is None
    assert passed(form(b'Content-Disposition: form-data; name="file"\r\n\r\n', MODEL)).model == "whisper-1"


def test_a_name_is_short_and_text() -> None:
    for value in (b"x" * (MAX_MODEL + 100), b"x" * 100_000):
        with pytest.raises(BadRequest, match="too long"):
            passed(form(b'Content-Disposition: form-data; name="model"\r\n\r\n' + value))
    with pytest.raises(BadRequest, match="UTF-8"):
        passed(form(b'Content-Disposition: form-data; name="model"\r\n\r\n\xff'))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        b"--frontier",
        b"--frontier\r\n" + b"x" * (2 * MAX_PART_HEAD),
        form(MODEL)[:-20],
        b"preamble\r\n" + form(MODEL),
        form(MODEL) + b"epilogue",
        form(MODEL) + form(MODEL),
        form(FILE + b"\r\n--frontier--junk", MODEL),
        form(FILE + b"\r\n--frontierjunk; name=x", MODEL),
        form(MODEL).replace(b"frontier\r\n", b"frontier \r\n"),
        form(MODEL).replace(b"\r\n", b"\n"),
        form(b'Content-Disposition: form-data; name="file"\r\n\r\n--frontier', MODEL),
        form(b'Content-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name="model"\r\n\r\neA=='),
        form(b'Content-Type: text/plain; charset=utf-16\r\nContent-Disposition: form-data; name="model"\r\n\r\nx'),
        form(b'Content-Type: application/json\r\nContent-Disposition: form-data; name="model"\r\n\r\nx'),
    ],
)
@pytest.mark.parametrize("size", [1, 10**6])
def test_what_does_not_keep_to_the_format_is_refused(body: bytes, size: int) -> None:
    with pytest.raises(BadRequest):
        passed(body, size=size)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=frontier", b"frontier"),
        (b'Multipart/Form-Data; charset=utf-8; Boundary="front ier"', b"front ier"),
        (b"multipart/form-data;boundary=----WebKit7MA4YWxk; x=y", b"----WebKit7MA4YWxk"),
        (b'multipart/form-data; boundary="=_Part:1/2(a)?\'+"', b"=_Part:1/2(a)?'+"),
        (b"multipart/mixed; boundary=x", None),
        (b"application/octet-stream", None),
    ],
)
def test_boundary(content_type: bytes, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=Z; boundary=B",
        b'multipart/form-data; x="; boundary=Z"; boundary=B; boundary=Z',
        b"multipart/form-data; boundary=B,C",
        b"multipart/form-data, multipart/form-data; boundary=B",
        b"multipart/form-data; boundary*=utf-8''B; boundary=Z",
        b'multipart/form-data; boundary="B\\"; x="',
        b'multipart/form-data; boundary="B "',
        b"multipart/form-data; boundary=" + b"B" * 71,
        b"multipart/form-data-x; boundary=B",
    ],
)
def test_boundary__one_that_can_be_read_in_two_ways_is_refused(content_type: bytes) -> None:
    with pytest.raises(BadRequest):
        boundary_of(content_type)


def test_boundary__what_is_quoted_is_no_parameter() -> None:
    assert boundary_of(b'multipart/form-data; x="; boundary=Z"; boundary=B') == b"B"


def test_what_is_no_form_is_not_looked_into() -> None:
    flow = Pieces([b"x"]).flow()
    assert run(read_form(b"audio/mpeg", flow, 10, 10)) is flow


def test_a_form_that_is_trickled_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(0.0, 1.0)
    monkeypatch.setattr("ai_gateway.uploads.monotonic", lambda: next(now))
    monkeypatch.setattr("ai_gateway.uploads.LEAST_RATE", 10)
    assert passed(form(FILE, MODEL), size=100).model == "whisper-1"
    with pytest.raises(RequestTimeout):
        passed(form(FILE, MODEL), size=5)
    assert passed(form(MODEL, FILE), size=100).model == "whisper-1"
