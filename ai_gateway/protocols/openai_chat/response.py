"""Whole answers: reading a provider's, writing a caller's.

Source: the chat completion object of OpenAI's API reference, and what compatible providers make of it: content as a
list (Mistral), calls without ids (Google), arguments as an object (Ollama), `reasoning` beside the content.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import (
    Answer,
    Citation,
    Part,
    Refusal,
    Request,
    Stop,
    Text,
    Thinking,
    ToolCall,
)
from ai_gateway.protocols.jsontext import dumps_text, objects_in
from ai_gateway.protocols.openai_chat.errors import error_of
from ai_gateway.protocols.openai_chat.states import (
    google_extra,
    google_state,
    plain_text,
    read_details,
    sealed_detail,
)
from ai_gateway.protocols.openai_chat.stops import FAILED, read_stop, stop_sequence, write_reason
from ai_gateway.protocols.openai_chat.usage import read_report, tokens_of, units_of, write_usage
from ai_gateway.protocols.openai_tiers import TIERS
from ai_gateway.protocols.tool_ids import made_id

ID_PREFIX = "chatcmpl-"


# Reading.


def read_answer(body: dict[str, Any]) -> Answer:
    """Read an answer. Raises ProviderError for an error with status 200, UpstreamProtocolError for no answer at all."""
    if body.get("error"):
        raise error_of(body)
    choice = _first_choice(body)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise UpstreamProtocolError("The provider's answer has no message.")
    if choice.get("finish_reason") == FAILED:
        raise error_of({"error": choice.get("error") or "The provider could not finish its answer."})
    answer_id = _string(body.get("id"))
    parts: list[Part] = [*_thinking(message), *_spoken(choice, message), *read_calls(message, answer_id)]
    sequence = stop_sequence(choice)
    stop = read_stop(_string(choice.get("finish_reason")), any(isinstance(part, ToolCall) for part in parts), sequence)
    created, tier = body.get("created"), body.get("service_tier")
    report = read_report(body.get("usage"), body.get("x_groq"))
    return Answer(
        id=answer_id,
        model=_string(body.get("model")),
        parts=parts,
        stop=stop,
        stop_sequence=sequence if stop is Stop.STOP_SEQUENCE else None,
        usage=tokens_of(report) if report is not None else None,
        units=units_of(report) if report is not None else {},
        created=int(created) if isinstance(created, int | float) and created else None,
        service_tier=tier if isinstance(tier, str) else None,
    )


def _first_choice(body: dict[str, Any]) -> dict[str, Any]:
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    raise UpstreamProtocolError("The provider's answer has no choices.")


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _thinking(message: dict[str, Any]) -> list[Thinking]:
    """Read the reasoning: the details if they have text, with the plain text in front if they have none."""
    details = message.get("reasoning_details")
    blocks = read_details(details) if isinstance(details, list) else []
    text = plain_text(message) or mistral_texts(message.get("content"), "thinking")
    if text and not any(block.text for block in blocks):
        return [Thinking(text=text), *blocks]
    return blocks


def _spoken(choice: dict[str, Any], message: dict[str, Any]) -> list[Part]:
    """Read the text and the refusal."""
    parts: list[Part] = []
    content = message.get("content")
    text = content if isinstance(content, str) else mistral_texts(content, "text")
    refusal = _string(message.get("refusal"))
    if text:
        parts.append(
            Text(
                text=text,
                citations=read_citations(message.get("annotations")),
                logprobs=read_logprobs(choice.get("logprobs")),
                phase=_string(message.get("phase")) or None,
                state=google_state(message),
            )
        )
    if refusal:
        parts.append(Refusal(text=refusal))
    return parts


def read_logprobs(logprobs: object) -> list[dict[str, Any]] | None:
    """Read the probabilities of the tokens of a text; None for none."""
    return objects_in(logprobs.get("content")) or None if isinstance(logprobs, dict) else None


def mistral_texts(content: object, kind: str) -> str:
    """Give the texts of one kind in a content that is a list, of which each may be a list again (Mistral)."""
    pieces: list[str] = []
    for entry in content if isinstance(content, list) else ():
        if isinstance(entry, str) and kind == "text":
            pieces.append(entry)
        if isinstance(entry, dict) and entry.get("type") == kind:
            inner = entry.get(kind)
            pieces.append(inner if isinstance(inner, str) else mistral_texts(inner, "text"))
    return "".join(pieces)


def read_citations(annotations: object) -> list[Citation]:
    """Read the annotations of a message; those that are no web pages are kept as they are."""
    citations: list[Citation] = []
    for annotation in annotations if isinstance(annotations, list) else ():
        if not isinstance(annotation, dict):
            continue
        page = annotation.get("url_citation")
        if isinstance(page, dict):
            start, end = page.get("start_index"), page.get("end_index")
            citations.append(
                Citation(
                    url=_string(page.get("url")),
                    title=_string(page.get("title")),
                    start=start if isinstance(start, int) else None,
                    end=end if isinstance(end, int) else None,
                )
            )
    return citations


def read_calls(message: dict[str, Any], answer_id: str) -> list[ToolCall]:
    """Read the calls of a message, the older `function_call` among them. Those without a name are no calls."""
    given = message.get("tool_calls")
    entries = [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []
    if not entries and isinstance(message.get("function_call"), dict):
        entries = [{"function": message["function_call"]}]
    calls: list[ToolCall] = []
    used: set[str] = set()
    for entry in entries:
        is_custom = isinstance(entry.get("custom"), dict)
        function = entry.get("custom" if is_custom else "function")
        if not isinstance(function, dict) or not _string(function.get("name")):
            continue
        call_id = _string(entry.get("id"))
        if not call_id or call_id in used:
            call_id = made_id("call_", answer_id, len(calls))
        used.add(call_id)
        arguments = function.get("input" if is_custom else "arguments")
        calls.append(
            ToolCall(
                id=call_id,
                name=function["name"],
                arguments=dumps_text(arguments) if isinstance(arguments, dict | list) else _string(arguments),
                is_custom=is_custom,
                state=google_state(entry),
            )
        )
    return calls


# Writing.


def write_answer(answer: Answer, request: Request, carrier: Carrier) -> dict[str, Any]:
    """Write an answer for a caller."""
    message = _message(answer, request, carrier)
    has_calls = "tool_calls" in message or "function_call" in message
    choice: dict[str, Any] = {
        "index": 0,
        "message": message,
        "logprobs": _logprobs(answer.parts),
        "finish_reason": write_reason(answer.stop, has_calls, request.uses_functions),
    }
    if answer.stop_sequence is not None:
        choice["stop_sequence"] = answer.stop_sequence
    body: dict[str, Any] = {
        "id": answer_id(answer.id),
        "object": "chat.completion",
        "created": answer.created if answer.created is not None else int(time.time()),
        "model": answer.model or request.model,
        "choices": [choice],
        "usage": write_usage(answer.usage) if answer.usage is not None else None,
        "system_fingerprint": None,
    }
    if answer.service_tier in TIERS:
        body["service_tier"] = answer.service_tier
    return body


def answer_id(given: str) -> str:
    """Write the id of an answer as OpenAI's look."""
    return given if given.startswith(ID_PREFIX) else ID_PREFIX + given


def _message(answer: Answer, request: Request, carrier: Carrier) -> dict[str, Any]:
    texts = [part for part in answer.parts if isinstance(part, Text)]
    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    content = "".join(part.text for part in texts)
    refusal = "".join(part.text for part in answer.parts if isinstance(part, Refusal))
    if not content and not refusal and answer.stop is Stop.FILTERED:
        refusal = answer.explanation or ""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": content if content or not (calls or refusal) else None,
        "refusal": refusal or None,
        "annotations": write_citations(texts),
    }
    verbatim = [cited.verbatim for part in texts for cited in part.citations if cited.verbatim is not None]
    message |= {"citations": verbatim} if verbatim else {}
    message |= _calls(calls, request, carrier) | _reasoning(answer.parts, request, carrier)
    for text in texts:
        message |= {"phase": text.phase} if text.phase else {}
        message |= {"extra_content": google_extra(carrier.seal(text.state))} if text.state is not None else {}
    return message


def write_citations(texts: Sequence[Text]) -> list[dict[str, Any]]:
    """Write the web pages that texts cite, with places in the whole content."""
    written: list[dict[str, Any]] = []
    start = 0
    for text in texts:
        written += [annotation(cited, start, len(text.text)) for cited in text.citations if cited.url]
        start += len(text.text)
    return written


def annotation(cited: Citation, start: int, length: int) -> dict[str, Any]:
    """Write a web page that a text cites, which begins at a place of the content; without a place, all of the text."""
    page = {
        "start_index": start + (cited.start or 0),
        "end_index": start + (length if cited.end is None else cited.end),
        "title": cited.title,
        "url": cited.url,
    }
    return {"type": "url_citation", "url_citation": page}


def _calls(calls: Sequence[ToolCall], request: Request, carrier: Carrier) -> dict[str, Any]:
    if not calls:
        return {}
    if request.uses_functions:
        return {"function_call": {"name": calls[0].name, "arguments": calls[0].arguments or "{}"}}
    return {"tool_calls": [_call(call, carrier) for call in calls]}


def _call(call: ToolCall, carrier: Carrier) -> dict[str, Any]:
    written: dict[str, Any] = {"id": call.id}
    if call.is_custom:
        written |= {"type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    else:
        written |= {"type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
    if call.state is not None:
        written["extra_content"] = google_extra(carrier.seal(call.state))
    return written


def is_shown(request: Request) -> bool:
    """Whether the caller sees reasoning; one that says nothing does."""
    return request.reasoning is None or request.reasoning.is_shown is not False


def _reasoning(parts: Iterable[Part], request: Request, carrier: Carrier) -> dict[str, Any]:
    """Write the reasoning: as text, and as the entries that carry the state of each block."""
    texts: list[str] = []
    details: list[dict[str, Any]] = []
    characters, calls = 0, 0
    for part in parts:
        if isinstance(part, Thinking) and (part.text or part.state is not None):
            texts += [part.text] if part.text else []
            detail = _detail(len(details), part, carrier)
            details.append(detail | position(characters, calls))
        characters += len(part.text) if isinstance(part, Text) else 0
        calls += isinstance(part, ToolCall)
    if not is_shown(request):
        details = [detail for detail in details if "signature" in detail or "data" in detail]
        details = [detail | {"index": index} for index, detail in enumerate(details)]
        texts = []
    return ({"reasoning_content": "\n\n".join(texts)} if texts else {}) | (
        {"reasoning_details": details} if details else {}
    )


def _detail(index: int, part: Thinking, carrier: Carrier) -> dict[str, Any]:
    detail: dict[str, Any] = {"index": index, "type": "reasoning.text"}
    if part.state is not None:
        detail = sealed_detail(index, part.state, carrier, part.is_redacted)
    return detail | ({"text": part.text} if part.text else {})


def position(characters: int, calls: int) -> dict[str, Any]:
    """Write what stands before a block of reasoning, if anything does."""
    return {"position": {"content": characters, "tool_calls": calls}} if characters or calls else {}


def _logprobs(parts: Iterable[Part]) -> dict[str, Any] | None:
    tokens = [token for part in parts if isinstance(part, Text) for token in part.logprobs or ()]
    return {"content": tokens, "refusal": None} if tokens else None
