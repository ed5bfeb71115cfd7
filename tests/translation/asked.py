"""What a request asks, in whichever format it is written: extracted by the words of the format, not by the gateway."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

USUAL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""Ids of calls that every format takes. Others may be replaced."""


@dataclass
class Asked:
    """What a request says, kind by kind, in its order."""

    system: list[str] = field(default_factory=list)
    user: list[str] = field(default_factory=list)
    assistant: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    """Id, name and arguments."""
    results: list[tuple[str, str, Any]] = field(default_factory=list)
    """Id, name where the format writes it, and what came back."""
    documents: list[tuple[str, str]] = field(default_factory=list)
    """Titles and words of documents that are plain text. Elsewhere they are a part of what the user says."""
    media: list[str] = field(default_factory=list)
    """The hashes of images and files, or their addresses."""
    turns: list[str] = field(default_factory=list)
    """Who speaks, without repetitions: tools answer in the user's place."""
    tools: list[str] = field(default_factory=list)
    """The names of functions."""
    marks: int = 0
    """How many marks there are for the provider's cache."""

    def turn(self, role: str) -> None:
        if not self.turns or self.turns[-1] != role:
            self.turns.append(role)

    def says(self, role: str, text: str) -> None:
        if role == "assistant":
            self.assistant.append(text)
        else:
            self.user.append(text)


def words(texts: Iterable[str]) -> str:
    """Put texts together: where they are split, and by what, is not what they say."""
    return "".join("".join(texts).split())


def hash_of(data: str) -> str:
    """Give the hash of what is written in base64, in either alphabet."""
    data = data.replace("-", "+").replace("_", "/")
    return hashlib.sha256(base64.b64decode(data + "=" * (-len(data) % 4))).hexdigest()[:16]


def media_of(url: str) -> str:
    """Give the hash of a data URL's content, or the address."""
    return hash_of(url.partition(",")[2]) if url.startswith("data:") else url


def canonical(value: Any) -> Any:
    """Bring what a tool gave back into one form: a text that is JSON is what it stands for, and what Google's format
    wraps in an object of one member is that."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value.strip()
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("result", "output", "error"):
        return canonical(next(iter(value.values())))
    if value == {}:
        return ""  # Nothing came back.
    return value if isinstance(value, dict | list) else str(value)


def arguments(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return {"INVALID_JSON": text}


# Chat completions.


def in_chat(body: Json) -> Asked:
    # A tool with free text is a function elsewhere.
    asked = Asked(tools=[tool[tool["type"]]["name"] for tool in body.get("tools") or ()])
    asked.tools += [function["name"] for function in body.get("functions") or ()]
    asked.marks = count_marks(body)
    for message in body["messages"]:
        role = message["role"]
        if role in ("system", "developer"):
            asked.system += list(_chat_texts(message["content"]))
        elif role in ("tool", "function"):
            asked.turn("user")
            result = "".join(_chat_texts(message["content"]))
            asked.results.append((message.get("tool_call_id", ""), message.get("name", ""), canonical(result)))
        else:
            asked.turn(role)
            for text in _chat_texts(message.get("content")):
                asked.says(role, text)
            for call in message.get("tool_calls") or ():
                function = call["function"]
                asked.calls.append((call["id"], function["name"], arguments(function["arguments"])))
            if message.get("function_call"):
                function = message["function_call"]
                asked.calls.append(("", function["name"], arguments(function["arguments"])))
        asked.media += _chat_media(message.get("content"))
    return asked


def _chat_texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if "text" in part or "refusal" in part:
            yield part.get("text") or part["refusal"]


def _chat_media(content: Any) -> Iterator[str]:
    for part in content if isinstance(content, list) else ():
        if part["type"] == "image_url":
            image = part["image_url"]
            yield media_of(image if isinstance(image, str) else image["url"])
        elif part["type"] == "file":
            yield media_of(part["file"].get("file_data") or part["file"]["file_id"])
        elif part["type"] == "input_audio":
            yield hash_of(part["input_audio"]["data"])


# Responses.


def in_responses(body: Json) -> Asked:
    asked = Asked(tools=list(_functions(body.get("tools"))))
    asked.system += [body["instructions"]] if body.get("instructions") else []
    items: Any = body["input"]
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        kind = item.get("type", "message")
        if kind == "message":
            _message_item(asked, item)
        elif kind == "function_call":
            asked.turn("assistant")
            asked.calls.append((item["call_id"], item["name"], arguments(item["arguments"])))
        elif kind == "function_call_output":
            asked.turn("user")
            output = item["output"]
            texts = [output] if isinstance(output, str) else [part["text"] for part in output if "text" in part]
            asked.results.append((item["call_id"], "", canonical("".join(texts))))
            asked.media += _responses_media(output)
        elif kind in ("additional_tools", "tool_search_output"):
            asked.tools += [name for name in _functions(item["tools"]) if name not in asked.tools]
    return asked


def _functions(tools: Any) -> Iterator[str]:
    """Give the names of functions; those of a namespace are called by both names elsewhere."""
    for tool in tools or ():
        if tool["type"] in ("function", "custom"):
            yield tool["name"]
        elif tool["type"] == "namespace":
            yield from (f"{tool['name']}__{name}" for name in _functions(tool["tools"]))


def _message_item(asked: Asked, item: Json) -> None:
    content = item["content"]
    parts = [{"text": content}] if isinstance(content, str) else content
    texts = [part.get("text") or part.get("refusal", "") for part in parts]
    if item["role"] in ("system", "developer"):
        asked.system += texts
        return
    if item["role"] == "assistant" and not any(texts):
        return  # A turn without a word is left out, so that those around it may become one.
    asked.turn(item["role"])
    for text in texts:
        asked.says(item["role"], text)
    asked.media += _responses_media(content)


def _responses_media(content: Any) -> Iterator[str]:
    for part in content if isinstance(content, list) else ():
        if part["type"] == "input_image":
            yield media_of(part.get("image_url") or part["file_id"])
        elif part["type"] == "input_file":
            yield media_of(part.get("file_data") or part.get("file_url") or part["file_id"])


# Messages.


def in_messages(body: Json) -> Asked:
    # Tools whose schema Anthropic knows are functions elsewhere.
    asked = Asked(
        tools=[
            tool["name"]
            for tool in body.get("tools") or ()
            if "input_schema" in tool or tool["type"].startswith(("computer_", "bash_", "text_editor_", "memory_"))
        ]
    )
    asked.marks = count_marks(body)
    system = body.get("system") or []
    asked.system += [system] if isinstance(system, str) else [block["text"] for block in system]
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if message["role"] == "system":
            # Beside text, it may add tools that were declared before.
            asked.system += [block["text"] for block in blocks if block["type"] == "text"]
            continue
        asked.turn(message["role"])
        for block in blocks:
            _block(asked, message["role"], block)
    return asked


def _block(asked: Asked, role: str, block: Json) -> None:
    kind = block["type"]
    if kind == "text":
        asked.says(role, block["text"])
    elif kind == "compaction":
        asked.says(role, block["content"] or "")
    elif kind == "tool_use":
        asked.calls.append((block["id"], block["name"], block["input"]))
    elif kind == "document" and block["source"]["type"] == "text":
        asked.documents.append((block.get("title") or "", block["source"]["data"]))
    elif kind in ("image", "document"):
        asked.media.append(_source(block["source"]))
    elif kind == "tool_result":
        content = block.get("content") or ""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts = [part["text"] for part in parts if part["type"] == "text"]
        asked.results.append((block["tool_use_id"], "", canonical("".join(texts))))
        asked.media += [_source(part["source"]) for part in parts if part["type"] in ("image", "document")]


def _source(source: Any) -> str:
    if source["type"] == "base64":
        return hash_of(source["data"])
    return str(source.get("url") or source.get("file_id"))


# Gemini.


def in_gemini(body: Json) -> Asked:
    asked = Asked()
    body = camel(body)
    for tool in body.get("tools") or ():
        asked.tools += [each["name"] for each in tool.get("functionDeclarations") or ()]
    instruction = (body.get("systemInstruction") or {}).get("parts") or ()
    # One part may stand without its list.
    asked.system += [part["text"] for part in ([instruction] if isinstance(instruction, dict) else instruction)]
    contents = body["contents"]
    for content in contents if isinstance(contents, list) else [contents]:
        role = "assistant" if content.get("role") == "model" else "user"
        asked.turn(role)
        for part in content["parts"]:
            _gemini_part(asked, role, part)
    return asked


def camel(value: Any) -> Any:
    """Write members as Google's documentation does: it takes the spelling of Python, too."""
    if isinstance(value, list):
        return list(map(camel, value))
    if not isinstance(value, dict):
        return value
    return {
        re.sub("_([a-z])", lambda found: found[1].upper(), name): (
            each if name in ("args", "response", "parameters", "parameters_json_schema") else camel(each)
        )
        for name, each in value.items()
    }


def _gemini_part(asked: Asked, role: str, part: Json) -> None:
    call, result = part.get("functionCall"), part.get("functionResponse")
    data = part.get("inlineData") or part.get("fileData")
    if part.get("text") and not part.get("thought"):
        asked.says(role, part["text"])
    elif call is not None:
        asked.calls.append((call.get("id", ""), call["name"], call.get("args") or {}))
    elif result is not None:
        asked.results.append((result.get("id", ""), result["name"], canonical(result["response"])))
        given = [each.get("inlineData") or each["fileData"] for each in result.get("parts", ())]
        asked.media += [hash_of(each["data"]) if "data" in each else each["fileUri"] for each in given]
    elif data is not None:
        asked.media.append(hash_of(data["data"]) if "data" in data else data["fileUri"])


# Converse.


FILLER = {"role": "assistant", "content": [{"text": "."}]}
"""What the gateway puts between the results of tools and what the user says: Converse wants them apart, and the roles
in turn."""


def in_converse(body: Json) -> Asked:
    tools = (body.get("toolConfig") or {}).get("tools") or ()
    asked = Asked(tools=[tool["toolSpec"]["name"] for tool in tools if "toolSpec" in tool])
    asked.system += [block["text"] for block in body.get("system", ()) if "text" in block]
    asked.marks = count_marks(body)
    for message in body["messages"]:
        if message == FILLER:
            continue
        asked.turn(message["role"])
        for block in message["content"]:
            if "text" in block:
                asked.says(message["role"], block["text"])
            elif "toolUse" in block:
                use = block["toolUse"]
                asked.calls.append((use["toolUseId"], use["name"], use["input"]))
            elif "toolResult" in block:
                result = block["toolResult"]
                given = [part.get("text") or json.dumps(part["json"]) for part in result["content"]
                         if "text" in part or "json" in part]  # fmt: skip
                asked.results.append((result["toolUseId"], "", canonical("".join(given))))
                asked.media += [media for part in result["content"] for media in _converse_media(part)]
            elif "document" in block and block["document"]["format"] == "txt":
                source = block["document"]["source"]
                text = source["text"] if "text" in source else base64.b64decode(source["bytes"]).decode()
                asked.documents.append((block["document"]["name"], text))
            else:
                asked.media += _converse_media(block)
    return asked


def _converse_media(block: Json) -> Iterator[str]:
    for kind in ("image", "document", "video"):
        if kind in block:
            yield hash_of(block[kind]["source"]["bytes"])


def count_marks(value: Any) -> int:
    """Count the marks for a cache, wherever they stand."""
    if isinstance(value, dict):
        here = sum(name in ("cache_control", "cachePoint") and bool(each) for name, each in value.items())
        return here + sum(map(count_marks, value.values()))
    return sum(map(count_marks, value)) if isinstance(value, list) else 0


EXTRACTORS: Mapping[str, Callable[[Json], Asked]] = {
    "openai_chat": in_chat,
    "openai_responses": in_responses,
    "anthropic_messages": in_messages,
    "gemini": in_gemini,
    "bedrock_converse": in_converse,
}
