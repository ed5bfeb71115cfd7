"""Every recorded request, through the real gateway, to a provider of every other format.

What arrives there must be what the types of the official SDK allow, must say what was said, and must be the same bytes
when it is said again; or the caller is told which member cannot be said to such a provider.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx
import pytest
from anthropic.types.beta.message_create_params import MessageCreateParams
from google.genai import types as genai_types
from openai.types.chat.completion_create_params import CompletionCreateParams
from openai.types.responses.response_create_params import ResponseCreateParams
from pydantic import TypeAdapter

from tests.conftest import GATEWAY_KEY
from tests.protocols.bedrock_converse.botocore_client import checked
from tests.protocols.vectors import Vector
from tests.translation.asked import EXTRACTORS, USUAL_ID, Asked, camel, count_marks, words
from tests.translation.conftest import MODELS, Side
from tests.translation.recordings import generations
from tests.translation.test_answers import CALLERS, names
from tests.upstream import Upstream, json_answer

Json = dict[str, Any]

REQUESTS = [vector for vector in generations() if isinstance(vector.request, dict)]
PAIRS = [(vector, provider) for vector, provider in product(REQUESTS, CALLERS) if provider != vector.format]


# What must be refused, and which member must be named.


@dataclass(frozen=True)
class Rule:
    """Something that cannot be said to some providers. `found` gives the paths of the members that say it, of which one
    must be named, as a pattern."""

    why: str
    source: str
    targets: frozenset[str]
    found: Callable[[Json], Iterator[str]]


def member(name: str) -> Callable[[Json], Iterator[str]]:
    """Find a member of the body."""

    def found(body: Json) -> Iterator[str]:
        if body.get(name) not in (None, False, []):
            yield name

    return found


def all_but(*names: str) -> frozenset[str]:
    return frozenset(CALLERS) - frozenset(names)


def hosted(*types: str) -> Callable[[Json], Iterator[str]]:
    """Find tools of the types that a provider runs itself."""

    def found(body: Json) -> Iterator[str]:
        for place, tool in enumerate(body.get("tools") or ()):
            kind = tool.get("type") or next(iter(tool))
            if any(re.fullmatch(pattern, kind) for pattern in types):
                yield f"tools[{place}]"

    return found


def parts(*tests: Callable[[Json], bool]) -> Callable[[Json], Iterator[str]]:
    """Find parts of messages, at any depth."""

    def walk(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, dict):
            if any(test(value) for test in tests):
                yield path
            for name, each in value.items():
                yield from walk(each, f"{path}.{name}" if path else name)
        elif isinstance(value, list):
            for place, each in enumerate(value):
                yield from walk(each, f"{path}[{place}]")

    def found(body: Json) -> Iterator[str]:
        for name in ("messages", "input", "contents"):
            yield from walk(body.get(name), name)

    return found


def by_web_address(part: Json) -> bool:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    source = part.get("source")
    return (isinstance(url, str) and url.startswith("http")) or (
        isinstance(source, dict) and source.get("type") == "url"
    )


def by_file_address(part: Json) -> bool:
    return "file_url" in part or "fileUri" in part


def by_id(part: Json) -> bool:
    source = part.get("source")
    return isinstance(source, dict) and source.get("type") == "file"


def is_googles_alone(part: Json) -> bool:
    """Whether it is a file that was uploaded to Google, or sound or a film at an address."""
    data = part.get("fileData") or {}
    is_stored = data.get("fileUri", "").startswith(("https://generativelanguage.googleapis.com/", "gs://"))
    return bool(is_stored or data.get("mimeType", "").startswith(("audio/", "video/")))


def is_document_at_address(part: Json) -> bool:
    data = part.get("fileData") or {}
    return bool(data) and not data.get("mimeType", "").startswith("image/")


def follows_no_call(body: Json) -> Iterator[str]:
    """Find results of calls that nobody made: Gemini needs the name, which stands in the call."""
    calls: set[str] = set()
    for turn, message in enumerate(body.get("messages") or ()):
        for place, block in enumerate(message["content"] if isinstance(message["content"], list) else ()):
            if block["type"] == "tool_use":
                calls.add(block["id"])
            elif block["type"] == "tool_result" and block["tool_use_id"] not in calls:
                yield f"messages[{turn}].content[{place}]"


RULES = [
    Rule("several answers", "openai_chat", all_but(), lambda body: iter(["n"] if (body.get("n") or 1) > 1 else [])),
    Rule(
        "an answer in sound",
        "openai_chat",
        all_but(),
        lambda body: iter(["modalities"] if "audio" in (body.get("modalities") or ()) else []),
    ),
    Rule(
        "no token at all",
        "openai_chat",
        all_but(),
        lambda body: (name for name in ("max_tokens", "max_completion_tokens") if body.get(name) == 0),
    ),
    Rule("sound", "openai_chat", all_but("gemini"), parts(lambda part: part.get("type") == "input_audio")),
    Rule("a search", "openai_chat", all_but("anthropic_messages"), member("web_search_options")),
    Rule("a picture on the web", "openai_chat", frozenset(("bedrock_converse",)), parts(by_web_address)),
    Rule("a stored response", "openai_responses", all_but(), member("previous_response_id")),
    Rule("a stored conversation", "openai_responses", all_but(), member("conversation")),
    Rule("an answer later", "openai_responses", all_but(), member("background")),
    Rule("a compacted history", "openai_responses", all_but(), parts(lambda part: part.get("type") == "compaction")),
    Rule("a search", "openai_responses", all_but("anthropic_messages"), hosted("web_search.*")),
    Rule(
        "OpenAI's own tools", "openai_responses", all_but(), hosted("file_search", "mcp", "computer.*", "image_gen.*")
    ),
    Rule("a picture on the web", "openai_responses", frozenset(("bedrock_converse",)), parts(by_web_address)),
    Rule(
        "a file on the web", "openai_responses", frozenset(("bedrock_converse", "openai_chat")), parts(by_file_address)
    ),
    Rule("servers that Anthropic calls", "anthropic_messages", all_but(), member("mcp_servers")),
    Rule(
        "Anthropic's own tools",
        "anthropic_messages",
        all_but(),
        hosted("web_search_.*", "web_fetch_.*", "code_execution_.*", "advisor_.*"),
    ),
    Rule("a file at Anthropic's", "anthropic_messages", all_but(), parts(by_id)),
    Rule(
        "a file for Anthropic's own tools",
        "anthropic_messages",
        all_but(),
        parts(lambda part: part.get("type") == "container_upload"),
    ),
    Rule("a result of no call", "anthropic_messages", frozenset(("gemini",)), follows_no_call),
    Rule("a prompt that Google keeps", "gemini", all_but(), member("cachedContent")),
    Rule("a search", "gemini", all_but("anthropic_messages"), hosted("googleSearch")),
    Rule("Google's own tools", "gemini", all_but(), hosted("codeExecution", "urlContext", "fileSearch")),
    Rule("a file at Google's", "gemini", all_but(), parts(is_googles_alone)),
    Rule("a document on the web", "gemini", frozenset(("openai_chat",)), parts(is_document_at_address)),
    Rule("a file by its address", "gemini", frozenset(("bedrock_converse",)), parts(by_file_address)),
]


def refusals(vector: Vector, provider: str) -> list[tuple[str, str]]:
    """Say why a request must be refused, and what for: the reason, and the member to be named."""
    body = camel(vector.request) if vector.format == "gemini" else vector.request
    return [
        (rule.why, path)
        for rule in RULES
        if rule.source == vector.format and provider in rule.targets
        for path in rule.found(body)
    ]


# What the types of the official SDKs allow.


CHAT_PARAMS: TypeAdapter[Any] = TypeAdapter(CompletionCreateParams)
RESPONSES_PARAMS: TypeAdapter[Any] = TypeAdapter(ResponseCreateParams)
MESSAGES_PARAMS: TypeAdapter[Any] = TypeAdapter(MessageCreateParams)


def as_typed(body: Json) -> Json:
    """Give a request to Responses as the SDK's types have it: there an earlier answer of the model has an id, a status
    and annotations, without which the API takes it just as well."""
    items = body["input"]
    typed = []
    for number, item in enumerate(items if isinstance(items, list) else []):
        if item.get("role") == "assistant" and isinstance(item["content"], list):
            content = [{"annotations": [], **part} for part in item["content"]]
            item = {"id": f"msg_{number}", "status": "completed", **item, "content": content}
        typed.append(item)
    return {**body, "input": typed or items}


def exhausted(value: Any) -> None:
    """Go through all that an adapter gives: it checks what is iterable only when it is asked for."""
    if isinstance(value, Mapping):
        for each in value.values():
            exhausted(each)
    elif not isinstance(value, str | bytes | int | float | None):
        for each in value:
            exhausted(each)


def check_gemini(body: Json) -> None:
    for content in body["contents"]:
        genai_types.Content.model_validate(content)
    for tool in body.get("tools") or ():
        genai_types.Tool.model_validate(tool)
    genai_types.ToolConfig.model_validate(body.get("toolConfig", {}))
    genai_types.GenerationConfig.model_validate(body.get("generationConfig", {}))
    if "systemInstruction" in body:
        genai_types.Content.model_validate(body["systemInstruction"])
    known = {
        "contents",
        "tools",
        "toolConfig",
        "generationConfig",
        "systemInstruction",
        "serviceTier",
        "safetySettings",
    }
    assert body.keys() <= known


CHECKS: Mapping[str, Callable[[Json], object]] = {
    "openai_chat": lambda body: exhausted(CHAT_PARAMS.validate_python(body)),
    "openai_responses": lambda body: exhausted(RESPONSES_PARAMS.validate_python(as_typed(body))),
    "anthropic_messages": lambda body: exhausted(MESSAGES_PARAMS.validate_python(body)),
    "gemini": check_gemini,
    "bedrock_converse": checked,
}


# The tests.


ANSWERS: Mapping[str, Json] = {
    "openai_chat": {
        "id": "chatcmpl-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes"}, "finish_reason": "stop"}],
    },
    "openai_responses": {"id": "resp_1", "status": "completed", "output": []},
    "anthropic_messages": {"id": "msg_1", "type": "message", "content": [], "stop_reason": "end_turn"},
    "gemini": {"candidates": [{"content": {"parts": [{"text": "Yes"}], "role": "model"}, "finishReason": "STOP"}]},
    "bedrock_converse": {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "end_turn"},
}
PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """Who sends what was recorded, byte by byte."""
    with httpx.Client(headers={"authorization": f"Bearer {GATEWAY_KEY}"}) as client:
        yield client


def ask(http: httpx.Client, side: Side, vector: Vector, provider: str) -> httpx.Response:
    """Send a recorded request, for a whole answer, to a model of a provider."""
    model = MODELS[provider]
    body = {name: value for name, value in vector.request.items() if name not in ("stream", "stream_options")}
    if vector.format == "gemini":
        path = f"/v1beta/models/{model}:generateContent"
    else:
        path, body = PATHS[vector.format], {**body, "model": model}
    return http.post(f"{side.gateway.url}{path}", json=body)


@pytest.mark.parametrize(("vector", "provider"), [pair for pair in PAIRS if not refusals(*pair)], ids=names)
def test_a_request_says_the_same(
    direct: Side, upstream: Upstream, http: httpx.Client, vector: Vector, provider: str
) -> None:
    upstream.answer(json_answer(ANSWERS[provider]))
    for _ in range(2):
        answer = ask(http, direct, vector, provider)
        assert answer.status_code == 200, answer.text
    first, second = upstream.requests
    assert bytes(first.body) == bytes(second.body)
    body = first.json()
    CHECKS[provider](body)
    check(vector, EXTRACTORS[vector.format](vector.request), EXTRACTORS[provider](body), provider)


LEAD_INS = (
    r"Theresultofthetoolcall[\w-]+:",
    r"Thisisthecontentthattoolcall[\w-]+gaveback:",
)
"""What stands before pictures that a tool gave back, where they must become a part of the user's turn."""

STANDS_FOR_MEDIA = ("[see the attached content below]", "[see the attached file below]", "The file follows below.")
"""What stands in place of such pictures in the result itself, where it would be empty."""


def check(vector: Vector, source: Asked, sent: Asked, provider: str) -> None:
    """Hold what a provider was asked against what the caller has said."""
    said = words(sent.system)
    if '"json_object"' in json.dumps(vector.request) and provider in ("anthropic_messages", "bedrock_converse"):
        # That the answer is any JSON object can only be asked for in words.
        assert said.startswith(words(source.system))
    else:
        assert said == words(source.system)
    assert user_words(sent, source) == user_words(source, source)
    assert words(sent.assistant) == words(source.assistant)
    assert sent.turns == source.turns
    # Converse knows no choice of "none": the tools are left out where no call has come before.
    assert sent.tools == source.tools or (provider == "bedrock_converse" and "tool_choice_none" in vector.features)
    assert [call[1:] for call in sent.calls] == [call[1:] for call in source.calls]
    for (_, _, given), (_, _, expected) in zip(sent.results, source.results, strict=True):
        # That a tool has failed is said in words where there is no member for it.
        assert given in (expected, f"Error: {expected}") or (given in STANDS_FOR_MEDIA and expected == "")
    assert sorted(sent.media) == sorted(source.media)
    check_ids(source, sent)


def user_words(asked: Asked, source: Asked) -> str:
    """Give what the user says, without the documents, and without what leads in pictures of tools."""
    said = words(asked.user)
    for lead_in in LEAD_INS:
        said = re.sub(lead_in, "", said)
    if [text for _, text in asked.documents] == [text for _, text in source.documents]:
        return said.rstrip(".")  # Converse wants some text beside a document: a full stop.
    for title, text in source.documents:
        assert words([text]) in said
        said = said.replace(words([title, text]), "").replace(words([text]), "")
    return said.rstrip(".")


def check_ids(source: Asked, sent: Asked) -> None:
    """Ids are kept where every format takes them; where not, a call and its result are renamed alike."""
    new = {}
    for (given, *_), (id, *_) in zip(source.calls, sent.calls, strict=True):
        assert not USUAL_ID.fullmatch(given) or id in (given, "")
        new[given] = id
    for (given, *_), (id, *_) in zip(source.results, sent.results, strict=True):
        assert given not in new or given == "" or id == new[given]


@pytest.mark.parametrize(("vector", "provider"), [pair for pair in PAIRS if refusals(*pair)], ids=names)
def test_what_cannot_be_said_is_refused_by_name(
    direct: Side, upstream: Upstream, http: httpx.Client, vector: Vector, provider: str
) -> None:
    answer = ask(http, direct, vector, provider)
    assert answer.status_code == 400, answer.text
    assert upstream.requests == []
    error = answer.json()["error"]
    named = error.get("param") or error["message"]
    assert any(path in named for _, path in refusals(vector, provider)), (named, refusals(vector, provider))
    assert answer.headers["x-should-retry"] == "false"


MARK = {"type": "ephemeral"}
MARKED: Mapping[str, Json] = {
    "anthropic_messages": {
        "max_tokens": 64,
        "system": [{"type": "text", "text": "Be kind.", "cache_control": MARK}],
        "tools": [{"name": "get", "input_schema": {"type": "object"}, "cache_control": MARK}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello", "cache_control": MARK}]}],
    },
    "openai_chat": {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be kind.", "cache_control": MARK}]},
            {"role": "user", "content": [{"type": "text", "text": "Hello", "cache_control": MARK}]},
        ]
    },
}


@pytest.mark.parametrize(
    ("format", "model"),
    [
        ("anthropic_messages", "converse/us.amazon.claude-is-anthropic.v1"),
        ("openai_chat", "messages/claude-sonnet-4-5"),
        ("openai_chat", "converse/anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ],
)
def test_cache_marks_are_kept_between_those_who_have_them(
    direct: Side, upstream: Upstream, http: httpx.Client, format: str, model: str
) -> None:
    provider = "anthropic_messages" if model.startswith("messages/") else "bedrock_converse"
    upstream.answer(json_answer(ANSWERS[provider]))
    body = {**MARKED[format], "model": model}
    assert http.post(f"{direct.gateway.url}{PATHS[format]}", json=body).status_code == 200
    assert count_marks(upstream.request.json()) == count_marks(body) > 1
