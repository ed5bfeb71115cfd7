"""Ids of calls stay as they are where they can, and else are replaced alike in call and result, every time."""

from __future__ import annotations

import pytest

from ai_gateway.protocols.conversation import Message, ToolCall, ToolResult
from ai_gateway.protocols.tool_ids import USUAL, with_ids


def calls(*ids: str) -> Message:
    return Message(role="assistant", parts=[ToolCall(id=id, name="f") for id in ids])


def results(*ids: str) -> Message:
    return Message(role="user", parts=[ToolResult(call_id=id) for id in ids])


def ids(messages: list[Message]) -> list[list[str]]:
    return [
        [part.id if isinstance(part, ToolCall) else part.call_id for part in message.parts]  # type: ignore[attr-defined]
        for message in messages
    ]


def test_ids_that_are_allowed_stay() -> None:
    messages = [calls("call_1", "toolu_2"), results("call_1", "toolu_2")]
    assert with_ids(messages) == messages


@pytest.mark.parametrize("bad", ["functions.get_weather:0", "", "é", "x" * 65])
def test_an_id_that_is_not_allowed_is_replaced_in_call_and_result(bad: str) -> None:
    [[call], [result]] = ids(with_ids([calls(bad), results(bad)]))
    assert call == result
    assert USUAL.fullmatch(call)
    assert ids(with_ids([calls(bad), results(bad)])) == [[call], [result]]


def test_equal_ids_of_parallel_calls_become_two_and_results_follow_in_order() -> None:
    [called, given] = ids(with_ids([calls("", ""), results("", "")]))
    assert called == given
    assert len(set(called)) == 2


def test_an_id_that_was_used_in_an_earlier_turn_is_replaced() -> None:
    [[first], _, [second], [last]] = ids(with_ids([calls("0"), results("0"), calls("0"), results("0")]))
    assert first == "0"
    assert second == last != "0"


def test_results_may_come_in_another_order() -> None:
    [[a, b], given] = ids(with_ids([calls("a:1", "b:1"), results("b:1", "a:1")]))
    assert given == [b, a]


def test_an_exact_length_of_letters_and_digits() -> None:
    [[short, fine], given] = ids(
        with_ids([calls("call_1", "abcdefgh9"), results("call_1", "abcdefgh9")], exact_length=9)
    )
    assert fine == "abcdefgh9"
    assert len(short) == 9
    assert short.isalnum()
    assert given == [short, fine]


def test_a_result_without_a_call_keeps_its_id() -> None:
    assert ids(with_ids([results("nobody")])) == [["nobody"]]


def test_two_turns_of_calls_in_a_row_both_get_their_results() -> None:
    [[a], [b], given] = ids(with_ids([calls("a:1"), calls("b:1"), results("a:1", "b:1")]))
    assert given == [a, b]
    assert "a:1" not in given


def test_a_second_result_of_a_call_follows_the_first() -> None:
    [[call], given] = ids(with_ids([calls("a:1"), results("a:1", "a:1")]))
    assert given == [call, call]
