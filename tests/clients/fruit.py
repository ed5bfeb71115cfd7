"""What the SDKs' scenarios are about: a question, a tool that knows the price of fruit, and models that ask it."""

from __future__ import annotations

from tests.clients.models.model import Model
from tests.clients.models.turns import Call, Json, Seen, Turn

PROMPT = "What do pears and figs cost? Grüße, 木"
ANSWER = 'They "cost"\n\tthree crowns. 木'
THOUGHT = "The tool knows."
TOOL: Json = {
    "name": "price_of",
    "description": "Tells the price of a fruit.",
    "parameters": {
        "type": "object",
        "properties": {"fruit": {"type": "string"}, "count": {"type": "integer"}},
        "required": ["fruit", "count"],
    },
}
CALLS = (
    Call(name="price_of", arguments={"fruit": "pears", "count": 2}),
    Call(name="price_of", arguments={"fruit": 'figs "dried"', "count": 10}),
)
PRICES = ("2 pears cost 6 crowns", '10 figs "dried" cost 30 crowns')


def answer(seen: Seen) -> Turn:
    """A model that just answers."""
    return Turn(text=ANSWER)


def ask_first(seen: Seen) -> Turn:
    """A model that asks two tools at once before it answers."""
    if not seen.results:
        return Turn(thinking=THOUGHT, text="Let me ask.", calls=CALLS)
    return Turn(text=ANSWER)


def check_question(model: Model) -> None:
    """Check that the question arrived."""
    (seen,) = model.seen
    assert seen.prompts == [PROMPT]


def check_tools(model: Model, *, carries: bool = True, keeps_ids: bool = True) -> None:
    """Check that the tool arrived, and the model's own calls, with what came of them.

    A client may have ids of its own for calls, or may not carry the state of the model's reasoning.
    """
    first, last = model.seen
    assert first.tools["price_of"]["required"] == TOOL["parameters"]["required"]
    assert [(call.name, call.arguments) for call in last.calls] == [(call.name, call.arguments) for call in CALLS]
    if keeps_ids:
        assert [call.id for call in last.calls] == model.call_ids
    answers = [text for _, text in last.pairs.values()]
    assert len(answers) == len(PRICES)
    assert all(price in text.replace('\\"', '"') for price, text in zip(PRICES, answers, strict=True))
    if carries:
        assert last.reasoning == model.states
