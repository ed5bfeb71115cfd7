"""Charts: as high as they should be, well-formed whatever they are called, and links where there is something."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from ai_gateway.charts import HEIGHT, Column, bar, columns, nice, sparkline


@pytest.mark.parametrize(("value", "end"), [(0, 4), (3, 4), (7, 8), (9, 10), (41, 50), (1_234_567, 2_000_000)])
def test_an_axis_ends_at_a_round_number(value: int, end: int) -> None:
    assert nice(value) == end


def test_parts_are_stacked_to_their_height() -> None:
    picture = ElementTree.fromstring(columns([Column([3, 0, 5], "mon", "/mon"), Column([0, 0, 0], "tue", "/tue")], 10))
    link, nothing = picture.find("a"), picture.find("g")
    assert link is not None
    assert nothing is not None
    parts = {each.get("class"): each for each in link.iter("rect")}
    assert link.get("href") == "/mon"
    assert set(parts) == {"gateway-touch", "gateway-s0", "gateway-s2"}
    assert float(parts["gateway-s0"].get("height", 0)) == HEIGHT * 0.3
    assert float(parts["gateway-s2"].get("y", 0)) == HEIGHT * 0.2
    assert nothing.get("aria-label") == "tue"


def test_names_cannot_break_out() -> None:
    picture = ElementTree.fromstring(columns([Column([1], '"><script>', '/?a=1&b="2')], 4))
    assert [each.text for each in picture.iter("title")] == ['"><script>']
    assert not list(picture.iter("script"))


def test_a_line_is_interrupted_where_there_is_nothing() -> None:
    picture = ElementTree.fromstring(sparkline([1, 2, None, 4]))
    lines = [each.get("points") for each in picture.iter("polyline")]
    assert lines == ["0,20 33.33,14", "100,2 100,2"]
    assert list(ElementTree.fromstring(sparkline([])).iter("polyline")) == []


def test_a_bar_is_never_longer_than_its_place() -> None:
    widths = [list(ElementTree.fromstring(bar(share)))[1].get("width") for share in (-1, 0.25, 7)]
    assert widths == ["0", "25", "100"]
