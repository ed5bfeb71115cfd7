"""Writing a conversation as Messages demands it.

- The operator's instructions stand apart, in `system`. Those in the middle of a conversation go there too, unless the
  model takes them in place; there they may only stand behind a user's turn.
- Turns of one role are one turn: all results of the calls of one turn must be in the one user turn behind it, first.
- Every call has its result there, and every result its call.

Sources: "Working with messages" and "Handle tool calls" of Anthropic's documentation; the errors that the API answers
with otherwise, as recorded.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.anthropic_messages.content_writer import Block, write_blocks
from ai_gateway.protocols.anthropic_messages.draft import Draft
from ai_gateway.protocols.conversation import Message, Text, ToolCall, ToolResult
from ai_gateway.protocols.tool_ids import with_ids


def write_turns(draft: Draft) -> None:
    """Write `system` and `messages`. Raises BadRequest for a conversation that no provider could go on with."""
    turns = _Turns(draft)
    for message in with_ids(draft.request.messages):
        turns.add(message)
    system, messages = turns.finished()
    if system:
        draft.body["system"] = _plain(system)
    draft.body["messages"] = messages


class _Turns:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._system: list[Block] = []
        self._turns: list[dict[str, Any]] = []
        self._waiting: list[Block] = []
        """Instructions that wait for a user's turn to stand behind."""
        self._unanswered: dict[str, str] = {}
        """The calls of the last turn that have no result yet, and where they stand."""

    def add(self, message: Message) -> None:
        if message.role == "system":
            self._add_system(message)
        elif message.role == "user":
            self._add_user(message)
        else:
            self._add_assistant(message)

    def _add_system(self, message: Message) -> None:
        blocks = write_blocks(message.parts, self._draft)
        if not self._turns or not self._draft.capabilities.mid_system:
            self._system += blocks
        elif self._unanswered or self._turns[-1]["role"] == "assistant":
            self._waiting += blocks
        else:
            self._push("system", blocks)

    def _add_user(self, message: Message) -> None:
        for part in message.parts:
            if isinstance(part, ToolResult):
                self._answer(part)
        blocks = write_blocks(message.parts, self._draft)
        if not blocks and all(isinstance(part, Text) for part in message.parts):
            raise BadRequest("A message of the user must not be empty.", param=message.at or None)
        self._push("user", blocks)
        if self._waiting and not self._unanswered:
            self._push("system", self._waiting)
            self._waiting = []

    def _answer(self, result: ToolResult) -> None:
        if self._unanswered.pop(result.call_id, None) is None:
            message = f"The result of the call '{result.call_id}' does not follow a turn with that call."
            raise BadRequest(message, param=result.at or None)

    def _check_answered(self) -> None:
        """The wording is OpenAI's, whose clients and whose users know it."""
        if self._unanswered:
            missing = ", ".join(self._unanswered)
            raise BadRequest(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following tool_call_ids did not have response messages: {missing}",
                param=next(iter(self._unanswered.values())) or None,
            )

    def _add_assistant(self, message: Message) -> None:
        # Several turns of the assistant in a row are one, and may go on calling.
        if not self._turns or self._turns[-1]["role"] != "assistant":
            self._check_answered()
        for part in message.parts:
            if isinstance(part, ToolCall):
                self._unanswered[part.id] = part.at or message.at
        self._push("assistant", write_blocks(message.parts, self._draft))

    def _push(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if self._turns and self._turns[-1]["role"] == role:
            self._turns[-1]["content"] += blocks
        else:
            self._turns.append({"role": role, "content": blocks})

    def finished(self) -> tuple[list[Block], list[dict[str, Any]]]:
        self._check_answered()
        if not any(turn["role"] != "system" for turn in self._turns):
            raise BadRequest("There must be at least one message that is no instruction.", param="messages")
        self._system += self._waiting
        if self._draft.capabilities.user_first and self._turns[0]["role"] != "user":
            self._turns.insert(0, {"role": "user", "content": [{"type": "text", "text": "."}]})
        last = self._turns[-1]
        if last["role"] == "assistant":
            last["content"] = _prefill(last["content"])
        return self._system, [_finished_turn(turn) for turn in self._turns]


def _finished_turn(turn: dict[str, Any]) -> dict[str, Any]:
    content = turn["content"]
    if turn["role"] == "user":
        # Sorting is stable: results first, everything else behind them, each in its order.
        content = sorted(content, key=lambda block: block["type"] != "tool_result")
    return {"role": turn["role"], "content": _plain(content)}


def _plain(blocks: list[Block]) -> str | list[Block]:
    """A single text without anything else to it is written as a string."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks


def _prefill(blocks: list[Block]) -> list[Block]:
    """The beginning of an answer, which the model goes on with, must not end with blanks."""
    last = blocks[-1]
    return [*blocks[:-1], {**last, "text": last["text"].rstrip()}] if last["type"] == "text" else blocks


def has_lost_thinking(messages: list[dict[str, Any]]) -> bool:
    """Whether the conversation stops in the middle of a loop of calls whose thinking the caller has not sent back.

    Thinking that is asked for with a budget must then be there, at the beginning of the assistant's last turn.
    """
    turns = [turn for turn in messages if turn["role"] != "system"]
    last = turns[-1]["content"]
    is_looping = isinstance(last, list) and last[0]["type"] == "tool_result"
    before = next((turn["content"] for turn in reversed(turns) if turn["role"] == "assistant"), None)
    return is_looping and isinstance(before, list) and before[0]["type"] not in ("thinking", "redacted_thinking")
