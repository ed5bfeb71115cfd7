"""Taking members out of a caller's body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ai_gateway.errors import BadRequest
from ai_gateway.protocols import members

BODY: dict[str, Any] = {
    "text": "a",
    "empty": "",
    "yes": True,
    "one": 1,
    "half": 0.5,
    "whole": 100.0,
    "object": {"a": 1},
    "array": [1],
    "null": None,
}


@pytest.mark.parametrize(
    ("take", "names"),
    [
        (members.text, {"text", "empty"}),
        (members.boolean, {"yes"}),
        (members.number, {"one", "half", "whole"}),
        (members.integer, {"one", "whole"}),
        (members.mapping, {"object"}),
        (members.sequence, {"array"}),
    ],
)
def test_a_member_has_its_type_or_is_refused_by_its_path(take: Callable[..., Any], names: set[str]) -> None:
    for name, value in BODY.items():
        if value is None:
            assert not take(BODY, name)
        elif name in names:
            assert take(BODY, name) == value
        else:
            with pytest.raises(BadRequest) as refused:
                take(BODY, name, "messages[2]")
            assert (refused.value.param, refused.value.code) == (f"messages[2].{name}", "invalid_type")
    assert not take(BODY, "absent")


def test_an_integer_is_one_though_it_was_written_with_a_point() -> None:
    assert repr(members.integer(BODY, "whole")) == "100"


@pytest.mark.parametrize("name", ["absent", "null", "empty"])
def test_what_must_be_there_is_missed(name: str) -> None:
    with pytest.raises(BadRequest) as missed:
        members.required_text(BODY, name)
    assert (missed.value.param, missed.value.code) == (name, "missing_required_parameter")
    assert missed.value.message == f"Missing required parameter: '{name}'."


def test_an_error_says_what_was_found() -> None:
    with pytest.raises(BadRequest) as refused:
        members.required_mapping(BODY, "array", "tools[0]")
    assert refused.value.message == "Invalid type for 'tools[0].array': expected an object, but got an array instead."


@pytest.mark.parametrize("value", [None, 1, "a", [], True])
def test_an_entry_must_be_an_object(value: object) -> None:
    with pytest.raises(BadRequest) as refused:
        members.entries([{"a": 1}, value], "tools")
    assert refused.value.param == "tools[1]"
    assert members.entries([{"a": 1}], "tools") == [("tools[0]", {"a": 1})]


def test_nothing_is_an_empty_object_and_an_empty_array() -> None:
    assert members.object_at(None, "a") == {}
    assert members.list_at(None, "a") == []
    with pytest.raises(BadRequest):
        members.text_at(None, "a")
