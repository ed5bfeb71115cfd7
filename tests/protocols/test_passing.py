"""What is read of an answer that passes: what is wanted, however odd the rest is, and nothing twice without need."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ai_gateway.protocols import passing
from ai_gateway.protocols.passing import decoded


class Wanted(msgspec.Struct):
    count: int = 0
    text: str = ""


WANTED = msgspec.json.Decoder(Wanted)


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b'{"count": 7, "text": "x", "other": [1, {"a": null}]}', Wanted(count=7, text="x")),
        (b'{"text": "\\ud83d", "count": 7}', Wanted(count=7, text="\ud83d")),
        (b'{"text": "\xed\xa0\xbd"}', Wanted(text="\ud83d")),
        (b'{"text": 7}', None),
        (b'{"count": 7,}', None),
        (b'{"text": "\xff"}', None),
        (b'{"text": "\\ud83d"', None),
        (b"[" * 100_000, None),
        (b"", None),
    ],
)
def test_what_is_wanted_is_decoded_if_it_can_be(data: bytes, read: Wanted | None) -> None:
    assert decoded(WANTED, data) == read


def test_what_is_no_json_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider may send nothing else, and many times: the second parser takes several times as long."""
    tried: list[bytes] = []

    def loads(data: bytes) -> Any:
        tried.append(data)
        raise ValueError

    monkeypatch.setattr(passing, "loads", loads)
    for data in (b"", b"x", b"{", b'{"count": 7', b'{"text": "\\ud83d"}'):
        assert decoded(WANTED, data) is None
    assert tried == [b'{"text": "\\ud83d"}']
