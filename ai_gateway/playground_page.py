"""The playground's page: what it begins with, and what it shows where scripts are off.

Without a script the page is a plain form for one message, and the answer to it is the same page with the model's answer
below. With one, the script takes the form over, and asks the views of `playground.py`.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from django.http import HttpRequest
from django.utils.translation import gettext as translate

from ai_gateway import inprocess, key_store, prompts, recorded, registry, sample_code, snippets
from ai_gateway.access import may_use_route
from ai_gateway.crypto import CryptoError
from ai_gateway.errors import BadRequest, GatewayError
from ai_gateway.hearing import Hearing
from ai_gateway.inprocess import Answer
from ai_gateway.models import UsageRecord
from ai_gateway.playground import LONGEST_PROMPT, MOST_MODELS, as_explained, as_sent, asking_for, problem_in, problem_of
from ai_gateway.prompts import FORMATS, Prompt, Turn
from ai_gateway.protocols.conversation import BUCKETS
from ai_gateway.protocols.efforts import EFFORTS

logger = logging.getLogger("ai_gateway")

PATIENCE = 120.0
"""Seconds for an answer where scripts are off: a person waits, and so does a thread."""

FORMAT_NAMES = {
    "openai_chat": "Chat Completions",
    "openai_responses": "Responses",
    "anthropic_messages": "Messages",
    "gemini": "Gemini",
}

NUMBERS = ("temperature", "top_p", "max_tokens", "seed")

TEXTS = ("model", "format", "system", "effort", "tools", "schema", "extra")

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def context_of(request: HttpRequest, urls: Mapping[str, str]) -> dict[str, Any]:
    """Give what the page shows: the form and, after it was sent, the answer. `urls` are those of the views."""
    if request.method == "POST":
        prompt, found = _answered(request)
    else:
        prompt, problem = first_prompt(request)
        found = {"note": problem}
    return {
        "prompt": prompt,
        "message": next((turn for turn in reversed(prompt.messages) if turn.role == "user"), Turn(role="user")),
        "formats": [(name, FORMAT_NAMES[name]) for name in FORMATS],
        "efforts": EFFORTS,
        "models": suggested_models(request.user),
        "image_types": ",".join(IMAGES),
        "page_data": {
            "prompt": msgspec.to_builtins(prompt),
            "urls": urls,
            "longest": LONGEST_PROMPT,
            "isGiven": bool(request.GET),
            "words": words(),
        },
        **found,
    }


def words() -> dict[str, Any]:
    """Give what the script says, in the language of whoever is looking."""
    meta = UsageRecord._meta
    return {
        "asking": translate("asking…"),
        "streaming": translate("answering…"),
        "stopped": translate("stopped"),
        "stops": {
            "end": translate("done"),
            "tool_use": translate("waits for the result of a tool"),
            "stop_sequence": translate("stopped at a stop sequence"),
            "max_tokens": translate("cut off: as long as it may be"),
            "context_full": translate("cut off: the context is full"),
            "filtered": translate("refused by a policy"),
            "paused": translate("paused"),
        },
        "failed": translate("failed"),
        "broken": translate("The connection broke off"),
        "brokenLong": translate("The answer is not whole. Send it again."),
        "first": translate("first token"),
        "time": translate("time"),
        "speed": translate("tokens a second"),
        "cost": translate("cost"),
        "unknown": translate("unknown: no price"),
        "target": translate("answered by"),
        "attempts": translate("attempts"),
        "request": translate("request"),
        "outcome": translate("outcome"),
        "dropped": translate("Left out, because the model does not take it:"),
        "copied": translate("Copied"),
        "tooLong": translate("The prompt is too long. Images count, too."),
        "tokens": {name: str(meta.get_field(f"{name}_tokens").verbose_name) for name in BUCKETS},  # type: ignore[union-attr]
    }


# What the page begins with.


def first_prompt(request: HttpRequest) -> tuple[Prompt, str]:
    """Make the prompt that the page begins with, as its address says; and say what could not be done."""
    given = request.GET
    if record := given.get("record"):
        found, problem = recorded_prompt(record, request.user)
        if found is not None or problem:
            return found or Prompt(), problem
    return Prompt(model=given.get("model") or given.get("route") or ""), ""


def recorded_prompt(record: str, user: Any) -> tuple[Prompt | None, str]:
    """Make a prompt of a call whose bodies were recorded. None, with the reason, if that cannot be."""
    try:
        found = recorded.request_of(UUID(record), user)
    except ValueError:  # That is nobody's id.
        found = None
    except CryptoError as error:
        logger.error("What was said in the call %s does not open: %s", record, error)
        return None, translate("The request of this call cannot be opened: its encryption key is missing.")
    if found is None:
        return None, translate("Of this call no request was kept, or you may not read it.")
    try:
        carrier = registry.snapshot().carrier
        return prompts.read_request(found["dialect"], found["path"], found["body"], carrier), ""
    except GatewayError as error:
        return None, error.message


def suggested_models(user: Any) -> list[str]:
    """Name the models that are known without asking a provider."""
    snapshot, caller = registry.snapshot(), key_store.caller_of(user)
    routes = sorted(name for name in snapshot.routes if may_use_route(caller, name, snapshot))
    named = [f"{alias}/{model}" for alias, provider in snapshot.configured.items() for model in provider.models]
    return [*routes, *named][:MOST_MODELS]


# Without a script.


def _answered(request: HttpRequest) -> tuple[Prompt, dict[str, Any]]:
    """Ask what the form says, and give the prompt and what came of it."""
    prompt = Prompt()
    try:
        prompt = posted(request)
        return prompt, _ask(request, prompt)
    except GatewayError as error:
        return prompt, {"problem": problem_of(error)}


def posted(request: HttpRequest) -> Prompt:
    """Read the prompt of the plain form. Raises BadRequest."""
    given = request.POST
    fields: dict[str, Any] = {name: given.get(name, "") for name in TEXTS}
    fields |= {name: given[name] for name in NUMBERS if given.get(name, "").strip()}
    text, images = given.get("message", ""), _uploaded(request)
    fields["messages"] = [{"role": "user", "text": text, "images": images}] if text.strip() or images else []
    fields["stop"] = given.get("stop", "").splitlines()
    fields["stream"] = False
    try:
        return msgspec.convert(fields, Prompt, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from None


def _uploaded(request: HttpRequest) -> list[str]:
    """Read the images that were sent along, as data URLs."""
    found = []
    for file in request.FILES.getlist("image"):
        kind = file.content_type or ""
        if kind not in IMAGES or (file.size or 0) > LONGEST_PROMPT // 2:
            raise BadRequest(translate("Images are PNG, JPEG, GIF or WebP, and not too large."), param="image")
        found.append(f"data:{kind};base64,{base64.b64encode(file.read()).decode('ascii')}")
    return found


def _ask(request: HttpRequest, prompt: Prompt) -> dict[str, Any]:
    asking = asking_for(prompt, request.user)
    written = asking.written
    body = {**written.body, **written.extra}
    answer = inprocess.ask(
        "POST", written.path, asking.caller, body, written.headers, written.query.encode(), patience=PATIENCE
    )
    return {
        "answer": answer,
        "raw_request": _pretty(as_sent(written)["body"]),
        "raw_answer": _pretty(answer.document)
        if answer.document is not None
        else answer.body.decode("utf-8", "replace"),
        "why": as_explained(asking.explain()) if asking.is_explained else None,
        "snippets": sample_code.for_request(snippets.origin(request), written),
        "said": _said(answer, prompt.format),
        "problem": None if answer.status == 200 else problem_in(answer.status, answer.body),
    }


def _said(answer: Answer, format: str) -> dict[str, Any] | None:
    """Put together what the model said: thoughts, text, and the calls of tools."""
    if answer.status != 200:
        return None
    hearing = Hearing(format, is_stream=False)
    events = [*hearing.hear(answer.body), *hearing.end()]
    texts = {kind: "".join(event["text"] for event in events if event["what"] == kind) for kind in ("text", "thought")}
    last = events[-1] if events else {}
    return {
        **texts,
        "calls": [event for event in events if event["what"] == "call"],
        "tokens": list(last.get("tokens", {}).items()),
        "failed": last.get("message", ""),
    }


def _pretty(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
