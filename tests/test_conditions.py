"""Which calls is a target there for? The vocabulary of conditions, and what is said of broken ones."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytest

from ai_gateway import balances
from ai_gateway.calls import Call, Caller
from ai_gateway.conditions import READERS, read_conditions, unmet
from ai_gateway.facts import Facts
from tests.factories import make_call

PICTURE = b'{"messages":[{"content":[{"type":"image_url"}]}]}'
LONG = b'{"messages":[{"content":"%s"}]}' % (b"word " * 800)
GOLD = make_call("/v1/chat/completions", (b"x-tier", b"gold-1"))
BATCH = Caller(key_name="k", tags=("eu", "batch-7"))


@pytest.mark.parametrize(
    ("condition", "fits", "fits_not"),
    [
        ({"images": True}, make_call(body=PICTURE), make_call()),
        ({"images": False}, make_call(), make_call(body=PICTURE)),
        ({"files": True}, make_call(body=b'{"input":[{"content":[{"type":"input_file"}]}]}'), make_call()),
        ({"audio": False}, make_call(), make_call(body=b'{"messages":[{"content":[{"type":"input_audio"}]}]}')),
        ({"tools": True}, make_call(body=b'{"tools":[{}]}'), make_call(body=b'{"tools":[]}')),
        ({"json_schema": True}, make_call(body=b'{"response_format":{"type":"json_schema"}}'), make_call()),
        ({"stream": True}, make_call(stream=True), make_call()),
        ({"min_input_tokens": 500}, make_call(body=LONG), make_call()),
        ({"max_input_tokens": 500}, make_call(), make_call(body=LONG)),
        ({"headers": {"X-Tier": "gold*"}}, GOLD, make_call("/v1/chat/completions", (b"x-tier", b"silver"))),
        ({"headers": {"x-tier": "*"}}, GOLD, make_call()),
        ({"endpoints": "chat/*"}, make_call(), make_call("/v1/embeddings")),
        ({"endpoints": ["messages", "embeddings"]}, make_call("/v1/messages"), make_call()),
        ({"endpoints": "models/*"}, make_call("/v1beta/models/m:generateContent"), make_call()),
        ({"images": False, "stream": True}, make_call(stream=True), make_call(body=PICTURE, stream=True)),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_condition_holds_for_some_calls_and_not_for_others(condition: Any, fits: Call, fits_not: Call) -> None:
    conditions = read_conditions(condition)
    assert unmet(conditions, Facts(fits, Caller())) is None
    assert unmet(conditions, Facts(fits_not, Caller())) is not None


def test_tags_are_those_of_the_key() -> None:
    conditions = read_conditions({"key_tags": ["night", "batch*"]})
    assert unmet(conditions, Facts(make_call(), BATCH)) is None
    assert unmet(conditions, Facts(make_call(), Caller())) == "a key with a tag that this one lacks"


def test_what_is_left_of_a_budget_is_that_of_the_caller() -> None:
    rich, poor = read_conditions({"min_budget_left": 20}), read_conditions({"max_budget_left": 19.9})
    spent = Caller(key_id=1, key_name="k")
    balances.note(spent, 12.5, inf)
    assert unmet(poor, Facts(make_call(), spent)) is None
    assert unmet(rich, Facts(make_call(), spent)) == "a key with 20 % or more left of its budgets"
    for other in (Caller(), Caller(key_id=2, key_name="k"), BATCH):  # Nothing was heard of them.
        assert unmet(rich, Facts(make_call(), other)) is None
        assert unmet(poor, Facts(make_call(), other)) is not None


def test_every_condition_is_documented() -> None:
    page = (Path(__file__).parent.parent / "docs" / "routing.md").read_text(encoding="utf-8")
    assert [name for name in READERS if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ([], "object"),
        ({"colour": "red"}, "no condition 'colour'. Known are: images, files"),
        ({"images": 1}, "images is true or false"),
        ({"stream": None}, "stream is true or false"),
        ({"max_input_tokens": True}, "whole number"),
        ({"min_input_tokens": -1}, "whole number"),
        ({"min_input_tokens": 9, "max_input_tokens": 8}, "no call is ever between"),
        ({"min_budget_left": 101}, "percent"),
        ({"max_budget_left": "20"}, "percent"),
        ({"min_budget_left": True}, "percent"),
        ({"min_budget_left": 30, "max_budget_left": 20}, "no call is ever between"),
        ({"headers": {}}, "patterns by the names"),
        ({"headers": {"x-tier": 1}}, "texts"),
        ({"key_tags": []}, "a text with"),
        ({"endpoints": [""]}, "a text with"),
    ],
)
def test_a_broken_condition_is_explained(entry: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        read_conditions(entry)
