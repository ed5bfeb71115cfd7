"""Guardrails before a call is sent, and which ones it has."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import guarding, registry, texts
from ai_gateway.edits import Edit
from ai_gateway.errors import GuardrailBlocked, UpstreamTimeout
from ai_gateway.guardrails.base import Block, Change, Verdict, View
from ai_gateway.test.providers import Books
from tests.factories import JSON, Answer, make_call, make_meter
from tests.guardrails.conversation import (
    CHAT,
    CONTENTS,
    GEMINI,
    HOLDER,
    MAIL,
    REDACTION,
    WORDS,
    ask,
    chat,
    plain,
    request,
)

pytestmark = pytest.mark.usefixtures("books")


def said(content: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": content}


def says_nothing(view: View) -> Verdict:
    return None


async def wants_no_mail_in_the_document(view: View) -> Verdict:
    return Block("Mail.") if MAIL.encode() in view.body else None


async def fails(view: View) -> Verdict:
    raise RuntimeError("no idea")


async def is_slow(view: View) -> Verdict:
    await asyncio.sleep(30)
    return None


async def says_nonsense(view: View) -> Any:
    return True


async def changes_too_much(view: View) -> Verdict:
    return Change({0: [Edit(0, 10_000, "")]}, "all")


async def is_strict_with_uploads(view: View) -> Verdict:
    return Block("An upload.") if view.is_upload else None


def test_what_is_redacted_is_not_sent_and_nothing_else_is_changed(books: Books) -> None:
    body = b'{"model": "m",  "temperature": 1.0e0, "messages": [{"role": "user", "content": "Write to %s"}]}' % (
        MAIL.encode()
    )
    found = ask({"pii": REDACTION}, body, chat("done"))
    assert found.sent == [body.replace(MAIL.encode(), b"[EMAIL_1]")]
    assert found.status == 200
    (entry,) = books
    assert (entry.outcome, MAIL in json.dumps(entry.trail)) == ("answered", False)
    assert entry.trail == [
        {"guardrail": "pii", "stage": "request", "action": "changed", "error": "guardrail", "why": "Found: EMAIL."}
    ]


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        (CHAT, request("forbidden"), ("error", "code")),
        ("/v1/responses", b'{"model": "m", "input": "forbidden"}', ("error", "code")),
        ("/v1/embeddings", b'{"model": "m", "input": ["forbidden"]}', ("error", "code")),
        ("/v1/messages", request("forbidden", max_tokens=9), ("error", "type")),
        (GEMINI, CONTENTS.replace(b"hi", b"forbidden"), ("error", "status")),
    ],
)
def test_a_block_is_an_error_in_the_caller_s_format(
    path: str, body: bytes, place: tuple[str, str], books: Books
) -> None:
    found = ask({"words": {**WORDS, "EVERYWHERE": True}}, body, path=path)
    assert (found.status, found.sent, found.headers[b"x-should-retry"]) == (400, [], b"false")
    error = json.loads(found.body)
    assert error[place[0]][place[1]] in ("guardrail_blocked", "invalid_request_error", "INVALID_ARGUMENT")
    assert "'words'" in error["error"]["message"]
    (entry,) = books
    assert (entry.outcome, entry.error_code, entry.status) == ("blocked", "guardrail_blocked", 400)


def test_guardrails_are_those_of_all_calls_of_the_route_and_of_the_key() -> None:
    guardrails = {"words": WORDS}
    assert ask(guardrails, request("forbidden"), chat("ok")).status == 200
    assert ask(guardrails, request("forbidden"), caller=HOLDER).status == 400
    routes = {"fast": {"targets": ["openai/m"], "guardrails": ["words"]}}
    body = request("forbidden").replace(b'"m"', b'"fast"')
    assert ask(guardrails, body, ROUTES=routes).status == 400


def test_a_key_whose_guardrail_is_gone_is_not_served() -> None:
    found = ask({}, request(), caller=HOLDER)
    assert (found.status, json.loads(found.body)["error"]["code"]) == (503, "guardrail_failed")


@pytest.mark.parametrize("name", ["fails", "is_slow", "says_nonsense", "changes_too_much"])
def test_one_that_fails_blocks_unless_it_may_pass(name: str, books: Books) -> None:
    entry = {"BACKEND": f"{__name__}.{name}", "EVERYWHERE": True, "STAGES": ["request"], "TIMEOUT": 0.01}
    found = ask({"mine": entry}, request())
    assert (found.status, found.sent) == (503, [])
    assert ask({"mine": {**entry, "ON_FAILURE": "pass"}}, request(), chat("ok")).status == 200
    assert [entry.trail[0]["action"] for entry in books if entry.trail] == ["failed", "failed"]


def test_one_that_is_set_up_wrongly_blocks() -> None:
    assert ask({"mine": {"BACKEND": "no.such.thing", "EVERYWHERE": True}}, request()).status == 503


def test_one_that_only_watches_changes_nothing(books: Books) -> None:
    guardrails = {"words": {**WORDS, "EVERYWHERE": True, "MODE": "monitor"}, "pii": {**REDACTION, "MODE": "monitor"}}
    body = request(f"forbidden {MAIL}")
    found = ask(guardrails, body, chat("ok"))
    assert (found.status, found.sent) == (200, [body])
    assert [each["action"] for each in books[0].trail or ()] == ["monitored", "monitored"]


def test_each_sees_what_those_before_it_left() -> None:
    words = {"BACKEND": "patterns", "EVERYWHERE": True, "OPTIONS": {"deny": [MAIL.replace(".", r"\.")]}}
    assert ask({"pii": REDACTION, "words": words}, request(MAIL), chat("ok")).status == 200
    assert ask({"words": words, "pii": REDACTION}, request(MAIL)).status == 400


@pytest.mark.parametrize(("order", "made"), [(["pii", "doc"], 2), (["pii"], 1)])
def test_the_document_is_written_anew_for_those_that_still_look_at_it(
    order: list[str], made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    def rewritten(*args: Any) -> bytes:
        nonlocal count
        count += 1
        return texts.rewritten(*args)

    monkeypatch.setattr(guarding, "rewritten", rewritten)
    own = {"BACKEND": f"{__name__}.wants_no_mail_in_the_document", "EVERYWHERE": True, "STAGES": ["request"]}
    guardrails = {"pii": {**REDACTION, "STAGES": ["request"]}, "doc": own}
    found = ask({name: guardrails[name] for name in order}, request(MAIL), chat("ok"))
    assert (found.status, count) == (200, made)


def test_headers_do_not_get_anybody_past_them() -> None:
    headers = [JSON, (b"x-gateway-guardrails", b"off"), (b"x-provider", b"openai"), (b"x-guardrails", b"none")]
    assert ask({"words": {**WORDS, "EVERYWHERE": True}}, request("forbidden"), headers=headers).status == 400


def test_uploads_are_shown_as_such_or_refused() -> None:
    form = (b"content-type", b"multipart/form-data; boundary=x")
    upload: dict[str, Any] = {
        "path": "/v1/audio/transcriptions",
        "headers": (form, (b"x-provider", b"openai")),
    }
    entry = {"BACKEND": "redaction", "EVERYWHERE": True}
    assert ask({"pii": entry}, b"--x--", plain({"text": "ok"}), **upload).status == 200
    assert ask({"pii": {**entry, "UPLOADS": "block"}}, b"--x--", **upload).status == 400
    own = {"BACKEND": f"{__name__}.is_strict_with_uploads", "EVERYWHERE": True}
    assert ask({"mine": own}, b"--x--", **upload).status == 400


def test_a_provider_is_asked_by_the_way_of_all_calls(books: Books) -> None:
    result = {"flagged": True, "categories": {"violence": True}, "category_scores": {"violence": 0.9}}
    guardrails = {"moderation": {"BACKEND": "moderation", "EVERYWHERE": True, "STAGES": ["request"]}}
    found = ask(guardrails, request("bad words"), plain({"results": [result]}))
    assert json.loads(found.sent[0]) == {"model": "omni-moderation-latest", "input": ["bad words"]}  # type: ignore[arg-type]
    assert (found.status, "violence" in found.body.decode()) == (400, True)
    assert [(each.endpoint, each.key_name, each.outcome) for each in books] == [
        ("moderations", "", "answered"),
        ("chat/completions", "team", "blocked"),
    ]


def test_a_provider_that_is_asked_by_a_guardrail_may_be_the_gateway_itself() -> None:
    guardrails = {"moderation": {"BACKEND": "moderation", "EVERYWHERE": True, "STAGES": ["request"]}}
    own = {"openai": {"OPTIONS": {"api_key": "stored", "base_url": "https://gateway.example.com/v1"}}}
    headers = (JSON, (b"x-gateway-hops", b"2"))
    found = ask(guardrails, request(), plain({"results": []}), chat("ok"), headers=headers, PROVIDERS=own)
    assert [dict(each.headers)[b"x-gateway-hops"] for each in found.requests] == [b"3", b"3"]


def test_a_provider_that_fails_a_guardrail_is_written_down_as_failed(books: Books) -> None:
    guardrails = {"moderation": {"BACKEND": "moderation", "EVERYWHERE": True, "STAGES": ["request"]}}
    found = ask(guardrails, request(), UpstreamTimeout("It took too long."), RETRIES={"attempts": 1})
    assert found.status == 503
    assert [(each.endpoint, each.outcome, each.status, each.error_code) for each in books] == [
        ("moderations", "timed_out", 504, "upstream_timeout"),
        ("chat/completions", "failed", 503, "guardrail_failed"),
    ]


def test_what_a_provider_tells_a_guardrail_at_too_great_length_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarding, "MAX_ANSWER", 150_000)
    answer = Answer(b"x" * 100_000, b"x" * 100_000, b"x" * 100_000, headers=[JSON])
    guardrails = {"moderation": {"BACKEND": "moderation", "EVERYWHERE": True, "STAGES": ["request"]}}
    assert ask(guardrails, request(), answer).status == 503
    assert answer.is_closed


def test_a_session_that_nobody_looks_into_is_refused() -> None:
    meter = make_meter(make_call("/v1/realtime", method="GET", body=b""))
    for mode in ("monitor", "enforce"):
        with override_settings(AI_GATEWAY={"GUARDRAILS": {"pii": {**REDACTION, "MODE": mode}}}):
            snapshot = registry.snapshot()
        if mode == "monitor":
            guarding.check_session(meter, snapshot)
        else:
            with pytest.raises(GuardrailBlocked, match="session"):
                guarding.check_session(meter, snapshot)


def test_an_answer_from_the_cache_is_looked_into_each_time(books: Books) -> None:
    entry = {**REDACTION, "OPTIONS": {"restore": True}}
    with override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}):
        cached: dict[str, Any] = {"RESPONSE_CACHE": {"alias": "default", "ttl": 60, "encrypt": False}}
        bodies = [
            ask({"pii": entry}, request(f"Greet {who}@mail.example"), *answers, **cached).body
            for who, answers in (("ann", [chat("Hi [EMAIL_1]")]), ("bob", []))
        ]
    assert [json.loads(body)["choices"][0]["message"]["content"] for body in bodies] == [
        "Hi ann@mail.example",
        "Hi bob@mail.example",
    ]


@pytest.mark.parametrize(
    ("path", "model", "body"),
    [
        (CHAT, "anthropic/m", {"messages": [said("forb"), {"x": "y", **said("", "assistant")}, said("idden")]}),
        ("/v1/responses", "gemini/m", {"input": [said("forb"), {"type": "web_search_call", "id": "x"}, said("idden")]}),
        ("/v1/responses", "anthropic/m", {"instructions": "forb", "input": [said("idden", "system"), said("Hi")]}),
        (CHAT, "gemini/m", {"messages": [said(["forb", "idden"])]}),
    ],
)
def test_no_word_comes_together_where_a_request_is_translated(path: str, model: str, body: dict[str, Any]) -> None:
    content = json.dumps({"model": model, **body}).encode()
    conversation = ask({"words": {**WORDS, "EVERYWHERE": True}}, content, path=path)
    assert (conversation.status, conversation.sent) == (400, [])
