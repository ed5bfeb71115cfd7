"""The calls and the reasoning of a provider's stream, however it writes them."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.protocols.conversation import Citation, Stop, Text, Thinking, ToolCall
from ai_gateway.protocols.jsontext import loads
from tests.protocols.openai_chat.helpers import answer_of, call, calls, chunk, events_of, pieces, signature
from tests.protocols.streams import check_grammar, collected


class TestCallsOfOddProviders:
    """However a provider numbers and names its calls, they come out whole."""

    TWO = (("a", "add", '{"x":1}'), ("b", "mul", '{"x":2}'))

    @pytest.mark.parametrize(
        "deltas",
        [
            pytest.param(
                [
                    [call('{"x"', index=0, id="a", name="add")],
                    [call('{"x"', index=1, id="b", name="mul")],
                    [call(":1}", index=0)],
                    [call(":2}", index=1)],
                ],
                id="interleaved",
            ),
            pytest.param(
                [[call('{"x":1}', id="a", name="add")], [call('{"x":2}', id="b", name="mul")]], id="no number"
            ),
            pytest.param(
                [[call('{"x":1}', id="a", name="add"), call('{"x":2}', id="b", name="mul")]],
                id="no number, in one delta",
            ),
            pytest.param(
                [
                    [call('{"x"', index=-1, id="a", name="add")],
                    [call(":1}", index=-1)],
                    [call('{"x":2}', index=-1, id="b", name="mul")],
                ],
                id="number -1",
            ),
            pytest.param(
                [
                    [call('{"x"', index=0, id="a", name="add")],
                    [call(":1}", index=0)],
                    [call('{"x"', index=0, id="b", name="mul")],
                    [call(":2}", index=0)],
                ],
                id="number 0 for all",
            ),
            pytest.param(
                [
                    [call('{"x"', index=0, id="a", name="add")],
                    [call(":1}", index=0, id="a", name="add")],
                    [call('{"x"', index=1, id="b", name="mul")],
                    [call(":2}", index=1, id="b", name="mul")],
                ],
                id="id and name repeated",
            ),
            pytest.param(
                [
                    [call("", index=0, id="a")],
                    [call('{"x":1}', index=0)],
                    [call("", index=0, name="add")],
                    [call('{"x":2}', index=1, id="b")],
                    [call("", index=1, name="mul")],
                ],
                id="late names",
            ),
            pytest.param(
                [
                    [call("", index=0, name="add")],
                    [call('{"x":1}', index=0, id="a")],
                    [call("", index=1, name="mul")],
                    [call('{"x":2}', index=1, id="b")],
                ],
                id="late ids",
            ),
            pytest.param(
                [[call('{"x":1}', index=1, id="a", name="add")], [call('{"x":2}', index=3, id="b", name="mul")]],
                id="numbers with gaps",
            ),
        ],
    )
    def test_two_calls(self, deltas: list[list[dict[str, Any]]]) -> None:
        events = events_of([*(pieces(*each) for each in deltas), chunk(reason="tool_calls"), b"[DONE]"])
        check_grammar(events)
        assert tuple(calls(collected(events))) == self.TWO

    @pytest.mark.parametrize(
        "deltas",
        [
            pytest.param([[call('{"x":1}', index=0, id="", name="f"), call('{"x":2}', index=1, id="", name="f")]]),
            pytest.param([[call('{"x":1}', index=0, id="", name="f"), call('{"x":2}', index=0, id="", name="f")]]),
            pytest.param([[call('{"x":1}', name="f")], [call('{"x":2}', name="f")]]),
            pytest.param([[call('{"x":1}', index=0, name="f")], [call('{"x":2}', index=0, name="f")]]),
        ],
    )
    def test_two_calls_without_ids_get_some(self, deltas: list[list[dict[str, Any]]]) -> None:
        answer = answer_of(*(pieces(*each) for each in deltas), chunk(reason="stop"))
        assert [(name, arguments) for _, name, arguments in calls(answer)] == [("f", '{"x":1}'), ("f", '{"x":2}')]
        first, second = (id for id, _, _ in calls(answer))
        assert first != second
        assert first.startswith("call_")
        assert calls(answer) == calls(answer_of(*(pieces(*each) for each in deltas), chunk(reason="stop")))

    def test_equal_ids_of_two_calls_are_made_different(self) -> None:
        answer = answer_of(pieces(call("{}", index=0, id="0", name="f")), pieces(call("{}", index=1, id="0", name="g")))
        assert [name for _, name, _ in calls(answer)] == ["f", "g"]
        assert len({id for id, _, _ in calls(answer)}) == 2

    def test_a_new_id_in_every_piece_is_one_call(self) -> None:
        first, *more = ('{"x"', ":", "1}")
        named = pieces(call(first, index=0, id="a", name="f"))
        answer = answer_of(named, *(pieces(call(each, index=0, id=f"b{each}")) for each in more))
        assert calls(answer) == [("a", "f", '{"x":1}')]

    def test_a_name_in_every_piece_is_one_call(self) -> None:
        answer = answer_of(*(pieces(call(each, index=0, id="a", name="f")) for each in ('{"x"', ":", "1}")))
        assert calls(answer) == [("a", "f", '{"x":1}')]

    def test_arguments_may_be_an_object(self) -> None:
        entry = {"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}
        assert calls(answer_of(pieces(entry))) == [("a", "f", '{"x":1}')]

    def test_a_call_without_a_name_is_none(self) -> None:
        answer = answer_of(pieces(call("{}", index=0, id="a")), chunk(reason="tool_calls"))
        assert (answer.parts, answer.stop) == ([], Stop.END)

    def test_a_call_without_arguments_is_closed_without(self) -> None:
        assert calls(answer_of(pieces(call("", index=0, id="a", name="f")))) == [("a", "f", "")]

    def test_the_older_function_call(self) -> None:
        answer = answer_of(
            chunk({"function_call": {"name": "f", "arguments": ""}}),
            chunk({"function_call": {"arguments": '{"x"'}}),
            chunk({"function_call": {"arguments": ":1}"}}),
            chunk(reason="function_call"),
        )
        assert [(name, arguments) for _, name, arguments in calls(answer)] == [("f", '{"x":1}')]
        assert answer.stop is Stop.TOOL_USE

    def test_a_custom_tool(self) -> None:
        answer = answer_of(
            pieces({"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": "l"}}),
            pieces({"index": 0, "custom": {"input": "s"}}),
        )
        assert answer.parts == [ToolCall(id="a", name="sh", arguments="ls", is_custom=True)]

    def test_googles_signature_is_the_calls_state(self) -> None:
        extra = {"extra_content": {"google": {"thought_signature": "S"}}}
        answer = answer_of(pieces({**call("{}", index=0, id="a", name="f"), **extra}))
        assert isinstance(answer.parts[0], ToolCall)
        assert answer.parts[0].state == signature("S", "openai_chat")

    def test_text_goes_on_behind_calls(self) -> None:
        answer = answer_of(
            chunk({"content": "A"}), pieces(call("{}", index=0, id="a", name="f")), chunk({"content": "B"})
        )
        assert [type(part) for part in answer.parts] == [Text, ToolCall, Text]

    @pytest.mark.parametrize("index", ["0", None, 1.5, {}, True])
    def test_an_odd_number_breaks_nothing(self, index: Any) -> None:
        assert calls(answer_of(pieces(call("{}", index=index, id="a", name="f")))) == [("a", "f", "{}")]


class TestReasoning:
    @pytest.mark.parametrize(
        "deltas",
        [
            [{"reasoning_content": "Let me"}, {"reasoning_content": " see"}],
            [{"reasoning": "Let me"}, {"reasoning": " see"}],
            [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Let me see"}]}]}],
            [
                {"reasoning": "Let me", "reasoning_details": [{"type": "reasoning.text", "text": "Let me"}]},
                {"reasoning": " see", "reasoning_details": [{"type": "reasoning.text", "text": " see"}]},
            ],
            [{"reasoning_content": "Let me see", "reasoning": "Let me see"}],
        ],
    )
    def test_it_is_read_once_wherever_it_stands(self, deltas: list[dict[str, Any]]) -> None:
        answer = answer_of(*map(chunk, deltas), chunk({"content": "42"}))
        assert answer.parts == [Thinking(text="Let me see"), Text(text="42")]

    def test_reasoning_and_text_in_one_delta(self) -> None:
        answer = answer_of(chunk({"content": "42", "reasoning_content": "Hm"}))
        assert answer.parts == [Thinking(text="Hm"), Text(text="42")]

    def test_blocks_with_numbers_of_their_own_are_parts_of_their_own(self) -> None:
        detail = {"type": "reasoning.text"}
        answer = answer_of(
            chunk({"reasoning_details": [{**detail, "index": 0, "text": "A"}]}),
            chunk({"reasoning_details": [{**detail, "index": 0, "signature": "S"}]}),
            chunk({"reasoning_details": [{**detail, "index": 1, "text": "B"}]}),
        )
        first, second = answer.parts
        assert isinstance(first, Thinking)
        assert first.state is not None
        assert loads(first.state.value) == [{**detail, "index": 0, "signature": "S"}]
        assert second == Thinking(text="B")

    def test_encrypted_reasoning_is_a_state_without_text(self) -> None:
        answer = answer_of(chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "D", "id": "r"}]}))
        (part,) = answer.parts
        assert isinstance(part, Thinking)
        assert (part.text, part.is_redacted) == ("", True)
        assert part.state is not None
        assert loads(part.state.value) == [{"type": "reasoning.encrypted", "data": "D", "id": "r"}]

    def test_a_state_that_comes_behind_the_text_is_not_lost(self) -> None:
        answer = answer_of(
            chunk({"reasoning": "A", "reasoning_details": [{"type": "reasoning.summary", "summary": "A", "index": 0}]}),
            chunk({"content": "42"}),
            chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "D", "index": 0}]}),
        )
        assert [type(part) for part in answer.parts] == [Thinking, Text, Thinking]
        assert isinstance(answer.parts[2], Thinking)
        assert answer.parts[2].state is not None

    def test_a_signature_of_a_text(self) -> None:
        extra = {"extra_content": {"google": {"thought_signature": "S"}}}
        answer = answer_of(chunk({"content": "42"}), chunk({"content": "", **extra}))
        assert answer.parts == [Text(text="42", state=signature("S", "openai_chat"))]


def cited(start: int | None, end: int | None) -> dict[str, Any]:
    page = {"url": "https://example.org", "title": "Example", "start_index": start, "end_index": end}
    return {"annotations": [{"type": "url_citation", "url_citation": page}, "odd"]}


class TestCitations:
    def test_their_places_count_from_the_beginning_of_their_own_text(self) -> None:
        calls_between = pieces(call("{}", index=0, id="a", name="f"))
        answer = answer_of(
            chunk({"content": "Hello. "}), calls_between, chunk({"content": "It is so."}), chunk(cited(7, 16))
        )
        *_, text = answer.parts
        assert isinstance(text, Text)
        assert text.citations == [Citation(url="https://example.org", title="Example", start=0, end=9)]

    def test_one_without_a_place_has_none(self) -> None:
        (text,) = answer_of(chunk({"content": "It is so."}), chunk(cited(None, None))).parts
        assert isinstance(text, Text)
        assert text.citations == [Citation(url="https://example.org", title="Example")]

    def test_one_without_a_text_is_passed_over(self) -> None:
        assert answer_of(chunk(cited(0, 1)), chunk({"content": "Hi"})).parts == [Text(text="Hi")]
