"""Requests of Messages: how thinking and sampling are asked for."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.protocols.anthropic_messages import PROTOCOL
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import (
    Reasoning,
    Stop,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.emulation import undo
from tests.protocols.anthropic_messages.building import (
    ADAPTIVE,
    BUDGET,
    HI,
    body,
    outgoing,
    request,
    signed,
    turn,
)
from tests.protocols.anthropic_messages.helpers import DESTINATION, destination

# How much to think.


def reasoning(wanted: Reasoning, where: Destination, **members: Any) -> tuple[Any, Any, list[str]]:
    written = outgoing(request(reasoning=wanted, names={"reasoning": "reasoning_effort"}, **members), where)
    effort = written.body.get("output_config", {}).get("effort")
    return written.body.get("thinking"), effort, list(written.dropped)


ON = {"type": "adaptive"}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Reasoning(effort="minimal"), (ON, "low", [])),
        (Reasoning(effort="low"), (ON, "low", [])),
        (Reasoning(effort="high"), (ON, "high", [])),
        (Reasoning(effort="xhigh"), (ON, "xhigh", [])),
        (Reasoning(effort="none"), ({"type": "disabled"}, None, [])),
        (Reasoning(mode="disabled", effort="high"), ({"type": "disabled"}, "high", [])),
        (Reasoning(budget=2000), (ON, "low", [])),
        (Reasoning(budget=9000), (ON, "medium", [])),
        (Reasoning(budget=20000), (ON, "high", [])),
        (Reasoning(mode="adaptive"), (ON, None, [])),
        (Reasoning(effort="low", is_shown=True), ({**ON, "display": "summarized"}, "low", [])),
        (Reasoning(is_shown=True), (None, None, [])),
    ],
)
def test_an_adaptive_model_is_told_an_effort(wanted: Reasoning, expected: tuple[Any, Any, list[str]]) -> None:
    assert reasoning(wanted, ADAPTIVE) == expected


@pytest.mark.parametrize(
    ("effort", "efforts", "expected"),
    [
        ("xhigh", ("low", "medium", "high", "max"), "high"),
        ("max", ("low", "medium", "high"), "high"),
        ("minimal", ("medium", "high"), "medium"),
    ],
)
def test_an_effort_that_a_model_lacks_is_the_next_it_has(effort: str, efforts: tuple[str, ...], expected: str) -> None:
    assert reasoning(Reasoning(effort=effort), destination(reasoning="adaptive", efforts=efforts))[1] == expected


def test_a_model_that_always_thinks_thinks_as_little_as_it_can() -> None:
    always = destination(reasoning="adaptive", reasons_by_default=True, can_disable_reasoning=False)
    assert reasoning(Reasoning(effort="none"), always) == (None, "low", ["reasoning_effort"])


@pytest.mark.parametrize(
    ("wanted", "budget"),
    [
        (Reasoning(effort="minimal"), 1024),
        (Reasoning(effort="low"), 2048),
        (Reasoning(effort="medium"), 8192),
        (Reasoning(effort="high"), 16384),
        (Reasoning(effort="xhigh"), 32768),
        (Reasoning(effort="max"), 63999),
        (Reasoning(budget=5000), 5000),
        (Reasoning(budget=10), 1024),
        (Reasoning(mode="adaptive"), 8192),
    ],
)
def test_an_older_model_is_told_a_budget(wanted: Reasoning, budget: int) -> None:
    assert reasoning(wanted, BUDGET) == ({"type": "enabled", "budget_tokens": budget}, None, [])


def test_a_budget_is_below_the_callers_limit_which_is_never_raised() -> None:
    thinking, _, _ = reasoning(Reasoning(effort="high"), BUDGET, max_output_tokens=4000)
    assert thinking == {"type": "enabled", "budget_tokens": 3999}
    assert reasoning(Reasoning(effort="high"), BUDGET, max_output_tokens=1000) == (None, None, ["reasoning_effort"])


def test_a_model_may_take_both() -> None:
    both = destination(reasoning="budget", max_output_tokens=64000, efforts=("low", "medium", "high"))
    assert reasoning(Reasoning(effort="max"), both)[:2] == ({"type": "enabled", "budget_tokens": 32768}, "high")


OFF = {"type": "disabled"}


@pytest.mark.parametrize(
    ("wanted", "facts", "expected"),
    [
        (Reasoning(effort="none"), {"reasons_by_default": True}, (OFF, None, [])),
        (Reasoning(effort="none"), {}, (None, None, [])),
        (Reasoning(mode="disabled"), {}, (OFF, None, [])),
        (Reasoning(mode="disabled"), {"can_disable_reasoning": False}, (None, None, ["reasoning_effort"])),
    ],
)
def test_thinking_is_switched_off_where_it_would_be_on(
    wanted: Reasoning, facts: dict[str, Any], expected: tuple[Any, Any, list[str]]
) -> None:
    assert reasoning(wanted, destination(reasoning="budget", max_output_tokens=64000, **facts)) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Reasoning(effort="high"), (None, "high", [])),
        (Reasoning(budget=9000), (None, "medium", [])),
        (Reasoning(effort="none"), (OFF, None, [])),
    ],
)
def test_a_model_of_another_house_is_told_an_effort_alone(
    wanted: Reasoning, expected: tuple[Any, Any, list[str]]
) -> None:
    assert reasoning(wanted, destination(reasoning="effort", max_output_tokens=64000)) == expected


def test_a_model_that_cannot_think_is_not_asked_to() -> None:
    assert reasoning(Reasoning(effort="high"), DESTINATION) == (None, None, ["reasoning_effort"])
    assert reasoning(Reasoning(effort="none"), DESTINATION) == (None, None, [])


def test_in_a_loop_of_calls_whose_thinking_is_lost_there_is_no_budget() -> None:
    call, result = ToolCall(id="1", name="f"), ToolResult(call_id="1")
    lost = (HI, turn("assistant", call), turn("user", result))
    kept = (HI, turn("assistant", Thinking(text="Hm.", state=signed()), call), turn("user", result))
    wanted = Reasoning(effort="low")
    assert "thinking" not in body(request(*lost, reasoning=wanted), BUDGET)
    assert "thinking" in body(request(*kept, reasoning=wanted), BUDGET)
    assert "thinking" in body(request(*lost, turn("assistant", "Done."), HI, reasoning=wanted), BUDGET)
    assert "thinking" in body(request(*lost, reasoning=wanted), ADAPTIVE)


# Sampling.


@pytest.mark.parametrize(
    ("members", "where", "expected", "dropped"),
    [
        ({"temperature": 0.5, "top_p": 0.9}, DESTINATION, {"temperature": 0.5, "top_p": 0.9}, []),
        ({"temperature": 1.7}, DESTINATION, {"temperature": 1}, []),
        ({"temperature": 0.5, "top_p": 0.9}, destination(both_samplings=False), {"temperature": 0.5}, ["top_p"]),
        ({"temperature": 0.5, "top_p": 0.9}, destination(sampling="never"), {}, ["temperature", "top_p"]),
        ({"temperature": 1, "top_p": 1}, destination(sampling="never"), {}, []),
        ({"top_k": 5}, destination(top_k=True), {"top_k": 5}, []),
        ({"top_k": 5}, DESTINATION, {}, ["top_k"]),
        (
            {"temperature": 0.5, "top_p": 0.96, "top_k": 5, "reasoning": Reasoning(effort="low")},
            destination(reasoning="adaptive", top_k=True),
            {"top_p": 0.96},
            ["temperature", "top_k"],
        ),
    ],
)
def test_sampling_goes_as_far_as_the_model_takes_it(
    members: dict[str, Any], where: Destination, expected: dict[str, Any], dropped: list[str]
) -> None:
    written = outgoing(request(**members), where)
    given = {name: written.body[name] for name in ("temperature", "top_p", "top_k") if name in written.body}
    assert (given, list(written.dropped)) == (expected, dropped)


def test_stop_sequences_that_are_blank_or_too_many_are_looked_for_here() -> None:
    written = outgoing(request(stop=["a", "", "\n", "b", "c", "d", "e"]))
    assert written.body["stop_sequences"] == ["a", "b", "c", "d"]
    assert written.dropped == []
    assert written.emulation is not None
    assert written.emulation.stop == ("\n", "e")
    answer = PROTOCOL.read_answer({"content": [{"type": "text", "text": "first\nlast"}], "stop_reason": "end_turn"})
    cut = undo(answer, written.emulation)
    assert (cut.parts, cut.stop, cut.stop_sequence) == ([Text(text="first")], Stop.STOP_SEQUENCE, "\n")
    assert outgoing(request(stop=["a"])).emulation is None
