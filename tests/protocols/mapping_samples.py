"""A sample of each member of each format: what the tables of translation are made of."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJcOkw7zDtsOfCg=="
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"], "additionalProperties": False}

GEMINI_SAFETY = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
OF_ANTHROPIC: dict[str, Any] = {
    "container": "c",
    "mcp_servers": [{"type": "url", "url": "https://example.org", "name": "x"}],
    "anthropic_beta": ["context-1m-2025-08-07"],
    "context_management": {"edits": []},
    "speed": "fast",
    "inference_geo": "us",
}


class Sample(NamedTuple):
    """A member as people call it, and the members that a plain request gets with it (and, for comparison, without)."""

    name: str
    members: dict[str, Any]
    without: dict[str, Any] | None = None


def chat_user(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, *parts]}]}


CHAT_FUNCTION = {"name": "look_up", "description": "Looks up", "parameters": SCHEMA}
CHAT_TOOL = {"type": "function", "function": CHAT_FUNCTION}
CHAT_CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"x":"y"}'}}

CHAT = [
    Sample("system message", {"messages": [{"role": "system", "content": "Be brief"}, *chat_user()["messages"]]}),
    Sample("`max_completion_tokens`, `max_tokens`", {"max_tokens": 100}),
    Sample("`temperature`", {"temperature": 0.5}),
    Sample("`top_p`", {"top_p": 0.9}),
    Sample("`stop`", {"stop": ["END"]}),
    Sample("`seed`", {"seed": 7}),
    Sample("`frequency_penalty`", {"frequency_penalty": 0.5}),
    Sample("`presence_penalty`", {"presence_penalty": 0.5}),
    Sample("`logit_bias`", {"logit_bias": {"50256": -100}}),
    Sample("`n` above 1", {"n": 2}),
    Sample("`logprobs`", {"logprobs": True, "top_logprobs": 2}),
    Sample("`reasoning_effort`", {"reasoning_effort": "high"}),
    Sample("`verbosity`", {"verbosity": "low"}),
    Sample(
        "`response_format` `json_schema`",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}},
    ),
    Sample("`response_format` `json_object`", {"response_format": {"type": "json_object"}}),
    Sample("function tools", {"tools": [CHAT_TOOL]}),
    Sample(
        "`strict` of a function",
        {"tools": [{"type": "function", "function": {**CHAT_FUNCTION, "strict": True}}]},
        {"tools": [CHAT_TOOL]},
    ),
    Sample("custom tools", {"tools": [{"type": "custom", "custom": {"name": "write", "description": "Writes"}}]}),
    Sample("`tool_choice` `required`", {"tools": [CHAT_TOOL], "tool_choice": "required"}, {"tools": [CHAT_TOOL]}),
    Sample(
        "`tool_choice` of one function",
        {"tools": [CHAT_TOOL], "tool_choice": {"type": "function", "function": {"name": "look_up"}}},
        {"tools": [CHAT_TOOL]},
    ),
    Sample(
        "`parallel_tool_calls: false`", {"tools": [CHAT_TOOL], "parallel_tool_calls": False}, {"tools": [CHAT_TOOL]}
    ),
    Sample(
        "calls and results of tools",
        {
            "messages": [
                *chat_user()["messages"],
                {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "z"},
            ],
            "tools": [CHAT_TOOL],
        },
        {"tools": [CHAT_TOOL]},
    ),
    Sample(
        "image as data URL",
        chat_user({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}),
        chat_user(),
    ),
    Sample(
        "image by URL", chat_user({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}), chat_user()
    ),
    Sample(
        "file as data",
        chat_user({"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}),
        chat_user(),
    ),
    Sample("file by id", chat_user({"type": "file", "file": {"file_id": "file-1"}}), chat_user()),
    Sample("audio", chat_user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}), chat_user()),
    Sample("`user`, `safety_identifier`", {"user": "customer-7"}),
    Sample("`metadata`", {"metadata": {"a": "b"}}),
    Sample("`store`", {"store": True}),
    Sample("`service_tier`", {"service_tier": "flex"}),
    Sample("`prompt_cache_key`", {"prompt_cache_key": "k"}),
    Sample(
        "`cache_control` on a part",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]}
            ]
        },
        chat_user(),
    ),
    Sample("`prediction`", {"prediction": {"type": "content", "content": "x"}}),
    Sample("`modalities` with audio", {"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "wav"}}),
    Sample("`web_search_options`", {"web_search_options": {}}),
    Sample("`functions` (the older tools)", {"functions": [CHAT_FUNCTION]}),
    Sample(
        "`function_call` of one function",
        {"functions": [CHAT_FUNCTION], "function_call": {"name": "look_up"}},
        {"functions": [CHAT_FUNCTION]},
    ),
    Sample("`top_k`", {"top_k": 5}),
    Sample("`random_seed` (Mistral)", {"random_seed": 7}),
    Sample("`reasoning` (OpenRouter)", {"reasoning": {"effort": "high"}}),
    Sample("`include_reasoning` (OpenRouter)", {"include_reasoning": True}),
    Sample(
        "`thinking` (Anthropic)",
        {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 8192}},
        {"max_tokens": 9000},
    ),
    Sample("`output_config` (Anthropic)", {"output_config": {"effort": "high"}}),
    Sample("`cache_control` (Anthropic)", {"cache_control": {"type": "ephemeral"}}),
    *(Sample(f"`{name}` (Anthropic)", {name: value}) for name, value in OF_ANTHROPIC.items()),
    Sample("`safety_settings` (Google)", {"safety_settings": GEMINI_SAFETY}),
    Sample("`cached_content` (Google)", {"cached_content": "cachedContents/1"}),
    Sample(
        "`extra_body.google.thinking_config` (Google)",
        {"extra_body": {"google": {"thinking_config": {"thinking_budget": 8192}}}},
    ),
    Sample("a member that nobody knows", {"my_own": 1}),
]

RESPONSES_TOOL = {
    "type": "function",
    "name": "look_up",
    "description": "Looks up",
    "parameters": SCHEMA,
    "strict": False,
}


def responses_user(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}, *parts]}]}


RESPONSES = [
    Sample("`instructions`", {"instructions": "Be brief"}),
    Sample("`max_output_tokens`", {"max_output_tokens": 100}),
    Sample("`temperature`", {"temperature": 0.5}),
    Sample("`top_p`", {"top_p": 0.9}),
    Sample("`reasoning.effort`", {"reasoning": {"effort": "high"}}),
    Sample(
        "`reasoning.summary`", {"reasoning": {"effort": "high", "summary": "auto"}}, {"reasoning": {"effort": "high"}}
    ),
    Sample(
        "`text.format` `json_schema`",
        {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}}},
    ),
    Sample("`text.verbosity`", {"text": {"verbosity": "low"}}),
    Sample("function tools", {"tools": [RESPONSES_TOOL]}),
    Sample("custom tools", {"tools": [{"type": "custom", "name": "write", "description": "Writes"}]}),
    Sample("hosted tools (`web_search`, …)", {"tools": [{"type": "web_search"}]}),
    Sample(
        "`tool_choice` `required`", {"tools": [RESPONSES_TOOL], "tool_choice": "required"}, {"tools": [RESPONSES_TOOL]}
    ),
    Sample(
        "`parallel_tool_calls: false`",
        {"tools": [RESPONSES_TOOL], "parallel_tool_calls": False},
        {"tools": [RESPONSES_TOOL]},
    ),
    Sample(
        "`function_call`, `function_call_output`",
        {
            "input": [
                {"role": "user", "content": "Hi"},
                {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "z"},
            ],
            "tools": [RESPONSES_TOOL],
        },
        {"tools": [RESPONSES_TOOL]},
    ),
    Sample(
        "`input_image`",
        responses_user({"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}),
        responses_user(),
    ),
    Sample(
        "`input_file` as data",
        responses_user({"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}),
        responses_user(),
    ),
    Sample("`input_file` by id", responses_user({"type": "input_file", "file_id": "file-1"}), responses_user()),
    Sample("`include` `reasoning.encrypted_content`", {"include": ["reasoning.encrypted_content"]}),
    Sample("`top_logprobs`", {"top_logprobs": 2}),
    Sample("`truncation: auto`", {"truncation": "auto"}),
    Sample("`store`", {"store": True}),
    Sample("`previous_response_id`", {"previous_response_id": "resp_1"}),
    Sample("`conversation`", {"conversation": "conv_1"}),
    Sample("`background: true`", {"background": True}),
    Sample("`prompt`", {"prompt": {"id": "pmpt_1"}}),
    Sample("`max_tool_calls`", {"max_tool_calls": 3}),
    Sample("`user`, `safety_identifier`", {"safety_identifier": "customer-7"}),
    Sample("`metadata`", {"metadata": {"a": "b"}}),
    Sample("`service_tier`", {"service_tier": "flex"}),
    Sample("`prompt_cache_key`", {"prompt_cache_key": "k"}),
    Sample("`top_k`", {"top_k": 5}),
    Sample(
        "`thinking` (Anthropic)",
        {"max_output_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 8192}},
        {"max_output_tokens": 9000},
    ),
    Sample("`output_config` (Anthropic)", {"output_config": {"effort": "high"}}),
    Sample("`cache_control` (Anthropic)", {"cache_control": {"type": "ephemeral"}}),
    *(
        Sample(f"`{name}` (Anthropic)", {name: OF_ANTHROPIC[name]})
        for name in ("container", "mcp_servers", "anthropic_beta")
    ),
    Sample("`safety_settings` (Google)", {"safety_settings": GEMINI_SAFETY}),
    Sample("`cached_content` (Google)", {"cached_content": "cachedContents/1"}),
]

MESSAGES_TOOL = {"name": "look_up", "description": "Looks up", "input_schema": SCHEMA}


def messages_user(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, *blocks]}]}


MESSAGES = [
    Sample("`system`", {"system": "Be brief"}),
    Sample("`max_tokens`", {"max_tokens": 100}, {"max_tokens": 50}),
    Sample("`temperature`", {"temperature": 0.5}),
    Sample("`top_p`", {"top_p": 0.9}),
    Sample("`top_k`", {"top_k": 5}),
    Sample("`stop_sequences`", {"stop_sequences": ["END"]}),
    Sample(
        "`thinking` with a budget",
        {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 8192}},
        {"max_tokens": 9000},
    ),
    Sample("`output_config.effort`", {"output_config": {"effort": "high"}}),
    Sample("`output_config.format`", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
    Sample("tools", {"tools": [MESSAGES_TOOL]}),
    Sample("server tools (`web_search_…`)", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    Sample("client tools (`bash_…`)", {"tools": [{"type": "bash_20250124", "name": "bash"}]}),
    Sample(
        "`tool_choice` `any`", {"tools": [MESSAGES_TOOL], "tool_choice": {"type": "any"}}, {"tools": [MESSAGES_TOOL]}
    ),
    Sample(
        "`disable_parallel_tool_use`",
        {"tools": [MESSAGES_TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {"tools": [MESSAGES_TOOL]},
    ),
    Sample(
        "`tool_use`, `tool_result`",
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"x": "y"}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "z"}]},
            ],
            "tools": [MESSAGES_TOOL],
        },
        {"tools": [MESSAGES_TOOL]},
    ),
    Sample(
        "image in base64",
        messages_user({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
        messages_user(),
    ),
    Sample(
        "image by URL",
        messages_user({"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}),
        messages_user(),
    ),
    Sample(
        "document (PDF)",
        messages_user({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}),
        messages_user(),
    ),
    Sample(
        "document by id",
        messages_user({"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
        messages_user(),
    ),
    Sample(
        "`cache_control` on a block",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]}
            ]
        },
        messages_user(),
    ),
    Sample("`metadata.user_id`", {"metadata": {"user_id": "customer-7"}}),
    Sample("`service_tier`", {"service_tier": "standard_only"}),
    Sample("`cache_control` of the whole request", {"cache_control": {"type": "ephemeral"}}),
    Sample(
        "`output_format` (the older `output_config.format`)",
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
    ),
    Sample("`thread`", {"thread": "thread_1"}),
    *(Sample(f"`{name}`", {name: value}) for name, value in OF_ANTHROPIC.items() if name != "anthropic_beta"),
]

GEMINI_TOOL = {"functionDeclarations": [{"name": "look_up", "description": "Looks up", "parametersJsonSchema": SCHEMA}]}


def gemini_user(*parts: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "Hi"}, *parts]}]}


def generation(**config: Any) -> dict[str, Any]:
    return {"generationConfig": config}


GEMINI = [
    Sample("`systemInstruction`", {"systemInstruction": {"parts": [{"text": "Be brief"}]}}),
    Sample("`maxOutputTokens`", generation(maxOutputTokens=100)),
    Sample("`temperature`", generation(temperature=0.5)),
    Sample("`topP`", generation(topP=0.9)),
    Sample("`topK`", generation(topK=5)),
    Sample("`stopSequences`", generation(stopSequences=["END"])),
    Sample("`seed`", generation(seed=7)),
    Sample("`frequencyPenalty`", generation(frequencyPenalty=0.5)),
    Sample("`candidateCount` above 1", generation(candidateCount=2)),
    Sample("`responseJsonSchema`", generation(responseMimeType="application/json", responseJsonSchema=SCHEMA)),
    Sample("`responseMimeType` JSON", generation(responseMimeType="application/json")),
    Sample("`thinkingConfig.thinkingBudget`", generation(thinkingConfig={"thinkingBudget": 8192})),
    Sample("`thinkingConfig.thinkingLevel`", generation(thinkingConfig={"thinkingLevel": "HIGH"})),
    Sample("`responseModalities` with audio", generation(responseModalities=["AUDIO"])),
    Sample("`functionDeclarations`", {"tools": [GEMINI_TOOL]}),
    Sample("`googleSearch` and other hosted tools", {"tools": [{"googleSearch": {}}]}),
    Sample(
        "`functionCallingConfig` `ANY`",
        {"tools": [GEMINI_TOOL], "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
        {"tools": [GEMINI_TOOL]},
    ),
    Sample(
        "`functionCall`, `functionResponse`",
        {
            "contents": [
                {"role": "user", "parts": [{"text": "Hi"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "look_up", "args": {"x": "y"}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "look_up", "response": {"result": "z"}}}]},
            ],
            "tools": [GEMINI_TOOL],
        },
        {"tools": [GEMINI_TOOL]},
    ),
    Sample("`inlineData` image", gemini_user({"inlineData": {"mimeType": "image/png", "data": PNG}}), gemini_user()),
    Sample(
        "`inlineData` PDF", gemini_user({"inlineData": {"mimeType": "application/pdf", "data": PDF}}), gemini_user()
    ),
    Sample("`inlineData` audio", gemini_user({"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}), gemini_user()),
    Sample(
        "`fileData` by https URL",
        gemini_user({"fileData": {"mimeType": "image/png", "fileUri": "https://example.org/a.png"}}),
        gemini_user(),
    ),
    Sample("`safetySettings`", {"safetySettings": GEMINI_SAFETY}),
    Sample("`cachedContent`", {"cachedContent": "cachedContents/1"}),
    Sample("`presencePenalty`", generation(presencePenalty=0.5)),
    Sample("`responseLogprobs`, `logprobs`", generation(responseLogprobs=True, logprobs=2)),
    Sample(
        "`responseSchema` (the older schema)", generation(responseMimeType="application/json", responseSchema=SCHEMA)
    ),
    Sample("`serviceTier`", {"serviceTier": "flex"}),
    Sample("`labels`", {"labels": {"a": "b"}}),
]

CONVERSE_TOOL = {"toolSpec": {"name": "look_up", "description": "Looks up", "inputSchema": {"json": SCHEMA}}}


def converse_user(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"text": "Hi"}, *blocks]}]}


CONVERSE = [
    Sample("`system`", {"system": [{"text": "Be brief"}]}),
    Sample("`maxTokens`", {"inferenceConfig": {"maxTokens": 100}}),
    Sample("`temperature`", {"inferenceConfig": {"temperature": 0.5}}),
    Sample("`topP`", {"inferenceConfig": {"topP": 0.9}}),
    Sample("`stopSequences`", {"inferenceConfig": {"stopSequences": ["END"]}}),
    Sample("`toolConfig.tools`", {"toolConfig": {"tools": [CONVERSE_TOOL]}}),
    Sample(
        "`toolChoice` `any`",
        {"toolConfig": {"tools": [CONVERSE_TOOL], "toolChoice": {"any": {}}}},
        {"toolConfig": {"tools": [CONVERSE_TOOL]}},
    ),
    Sample(
        "`toolUse`, `toolResult`",
        {
            "messages": [
                {"role": "user", "content": [{"text": "Hi"}]},
                {
                    "role": "assistant",
                    "content": [{"toolUse": {"toolUseId": "t1", "name": "look_up", "input": {"x": "y"}}}],
                },
                {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "z"}]}}]},
            ],
            "toolConfig": {"tools": [CONVERSE_TOOL]},
        },
        {"toolConfig": {"tools": [CONVERSE_TOOL]}},
    ),
    Sample("image", converse_user({"image": {"format": "png", "source": {"bytes": PNG}}}), converse_user()),
    Sample(
        "document",
        converse_user({"document": {"format": "pdf", "name": "a", "source": {"bytes": PDF}}}),
        converse_user(),
    ),
    Sample("`cachePoint`", converse_user({"cachePoint": {"type": "default"}}), converse_user()),
    Sample("`guardrailConfig`", {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}),
    Sample(
        "`additionalModelRequestFields.thinking`",
        {
            "inferenceConfig": {"maxTokens": 9000},
            "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 8192}},
        },
        {"inferenceConfig": {"maxTokens": 9000}},
    ),
    Sample("`additionalModelRequestFields.top_k`", {"additionalModelRequestFields": {"top_k": 5}}),
    Sample(
        "`outputConfig.textFormat`",
        {
            "outputConfig": {
                "textFormat": {
                    "type": "json_schema",
                    "structure": {"jsonSchema": {"name": "x", "schema": json.dumps(SCHEMA)}},
                }
            }
        },
    ),
    Sample("`serviceTier`", {"serviceTier": {"type": "flex"}}),
    Sample("`requestMetadata`", {"requestMetadata": {"a": "b"}}),
    Sample("`performanceConfig`", {"performanceConfig": {"latency": "optimized"}}),
]

SAMPLES = {
    "openai_chat": (chat_user(), CHAT),
    "openai_responses": (responses_user(), RESPONSES),
    "anthropic_messages": ({"max_tokens": 50, **messages_user()}, MESSAGES),
    "gemini": (gemini_user(), GEMINI),
    "bedrock_converse": (converse_user(), CONVERSE),
}
"""Each format's plain request, and its samples."""
