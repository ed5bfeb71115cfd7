"""A model behind Google's Gemini API."""

from __future__ import annotations

import base64
import re
from typing import Any

from tests.clients.models.model import COUNT, plain_event
from tests.clients.models.turns import BadRequest, Call, Json, Result, Seen, Turn, pieces, refuse_unknown
from tests.upstream import Request

TARGET = re.compile(r"/v1beta/models/([\w.-]+):(generateContent|streamGenerateContent)(\?alt=sse)?")
KNOWN = frozenset(
    ("contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig", "cachedContent")
)
USAGE = {"promptTokenCount": 1000, "candidatesTokenCount": 30, "thoughtsTokenCount": 20, "totalTokenCount": 1050}


def spelled(members: Json) -> Json:
    """Spell the members of an object in camelCase: Google takes either spelling, and clients write either."""
    return {re.sub(r"_([a-z])", lambda found: found[1].upper(), name): value for name, value in members.items()}


class Gemini:
    """See Format. As with Gemini 3, the first call of a turn is signed, and the signature has to come back."""

    def accepts(self, request: Request) -> bool:
        return request.method == "POST" and TARGET.fullmatch(request.target) is not None

    def count(self, request: Request) -> Json | None:
        return {"totalTokens": COUNT} if request.target.endswith(":countTokens") else None

    def read(self, request: Request) -> Seen:
        found = TARGET.fullmatch(request.target)
        assert found is not None
        body = spelled(request.json())
        refuse_unknown(body, KNOWN)
        seen = Seen(body=body, model=found[1], streams=found[2] == "streamGenerateContent")
        seen.instructions = "".join(part["text"] for part in (body.get("systemInstruction") or {}).get("parts", ()))
        for tool in body.get("tools") or ():
            for function in map(spelled, spelled(tool).get("functionDeclarations") or ()):
                seen.tools[function["name"]] = self._schema(function)
        for content in body["contents"]:
            self._read_content(content, seen)
        self._check_signatures(body["contents"])
        return seen

    def _check_signatures(self, contents: list[Json]) -> None:
        """In the current turn, that is since the user last said something, the first call of each step is signed."""
        said = [index for index, content in enumerate(contents) if any("text" in part for part in content["parts"])]
        start = max((index for index in said if contents[index]["role"] == "user"), default=0)
        for content in contents[start:]:
            calls = [part for part in map(spelled, content["parts"]) if "functionCall" in part]
            if calls and "thoughtSignature" not in calls[0]:
                raise BadRequest("Function call is missing a thought_signature in functionCall parts.")

    def _read_content(self, content: Json, seen: Seen) -> None:
        if content["role"] not in ("user", "model"):
            raise BadRequest(f"Please use a valid role: user, model. Got {content['role']}")
        if not content["parts"]:
            raise BadRequest("contents.parts must not be empty")
        for part in map(spelled, content["parts"]):
            self._read_part(content["role"], part, seen)

    def _schema(self, function: Json) -> Json:
        return next((function[name] for name in ("parametersJsonSchema", "parameters") if function.get(name)), {})

    def _read_part(self, role: str, part: Json, seen: Seen) -> None:
        if part.get("thoughtSignature"):
            seen.reasoning.append(base64.b64decode(part["thoughtSignature"]).decode())
        if "functionCall" in part:
            call = part["functionCall"]
            id = call.get("id") or f"nameless{len(seen.calls)}"
            seen.calls.append(Call(id=id, name=call["name"], arguments=call.get("args") or {}))
        elif "functionResponse" in part:
            answer = part["functionResponse"]
            names = {call.id: call.name for call in seen.calls}
            # Without ids, results come in the order of the calls.
            place = len(seen.results)
            id = answer.get("id") or next((call.id for call in seen.calls[place:]), "")
            if names.get(id) != answer["name"]:
                raise BadRequest(f"function response {id} {answer['name']} fits none of {names}")
            if not isinstance(answer["response"], dict):
                raise BadRequest("function_response.response must be a Struct")
            seen.results.append(Result(id=id, text=str(answer["response"])))
        elif role == "user" and "text" in part:
            seen.prompts.append(part["text"])

    def _parts(self, turn: Turn, number: int) -> list[list[Json]]:
        """The parts, those of one event each."""
        chunks: list[list[Json]] = [[{"text": piece, "thought": True}] for piece in pieces(turn.thinking)]
        chunks += ([{"text": piece}] for piece in pieces(turn.text))
        calls: list[Json] = [
            {"functionCall": {"id": self.call_id(number, index), "name": call.name, "args": call.arguments}}
            for index, call in enumerate(turn.calls)
        ]
        if calls:
            state = self.state(number, turn.thinking).encode()
            calls[0]["thoughtSignature"] = base64.b64encode(state).decode()
            chunks.append(calls)
        return chunks

    def _answer(self, seen: Seen, number: int, parts: list[Json], **more: Any) -> Json:
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **more}
        return {
            "candidates": [candidate],
            "usageMetadata": USAGE,
            "modelVersion": seen.model,
            "responseId": f"answer{number}",
        }

    def whole(self, turn: Turn, seen: Seen, number: int) -> Json:
        parts = [part for chunk in self._parts(turn, number) for part in chunk]
        return self._answer(seen, number, parts, finishReason="STOP")

    def events(self, turn: Turn, seen: Seen, number: int) -> list[bytes]:
        """The last event carries text and the reason at once, which naive readers lose."""
        *first, last = self._parts(turn, number)
        return [
            *(plain_event(self._answer(seen, number, parts)) for parts in first),
            plain_event(self._answer(seen, number, last, finishReason="STOP")),
        ]

    def call_id(self, number: int, index: int) -> str:
        return f"gem{number}x{index}"

    def state(self, number: int, thinking: str) -> str:
        return f"thought:{number}:{thinking}"

    def error(self, message: str) -> Json:
        return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
