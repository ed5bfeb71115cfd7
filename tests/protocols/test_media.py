"""Data URLs, and what they hold."""

from __future__ import annotations

import base64

import pytest

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.media import is_data_url, read_data_url, sniffed, write_data_url


@pytest.mark.parametrize(
    ("url", "media_type", "data"),
    [
        ("data:image/png;base64,QUJD", "image/png", "QUJD"),
        ("DATA:Image/PNG;charset=utf-8;BASE64,QUJD", "image/png", "QUJD"),
        ("data:;base64,QUJD", "", "QUJD"),
        ("data:image/png;base64,QU JD\n", "image/png", "QUJD"),
        ("data:image/png;base64,QU+/JD==", "image/png", "QU+/JD=="),
    ],
)
def test_a_data_url_is_split(url: str, media_type: str, data: str) -> None:
    assert is_data_url(url)
    assert read_data_url(url, "at") == (media_type, data)


@pytest.mark.parametrize("url", ["data:image/png,plain", "data:image/png;base64", "https://example.org/a.png", ""])
def test_what_is_none_is_refused_by_its_place(url: str) -> None:
    with pytest.raises(BadRequest) as raised:
        read_data_url(url, "messages[0].content[1].image_url.url")
    assert raised.value.param == "messages[0].content[1].image_url.url"


def test_a_data_url_is_written() -> None:
    assert read_data_url(write_data_url("image/gif", "QUJD"), "") == ("image/gif", "QUJD")


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"\xff\xd8\xff\xe0 and so on", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"GIF89a........", "image/gif"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
        (b"%PDF-1.7 .....", "application/pdf"),
        (b"hello", None),
        (b"", None),
    ],
)
def test_content_is_known_by_how_it_begins(content: bytes, media_type: str | None) -> None:
    assert sniffed(base64.b64encode(content * 20).decode() if content else "") == media_type


def test_what_is_no_base64_is_not_known() -> None:
    assert sniffed("!!!!") is None
