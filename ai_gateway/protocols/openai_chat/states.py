"""Reasoning on chat messages, for which OpenAI has no member: the ones that others have agreed on.

`reasoning_content` (DeepSeek, xAI, vLLM; `reasoning` at Groq, Ollama and OpenRouter) is text. `reasoning_details` is
OpenRouter's list of `{"type": "reasoning.text" | "reasoning.summary" | "reasoning.encrypted", "text" | "summary" |
"data", "signature"?, "id"?, "format"?, "index"}`, one or more entries for each block of reasoning; on the gateway's own
answers `signature` or `data` is a sealed state. A signature of a single tool call, or of the text, stands where Google
has put it: `extra_content.google.thought_signature`.

`position` in the gateway's own entries tells what stood before the block, if anything did: characters of `content`,
and tool calls. Without it reasoning stands before everything.

Source: "Reasoning Tokens" of OpenRouter's documentation; "Thought signatures" of Google's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import State, Thinking
from ai_gateway.protocols.jsontext import dumps_text, loads

FORMAT = "openai_chat"
DETAILS = "reasoning_details"
"""The kind of a state that holds the entries of one block, without their text."""
SIGNATURE = "signature"
"""The kind of a state that is Google's signature."""

ENCRYPTED = "reasoning.encrypted"
TEXT_MEMBERS = ("text", "summary")

FORMATS = {
    "anthropic_messages": "anthropic-claude-v1",
    "bedrock_converse": "anthropic-claude-v1",
    "openai_responses": "openai-responses-v1",
    "gemini": "google-gemini-v1",
}
"""What OpenRouter calls the formats that a state may have come in."""


def detail_text(detail: Mapping[str, Any]) -> str:
    """Give the visible text of an entry."""
    for name in TEXT_MEMBERS:
        value = detail.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def plain_text(message: Mapping[str, Any]) -> str:
    """Give the reasoning of a message or delta that has it as plain text."""
    for name in ("reasoning_content", "reasoning"):
        value = message.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


class DetailsState:
    """Gathers what the entries of one block hold besides text, as it must go back to the provider."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Any]] = {}
        self._is_proof = False

    def add(self, detail: Mapping[str, Any]) -> None:
        """Take an entry, or a piece of one."""
        known = self._entries.setdefault(f"{detail.get('type')} {detail.get('id') or ''}", {})
        known.update({name: value for name, value in detail.items() if name not in TEXT_MEMBERS and value is not None})
        self._is_proof = self._is_proof or bool(detail.get("signature") or detail.get("data"))

    def state(self) -> State | None:
        """Give the state; None if nothing needs to go back."""
        if not self._is_proof:
            return None
        return State(format=FORMAT, kind=DETAILS, value=dumps_text(list(self._entries.values())))


def read_details(details: Iterable[Any]) -> list[Thinking]:
    """Read the entries of a provider's whole message: entries with the same index are one block."""
    blocks: dict[Any, list[dict[str, Any]]] = {}
    for place, detail in enumerate(details):
        if isinstance(detail, dict):
            index = detail.get("index")
            blocks.setdefault(index if isinstance(index, int) else f"at {place}", []).append(detail)
    return [block for entries in blocks.values() if (block := _block(entries)) is not None]


def _block(entries: Sequence[dict[str, Any]]) -> Thinking | None:
    gathered = DetailsState()
    for entry in entries:
        gathered.add(entry)
    text = "".join(map(detail_text, entries))
    state = gathered.state()
    if not text and state is None:
        return None
    return Thinking(text=text, state=state, is_redacted=not text and entries[0].get("type") == ENCRYPTED)


def restored_details(thinking: Thinking, state: State) -> list[dict[str, Any]]:
    """Write the entries of a block as the provider gave them, the text back in its place."""
    entries: list[dict[str, Any]] = loads(state.value)
    spoken = next((entry for entry in entries if entry.get("type") != ENCRYPTED), None)
    if spoken is not None and thinking.text:
        spoken["summary" if spoken.get("type") == "reasoning.summary" else "text"] = thinking.text
    return entries


def sealed_detail(index: int, state: State, carrier: Carrier, is_redacted: bool) -> dict[str, Any]:
    """Write a state as the entry that a caller carries; it has no text yet."""
    kind, member = (ENCRYPTED, "data") if is_redacted else ("reasoning.text", "signature")
    return {
        "index": index,
        "type": kind,
        member: carrier.seal(state),
        "format": FORMATS.get(state.format, "unknown"),
    }


def opened_state(value: object, carrier: Carrier) -> State | None:
    """Open what a caller sent in place of a signature; None for what is not the gateway's."""
    return carrier.open(value) if isinstance(value, str) else None


def google_signature(value: Mapping[str, Any]) -> str:
    """Give Google's signature of a tool call, a message or a delta."""
    google = extra.get("google") if isinstance(extra := value.get("extra_content"), dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else ""


def google_extra(signature: str) -> dict[str, Any]:
    """Write a signature where Google has it."""
    return {"google": {"thought_signature": signature}}


def google_state(value: Mapping[str, Any]) -> State | None:
    """Give the state of a provider's tool call, message or delta."""
    signature = google_signature(value)
    return State(format=FORMAT, kind=SIGNATURE, value=signature) if signature else None
