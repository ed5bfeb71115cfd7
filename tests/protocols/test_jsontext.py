"""JSON as it comes and as it leaves."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_gateway.protocols.jsontext import INVALID, arguments_object, arguments_text, dumps, dumps_text, loads

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_what_is_written_is_read_as_it_was(value: object) -> None:
    assert loads(dumps(value)) == value
    assert json.loads(dumps(value)) == value


def test_half_of_a_surrogate_pair_is_read_and_written_as_an_escape() -> None:
    assert loads(b'{"a":"\\ud83d"}') == {"a": "\ud83d"}
    assert dumps({"a": "\ud83d"}) == b'{"a":"\\ud83d"}'


def test_text_is_written_as_utf_8_without_blanks() -> None:
    assert dumps({"a": "é", "b": [1]}) == '{"a":"é","b":[1]}'.encode()
    assert dumps_text({"a": "é"}) == '{"a":"é"}'


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", '{"a":1e400}', "", "{", "{'a':1}", "\xff"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        loads(text.encode("latin-1"))


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises((ValueError, RecursionError)):
        loads(b"[" * 100_000)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("", {}),
        ("  \n", {}),
        ("null", {}),
        ("{}", {}),
        ('{"a": 1}', {"a": 1}),
        ('{"a": "tru', {INVALID: '{"a": "tru'}),
        ("[1]", {INVALID: "[1]"}),
        ('"text"', {INVALID: '"text"'}),
        ("1", {INVALID: "1"}),
        ('{"a": NaN}', {INVALID: '{"a": NaN}'}),
    ],
)
def test_arguments_become_an_object_whatever_they_are(raw: str, value: dict[str, object]) -> None:
    assert arguments_object(raw) == value


@pytest.mark.parametrize("raw", ["{}", '{"a":1}', '{"a": "tru', "[1]"])
def test_arguments_come_back_as_they_were(raw: str) -> None:
    assert arguments_text(arguments_object(raw)) == raw
