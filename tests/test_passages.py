"""Texts that are read as one, and what an edit of them is for each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.edits import Edit
from ai_gateway.passages import Passage, edits_of, passages_of
from ai_gateway.texts import texts_in


def read(body: Any) -> list[str]:
    return [passage.value for passage in passages_of(texts_in(json.dumps(body).encode()))]


def test_the_parts_of_a_message_are_one_whatever_stands_between_them() -> None:
    content = [{"type": "text", "text": "a"}, {"image_url": {"url": "https://x.example"}}, {"text": "b"}]
    assert read({"messages": [{"content": content}, {"content": [{"text": "c"}]}]}) == ["ab", "https://x.example", "c"]


def test_messages_of_one_role_that_follow_each_other_are_one() -> None:
    said = [("user", "a"), ("user", [{"text": "b"}, {"text": "c"}]), ("assistant", "d"), ("user", "e"), ("user", "f")]
    assert read({"messages": [{"role": role, "content": content} for role, content in said]}) == ["abc", "d", "ef"]


def test_what_says_its_text_otherwise_stands_by_itself() -> None:
    assert read({"prompt": ["a", "b"], "text": "c", "messages": [{"content": "d"}, {"content": "e"}]}) == list("abcde")
    assert read({"input": [{"thought": {"text": "a"}}, {"thought": {"text": "b"}}]}) == ["a", "b"]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Edit(1, 2, "X"), {5: [Edit(1, 2, "X")]}),
        (Edit(2, 4, "X"), {5: [Edit(2, 3, "X")], 7: [Edit(0, 1, "")]}),
        (Edit(2, 7, "X"), {5: [Edit(2, 3, "X")], 7: [Edit(0, 3, "X")], 8: [Edit(0, 1, "")]}),
        (Edit(3, 6, "X"), {7: [Edit(0, 3, "X")]}),
    ],
)
def test_each_text_loses_its_piece_and_none_is_left_empty(edit: Edit, expected: dict[int, list[Edit]]) -> None:
    passage = Passage([5, 7, 8], ["abc", "def", "ghi"])
    assert edits_of([(passage, edit)]) == expected


def test_of_edits_of_a_passage_that_overlap_the_first_stays() -> None:
    passage = Passage([0, 1], ["abc", "def"])
    assert edits_of([(passage, Edit(4, 6, "Y")), (passage, Edit(2, 5, "X"))]) == {
        0: [Edit(2, 3, "X")],
        1: [Edit(0, 2, "")],
    }
