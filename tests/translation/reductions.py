"""The final objects of the official SDKs, reduced to facts. Nothing of the gateway's code has a part in this."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from anthropic.types import Message
from anthropic.types.beta import BetaMessage
from google.genai import types as genai
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from tests.translation.facts import Call, Facts, Stop, Usage, arguments_of

CHAT_STOPS: dict[str | None, Stop] = {"length": "length", "content_filter": "filtered"}
MESSAGES_STOPS: dict[str | None, Stop] = {
    "end_turn": "end",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "filtered",
}
CONVERSE_STOPS: dict[str | None, Stop] = {
    **{name: stop for name, stop in MESSAGES_STOPS.items() if name != "refusal"},
    "content_filtered": "filtered",
    "guardrail_intervened": "filtered",
}
GEMINI_FILTERS = frozenset(
    (
        *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION"),
    )
)


def completion(snapshot: ChatCompletion) -> ChatCompletion:
    """Give what the stream helper has put together as a plain object: its own class checks what was asked for."""
    members: dict[str, Any] = snapshot.to_dict()
    return ChatCompletion.construct(**members)


def of_chat(completion: ChatCompletion) -> Facts:
    """Reduce a chat completion: its first choice."""
    choice = completion.choices[0]
    message = choice.message
    extra = message.model_extra or {}
    calls = []
    for call in message.tool_calls or ():
        if call.type == "custom":
            # The SDK's stream helper does not know the type, and leaves it a dict.
            custom: Any = call.custom
            made = custom if isinstance(custom, dict) else custom.to_dict()
            calls.append(Call(call.id, made["name"], made["input"], is_custom=True))
        else:
            calls.append(Call(call.id, call.function.name, arguments_of(call.function.arguments)))
    if message.function_call is not None:
        calls.append(Call("", message.function_call.name, arguments_of(message.function_call.arguments)))
    reasoning = extra.get("reasoning_content") or extra.get("reasoning") or ""
    # Google's compatible endpoint and several local servers say "stop" where tools are called.
    stop = CHAT_STOPS.get(choice.finish_reason) or ("tool_use" if calls else "end")
    return Facts(
        text=message.content or "",
        refusal=message.refusal or "",
        reasoning=(reasoning,) if reasoning else (),
        calls=tuple(calls),
        stop=stop,
        usage=_chat_usage(completion),
    )


def _chat_usage(completion: ChatCompletion) -> Usage | None:
    usage = completion.usage
    if usage is None:
        return None
    prompt, completed = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = (prompt and prompt.cached_tokens) or 0
    written = (prompt and (prompt.model_extra or {}).get("cache_write_tokens", prompt.cache_write_tokens)) or 0
    reasoning = (completed and completed.reasoning_tokens) or 0
    return Usage(
        input=usage.prompt_tokens - cached - written,
        cache_read=cached,
        cache_write=written,
        output=usage.completion_tokens - reasoning,
        reasoning=reasoning,
    )


def of_responses(response: Response) -> Facts:
    """Reduce a response."""
    texts, refusals, reasoning, calls = [], [], [], []
    for item in response.output:
        if item.type == "message":
            texts += [part.text for part in item.content if part.type == "output_text"]
            refusals += [part.refusal for part in item.content if part.type == "refusal"]
        elif item.type == "reasoning":
            shown = [part.text for part in item.summary] or [part.text for part in item.content or ()]
            reasoning += [text for text in shown if text]
        elif item.type == "function_call":
            calls.append(Call(item.call_id, item.name, arguments_of(item.arguments)))
        elif item.type == "custom_tool_call":
            calls.append(Call(item.call_id, item.name, item.input, is_custom=True))
    stop: Stop = "tool_use" if calls else "end"
    if response.status == "incomplete":
        details = response.incomplete_details
        stop = "filtered" if details and details.reason == "content_filter" else "length"
    else:
        assert response.status in ("completed", None), response.status
    return Facts(
        text="".join(texts),
        refusal="".join(refusals),
        reasoning=tuple(reasoning),
        calls=tuple(calls),
        stop=stop,
        usage=_responses_usage(response),
    )


def _responses_usage(response: Response) -> Usage | None:
    usage = response.usage
    if usage is None:
        return None
    given, made = usage.input_tokens_details, usage.output_tokens_details
    cached = given.cached_tokens or 0
    # Older recordings lack the member.
    written = getattr(given, "cache_write_tokens", None) or 0
    reasoning = (made and made.reasoning_tokens) or 0
    return Usage(
        input=usage.input_tokens - cached - written,
        cache_read=cached,
        cache_write=written,
        output=usage.output_tokens - reasoning,
        reasoning=reasoning,
    )


def of_messages(message: Message | BetaMessage) -> Facts:
    """Reduce a message. What a provider's own tools did is none of a caller's business."""
    texts = [block.text for block in message.content if block.type == "text"]
    reasoning = [block.thinking for block in message.content if block.type == "thinking" and block.thinking]
    calls = [
        # Arguments of a stream are pieced together as bytes; those that never came stay an empty object.
        Call(block.id, block.name, dict(block.input) if isinstance(block.input, dict) else {})
        for block in message.content
        if block.type == "tool_use"
    ]
    usage, details = message.usage, message.usage.output_tokens_details
    # How much was reasoning is told only by newer models.
    thought = (details and details.thinking_tokens) or 0
    stop_details = message.stop_details
    return Facts(
        text="".join(texts),
        refusal=getattr(stop_details, "explanation", None) or "",
        reasoning=tuple(reasoning),
        calls=tuple(calls),
        # The provider's pause of its own tools, and reasons that are not known yet, are an end to everybody else.
        stop=MESSAGES_STOPS.get(message.stop_reason, "end"),
        usage=Usage(
            input=usage.input_tokens,
            cache_read=usage.cache_read_input_tokens or 0,
            cache_write=usage.cache_creation_input_tokens or 0,
            output=usage.output_tokens - thought,
            reasoning=thought,
        ),
    )


def of_gemini(chunks: Iterable[genai.GenerateContentResponse]) -> Facts:
    """Reduce the chunks of an answer, or the one object that it is."""
    texts, thoughts, calls = [], [], []
    reason, refusal, usage = None, "", None
    for chunk in chunks:
        usage = chunk.usage_metadata or usage
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason is not None:
            reason, refusal = "SAFETY", chunk.prompt_feedback.block_reason_message or ""
        candidate = chunk.candidates[0] if chunk.candidates else None
        if candidate is None:
            continue
        if candidate.finish_reason is not None:
            reason = str(candidate.finish_reason.value)
            if reason in GEMINI_FILTERS:
                refusal = candidate.finish_message or ""
        for part in (candidate.content and candidate.content.parts) or ():
            if part.function_call is not None:
                call = part.function_call
                calls.append(Call(call.id or "", call.name or "", dict(call.args or {})))
            elif part.text and part.thought:
                thoughts.append(part.text)
            elif part.text:
                texts.append(part.text)
    assert reason is not None, "the answer has no end"
    stop: Stop = "tool_use" if calls else "end"
    if reason == "MAX_TOKENS":
        stop = "length"
    elif reason in GEMINI_FILTERS:
        stop = "filtered"
    return Facts(
        text="".join(texts),
        refusal=refusal,
        reasoning=("".join(thoughts),) if thoughts else (),
        calls=tuple(calls),
        stop=stop,
        usage=_gemini_usage(usage),
    )


def _gemini_usage(usage: genai.GenerateContentResponseUsageMetadata | None) -> Usage | None:
    if usage is None or usage.prompt_token_count is None:
        return None
    prompt = usage.prompt_token_count + (usage.tool_use_prompt_token_count or 0)
    cached = usage.cached_content_token_count or 0
    return Usage(
        input=prompt - cached,
        cache_read=cached,
        cache_write=0,
        output=usage.candidates_token_count or 0,
        reasoning=usage.thoughts_token_count or 0,
    )


def of_converse(answer: dict[str, Any]) -> Facts:
    """Reduce what botocore has parsed of a whole answer, or what its events come to."""
    blocks = answer["output"]["message"]["content"]
    texts = [part["text"] for block in blocks for part in (block, *block.get("citationsContent", {}).get("content", ()))
             if "text" in part]  # fmt: skip
    thoughts = [block["reasoningContent"].get("reasoningText", {}).get("text", "") for block in blocks
                if "reasoningContent" in block]  # fmt: skip
    usage = answer["usage"]
    return Facts(
        text="".join(texts),
        reasoning=tuple(text for text in thoughts if text),
        calls=tuple(
            Call(block["toolUse"]["toolUseId"], block["toolUse"]["name"], block["toolUse"]["input"])
            for block in blocks
            if "toolUse" in block
        ),
        stop=CONVERSE_STOPS[answer["stopReason"]],
        usage=Usage(
            input=usage["inputTokens"],
            cache_read=usage.get("cacheReadInputTokens", 0),
            cache_write=usage.get("cacheWriteInputTokens", 0),
            output=usage["outputTokens"],
            reasoning=0,
        ),
    )
