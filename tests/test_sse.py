"""Where events end, and what the first one says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_gateway.sse import first_event, whole_events


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"])
def test_an_event_ends_with_an_empty_line_however_lines_end(blank: bytes) -> None:
    whole = b"data: one" + blank
    assert whole_events(whole) == len(whole)
    assert whole_events(whole + b"data: tw") == len(whole)


@pytest.mark.parametrize("part", [b"", b"data: one", b"data: one\n", b"data: one\r\n", "data: a\u2028\u2028b".encode()])
def test_a_part_of_an_event_is_not_one(part: bytes) -> None:
    assert whole_events(part) == 0


def test_only_what_comes_after_the_start_is_looked_at() -> None:
    assert whole_events(b"data: one\n\ndata: two", 9) == 11
    assert whole_events(b"data: one\n\ndata: two", 10) == 0


@pytest.mark.parametrize(
    ("stream", "event"),
    [
        (b"data: one\n\n", (None, b"one")),
        (b"data:one\n\n", (None, b"one")),
        (b"event: error\ndata: {}\n\n", ("error", b"{}")),
        (b": OPENROUTER PROCESSING\n\ndata: one\n\n", (None, b"one")),
        (b"data: a\ndata: b\n\n", (None, b"a\nb")),
        (b"event: ping\r\ndata: {}\r\n\r\n", ("ping", b"{}")),
        (b"\n\n\ndata: one\n\n\n\n", (None, b"one")),
        (b"data: a\rdata: b\n\n", (None, b"a\nb")),
        (b": comment\n\n", None),
        (b"id: 7\n\n", None),
        (b"\xef\xbb\xbfdata: one\n\n", (None, b"one")),
        (b"\xef\xbb\xbfevent: error\ndata: {}\n\n", ("error", b"{}")),
        ("data: a\u2028b\n\n".encode(), (None, "a\u2028b".encode())),
        (b"data: a\x0b\x0c\x1c\x1d\x1e\x85b\n\n", (None, b"a\x0b\x0c\x1c\x1d\x1e\x85b")),
        (b"\n\n\ndata: one\n\n\n", (None, b"one")),
    ],
)
def test_the_first_event_with_data(stream: bytes, event: tuple[str | None, bytes] | None) -> None:
    assert first_event(stream) == event


lines = st.sampled_from([b"data: x", b": c", b"event: e", b"data: \xc3\xa9", b"id: 1"])
events = st.lists(st.lists(lines, min_size=1, max_size=3), min_size=1, max_size=6)


@given(events, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.data())
def test_cutting_at_the_reported_place_never_splits_an_event(
    blocks: list[list[bytes]], end: bytes, data: st.DataObject
) -> None:
    written = [end.join(block) + end + end for block in blocks]
    stream = b"".join(written)
    seen = stream[: data.draw(st.integers(0, len(stream)))]
    whole = whole_events(seen)
    borders = [sum(map(len, written[:count])) for count in range(len(written) + 1)]
    assert whole in borders
    assert whole == max(border for border in borders if border <= len(seen))
