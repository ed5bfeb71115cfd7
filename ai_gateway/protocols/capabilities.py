"""What a model can do and what it refuses: one value per model, which the writers of requests go by.

The values are data: the table is `ai_gateway/capabilities.toml`, where every row names its source; settings override it
per provider and model. No module knows the name of a model.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Capabilities(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model's row. The defaults suit a model that nothing is known of, behind an OpenAI-compatible API."""

    # How it is reached.

    formats: tuple[str, ...] = ()
    """The wire formats by which it can be reached, the best for a translated call first. Empty: the provider's."""
    tools_need_responses: bool = False
    """Whether function tools together with reasoning are refused by chat completions and need OpenAI's Responses."""

    # Limits.

    context_window: int = 0
    """How many tokens it takes in and gives out together. A call that is clearly longer goes to another target of its
    route, if there is one. 0: nobody knows."""
    max_output_tokens: int = 4096
    """What a request gets that names no limit, where the format demands one (Anthropic): the model's maximum."""
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """What chat completions call the limit: `max_completion_tokens`, or `max_tokens` where that one is unknown."""
    max_stop: int = 4
    """How many stop sequences it takes. 0: it refuses the field."""

    # Sampling.

    sampling: Literal["any", "without_reasoning", "never"] = "any"
    """Whether it takes `temperature` and `top_p`: "any", "without_reasoning" (only with reasoning off), "never"."""
    both_samplings: bool = True
    """Whether `temperature` and `top_p` may come together."""
    top_k: bool = False
    """Whether it takes `top_k`."""
    penalties: bool = True
    """Whether it takes frequency and presence penalties."""
    seed: bool = True
    """Whether it takes a seed."""
    logprobs: bool = True
    """Whether it tells the probabilities of tokens."""

    # Reasoning.

    reasoning: Literal["none", "effort", "budget", "adaptive", "level"] = "none"
    """How reasoning is asked for: "none" (it cannot), "effort" (OpenAI), "budget" (tokens), "adaptive" (Anthropic's
    `thinking: adaptive` with an effort), "level" (Gemini 3)."""
    efforts: tuple[Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"], ...] = ()
    """The efforts it takes, weakest first, `none` included if that switches reasoning off."""
    reasons_by_default: bool = False
    """Whether it reasons if the request says nothing."""
    can_disable_reasoning: bool = True
    """Whether reasoning can be switched off."""
    min_budget: int = 1024
    """The smallest budget of reasoning tokens."""
    max_budget: int = 32768
    """The largest."""
    shows_reasoning: bool = True
    """Whether reasoning comes back without being asked for. If not, a caller who wants to see it has to be said so
    (Anthropic's `display: summarized`)."""
    reasoning_history: Literal["drop", "reasoning_content", "reasoning_details"] = "drop"
    """What chat completions want of earlier reasoning: "drop", "reasoning_content" (DeepSeek and others: required in
    tool loops), "reasoning_details" (OpenRouter)."""

    # Tools.

    tools: bool = True
    """Whether it calls functions."""
    strict_tools: bool = False
    """Whether it takes `strict` for a function."""
    hosted_tools: Literal["refuse", "drop"] = "refuse"
    """What becomes of a tool that only the caller's own provider could run, such as a web search: "refuse" the request,
    or "drop" the tool and say so. An agent that always offers one (Codex) wants "drop"."""
    custom_tools: bool = False
    """Whether it takes tools with free text (OpenAI's `custom`)."""
    parallel_flag: bool = True
    """Whether it takes `parallel_tool_calls`."""
    forced_tool_choice: Literal["always", "without_reasoning", "adaptive", "never"] = "always"
    """When a tool may be forced: "always", "without_reasoning" (not with reasoning on), "adaptive" (not with a budget,
    but with adaptive thinking), "never"."""
    tool_id_length: int = 0
    """If not 0, ids of calls must be exactly so many letters and digits (Mistral: 9)."""
    result_media: bool = False
    """Whether the result of a tool may hold images and files; if not they go into the user turn behind it."""

    # Output.

    structured_outputs: bool = True
    """Whether it can be held to a JSON Schema."""
    json_mode: bool = True
    """Whether it can be held to any JSON object."""
    json_with_tools: bool = True
    """Whether both of these work beside function tools."""

    prefill: Literal["", "native", "prefix", "continue_final_message"] = ""
    """How it goes on with the beginning of an answer, where the last turn is the assistant's: "native" (by itself),
    "prefix" (the message says `prefix: true`), "continue_final_message" (the body does), or "" (it begins anew)."""

    # Input.

    system_role: Literal["system", "developer"] = "system"
    """The role of the operator's instructions in chat completions and Responses: "system" or "developer"."""
    mid_system: bool = True
    """Whether instructions may stand in the middle of a conversation."""
    string_content: bool = False
    """Whether text of system, assistant and tool messages must be one string and no list of parts."""
    user_first: bool = False
    """Whether a conversation must begin with the user's turn."""
    images: bool = True
    """Whether it sees images."""
    image_urls: bool = True
    """Whether an image may be given by its URL."""
    files: bool = True
    """Whether it reads documents."""
    audio: bool = False
    """Whether it hears sound."""
    cache_marks: bool = False
    """Whether chat completions take Anthropic's `cache_control` (OpenRouter), and Converse its cache points."""

    # Small matters.

    stream_usage: bool = True
    """Whether chat completions take `stream_options`."""
    tells_usage: bool = False
    """Whether streams of chat completions tell what they used without being asked."""
    user_field: Literal["user", "safety_identifier", ""] = "user"
    """Where the caller's user goes: "user", "safety_identifier", or "" for nowhere."""
    openai_hints: bool = False
    """Whether it is OpenAI itself (or Azure), which takes `store`, `metadata`, `verbosity`, `prompt_cache_key` and
    `service_tier`."""
    thinking_signature: bool = True
    """Whether signed reasoning is taken back (Anthropic, Gemini) at all."""


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request is going to be written to: the provider's alias, its name for the model, the format, and what
    the model can do."""

    provider: str
    model: str
    format: str
    capabilities: Capabilities = Capabilities()
