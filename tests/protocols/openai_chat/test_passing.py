"""What a whole completion used is the same whether nothing is odd about its usage, and it is read at once, or not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.openai_chat.passing import ChatPassing
from ai_gateway.protocols.openai_chat.usage import Details, Report, read_usage
from ai_gateway.protocols.passing import believed

counts: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, 2000),
    st.sampled_from([None, -1, 0, True, False, 7.0, 7.5, -0.5, "7", [], {}, 10**9, 10**18, 10**30]),
)
details = st.one_of(
    st.sampled_from([None, {}, [], 0, "none"]),
    st.dictionaries(st.sampled_from((*Details.__struct_fields__, "another")), counts, max_size=6),
)
members = st.fixed_dictionaries(
    {},
    optional={
        **{name: counts for name in Report.__struct_fields__ if not name.endswith("_details")},
        **{name: details for name in Report.__struct_fields__ if name.endswith("_details")},
        "another": counts,
    },
)


def passed(**answer: Any) -> ChatPassing:
    passing = ChatPassing()
    passing.answer(json.dumps({"id": "chatcmpl-1", "model": "gpt-5.5", **answer}).encode())
    return passing


@given(members)
def test_a_usage_is_read_alike_with_oddities_and_without(usage: dict[str, Any]) -> None:
    told = passed(usage=usage)
    assert told.usage == believed(read_usage(usage))
    assert (told.id, told.model, told.is_final) == ("chatcmpl-1", "gpt-5.5", told.usage is not None)


@pytest.mark.parametrize(
    "answer",
    [
        {"usage": {"prompt_tokens": 3, "completion_tokens": 4}, "service_tier": "flex"},
        {"usage": {"prompt_tokens": 3.0, "completion_tokens": "?", "total_tokens": 7}, "service_tier": "flex"},
        {"x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}, "service_tier": "flex"},
        {"usage": None, "x_groq": {"usage": {"prompt_tokens": 3, "total_tokens": 7, "completion_tokens": 4}}},
    ],
)
def test_what_an_answer_tells_is_its_last_word(answer: dict[str, Any]) -> None:
    told = passed(**answer)
    assert told.usage is not None
    assert (told.usage.total, told.is_final, told.tier) == (7, True, answer.get("service_tier", ""))


def test_an_answer_that_counts_beyond_belief_is_counted_by_its_text() -> None:
    choices = [{"index": 0, "message": {"role": "assistant", "content": "Hello"}}]
    told = passed(usage={"prompt_tokens": 10**9, "completion_tokens": 1}, choices=choices)
    assert (told.usage, told.is_final, told.text) == (None, False, 5)


def test_nothing_used_is_a_usage() -> None:
    assert passed(usage={"prompt_tokens": 0, "completion_tokens": 0}).usage == TokenUsage()
    assert passed(usage={}).usage is None
