"""Guardrails of whole answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway import guarding
from ai_gateway.errors import UpstreamClosed
from ai_gateway.test.providers import Books
from tests.factories import JSON, Answer
from tests.guardrails.conversation import (
    CHAT,
    CONTENTS,
    GEMINI,
    MAIL,
    REDACTION,
    SSE,
    WORDS,
    ask,
    chat,
    chat_events,
    gemini_events,
    plain,
    request,
    text_of,
)

pytestmark = pytest.mark.usefixtures("books")


def test_a_whole_answer_is_looked_into_and_its_usage_counts(books: Books) -> None:
    found = ask({"words": {**WORDS, "EVERYWHERE": True}}, request(), chat("forbidden"))
    assert found.status == 400
    (entry,) = books
    assert (entry.outcome, entry.input_tokens, entry.output_tokens) == ("blocked", 10, 5)


def test_a_whole_answer_may_be_changed() -> None:
    found = ask({"pii": REDACTION}, request(), chat(f"Ask {MAIL}"))
    assert json.loads(found.body)["choices"][0]["message"]["content"] == "Ask [EMAIL_1]"
    assert found.headers[b"content-length"] == b"%d" % len(found.body)


def test_an_answer_that_is_no_text_passes() -> None:
    audio = Answer(b"\x00" * 9, headers=[(b"content-type", b"audio/mpeg"), (b"content-length", b"9")])
    assert ask({"pii": REDACTION}, request(), audio, path="/v1/audio/speech").body == b"\x00" * 9


@pytest.mark.parametrize(
    "kind", [b"application/octet-stream", b"application/x-protobuf", b"application/vnd.amazon.eventstream"]
)
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings", "/v1/model/x/invoke", "/v1/unheard/of"])
def test_an_answer_of_a_kind_that_nobody_can_read_is_blocked(kind: bytes, path: str) -> None:
    def answer() -> Answer:
        return Answer(b"\x0a forbidden", headers=[(b"content-type", kind)])

    given: dict[str, Any] = {"path": path, "headers": (JSON, (b"x-provider", b"openai"))}
    blocked = answer()
    assert ask({"pii": REDACTION}, request(), blocked, **given).status == 400
    assert blocked.is_closed
    assert ask({"pii": {**REDACTION, "MODE": "monitor"}}, request(), answer(), **given).body == b"\x0a forbidden"
    fetched = ask({"pii": REDACTION}, b"", answer(), path="/v1/files/x/content", headers=given["headers"], method="GET")
    assert fetched.status == 200


@pytest.mark.parametrize("kind", [b"Text/Event-Stream", b" text/event-stream"])
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_stream_is_one_however_its_kind_is_written(kind: bytes, is_whole: bool) -> None:
    content = b"".join(chat_events("Ask ann@mail", ".example"))
    length = [(b"content-length", b"%d" % len(content))] if is_whole else []
    answer = Answer(content, headers=[(b"content-type", kind), *length])
    assert text_of(ask({"pii": REDACTION}, request(stream=True), answer).body) == "Ask [EMAIL_1]"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("alt=sse", 200),
        ("%61lt=sse&x=y", 200),
        ("", 400),
        ("alt=json", 400),
        ("alt=sse&alt=proto", 400),
        ("$alt=proto", 400),
        ("alt=sse&%24Alt=%70roto", 400),
    ],
)
def test_an_answer_in_a_form_that_nobody_can_read_is_not_asked_for(query: str, status: int) -> None:
    path = f"/v1beta/models/m:streamGenerateContent?{query}"
    found = ask({"pii": REDACTION}, CONTENTS, Answer(*gemini_events("hi"), headers=[SSE]), path=path)
    assert (found.status, len(found.sent)) == (status, 1 if status == 200 else 0)
    monitored = {"pii": {**REDACTION, "MODE": "monitor"}}
    assert ask(monitored, CONTENTS, Answer(*gemini_events("hi"), headers=[SSE]), path=path).status == 200
    whole = plain({"candidates": [{"index": 0, "content": {"parts": [{"text": "hi"}]}}]})
    path = f"/v1beta/models/m:generateContent?{query}"
    assert ask({"pii": REDACTION}, CONTENTS, whole, path=path).status == (400 if "roto" in query else 200)


def test_a_stream_of_amazon_s_that_is_binary_is_not_asked_for() -> None:
    given: dict[str, Any] = {
        "path": "/v1/model/x/invoke-with-response-stream",
        "headers": (JSON, (b"x-provider", b"openai")),
    }
    assert ask({"pii": REDACTION}, b"{}", **given).status == 400


def test_an_answer_that_does_not_say_what_it_is_is_looked_into_as_json() -> None:
    document = {"choices": [{"index": 0, "message": {"role": "assistant", "content": f"Ask {MAIL}"}}]}
    found = ask({"pii": REDACTION}, request(), Answer(json.dumps(document).encode()))
    assert json.loads(found.body)["choices"][0]["message"]["content"] == "Ask [EMAIL_1]"
    found = ask({"pii": REDACTION}, request(), Answer(f"Ask {MAIL}".encode()))
    assert (found.status, MAIL in found.body.decode()) == (503, False)


@pytest.mark.parametrize(("text", "expected"), [(f"Ask {MAIL}", "Ask [EMAIL_1]"), ("Ask nobody", "Ask nobody")])
def test_an_answer_that_is_plain_text_is_looked_into(text: str, expected: str) -> None:
    upload: dict[str, Any] = {
        "path": "/v1/audio/transcriptions",
        "headers": ((b"content-type", b"multipart/form-data; boundary=x"), (b"x-provider", b"openai")),
    }
    answer = Answer(text.encode(), headers=[(b"content-type", b"text/plain; charset=utf-8")])
    assert ask({"pii": REDACTION}, b"--x--", answer, **upload).body == expected.encode()


@pytest.mark.parametrize("kind", [b"application/json", b"text/plain", b"text/event-stream"])
@pytest.mark.parametrize("length", [[(b"content-length", b"4")], []], ids=["whole", "flowing"])
def test_an_answer_that_is_compressed_is_none_that_can_be_looked_into(
    kind: bytes, length: list[tuple[bytes, bytes]]
) -> None:
    def answer() -> Answer:
        return Answer(b"\x1f\x8b\x08\x00", headers=[(b"content-type", kind), (b"content-encoding", b"gzip"), *length])

    blocked = answer()
    found = ask({"pii": REDACTION}, request(stream=True), blocked)
    assert (found.status, "compressed" in found.body.decode()) == (400, True)
    assert blocked.is_closed
    found = ask({"pii": {**REDACTION, "MODE": "monitor"}}, request(stream=True), answer())
    assert (found.status, found.body) == (200, b"\x1f\x8b\x08\x00")


LONG = {"choices": [{"index": 0, "message": {"role": "assistant", "content": f"{MAIL} " * 5000}}]}


@pytest.mark.parametrize(
    ("steps", "status", "said"),
    [
        ([json.dumps(LONG).encode()], 200, "[EMAIL_1] "),
        ([json.dumps(LONG).encode()[:-20], UpstreamClosed("gone")], 502, "hung up before its answer was whole"),
        ([json.dumps(LONG).encode()] * 2, 503, "longer than the 150000 bytes"),
        ([b'{"choices": ["no'], 503, "not the JSON that it should be"),
        ([f"Ask {MAIL}".encode()], 503, "not the JSON that it should be"),
        ([json.dumps({"text": MAIL}).encode("utf-16")], 503, "not the JSON that it should be"),
        ([b"[" * 74_000 + b"]" * 74_000], 503, "not the JSON that it should be"),
    ],
    ids=["long", "broken", "too long", "cut", "no JSON", "not UTF-8", "too deep"],
)
def test_an_answer_that_flows_is_read_before_any_of_it_goes_out(
    steps: list[Any], status: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "MAX_ANSWER", 150_000)
    answer = Answer(*steps, headers=[JSON])
    found = ask({"pii": REDACTION}, request(), answer)
    assert (found.status, answer.is_closed) == (status, True)
    assert said in found.body.decode()
    assert MAIL not in found.body.decode()


def test_a_provider_that_does_not_say_what_it_thinks_is_a_guardrail_that_fails(books: Books) -> None:
    guardrails = {"moderation": {"BACKEND": "moderation", "EVERYWHERE": True, "STAGES": ["request"]}}
    refused = Answer(b"{}", status=400, headers=[JSON])
    found = ask(guardrails, request("bad words"), refused)
    assert (found.status, len(found.sent)) == (503, 1)
    assert [each.outcome for each in books] == ["failed", "failed"]


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
def test_streams_of_converse_are_refused(mode: str) -> None:
    body = b'{"messages": [{"role": "user", "content": [{"text": "hi"}]}]}'
    site: dict[str, Any] = {"path": "/v1/model/openai%2Fm/converse-stream", "guardrails": {"pii": REDACTION}}
    site["guardrails"] = {"pii": {**REDACTION, "MODE": mode}}
    found = ask(site.pop("guardrails"), body, Answer(*chat_events("hi"), headers=[SSE]), **site)
    assert (found.status, len(found.sent)) == ((400, 0) if mode == "enforce" else (200, 1))


def test_log_probabilities_would_repeat_the_answer() -> None:
    assert ask({"pii": REDACTION}, request(logprobs=True)).status == 400
    assert ask({"pii": REDACTION}, request().replace(b"{", b'{"logprob\\u0073": true, ', 1)).status == 400
    assert (
        ask({"pii": REDACTION}, b'{"model": "m", "logprobs": 0, "prompt": "hi"}', path="/v1/completions").status == 400
    )
    config = b'{"generationConfig": {"response_logprobs": true}, '
    assert ask({"pii": REDACTION}, CONTENTS.replace(b"{", config, 1), path=GEMINI).status == 400
    assert ask({"pii": REDACTION}, request("logprobs: true"), chat("ok")).status == 200
    requests_only = {**REDACTION, "STAGES": ["request"]}
    assert ask({"pii": requests_only}, request(logprobs=True), chat("ok")).status == 200


def test_log_probabilities_of_a_response_that_is_there_would_repeat_it_too() -> None:
    stored: dict[str, Any] = {"path": "/v1/responses/resp_1", "headers": ((b"x-provider", b"openai"),), "method": "GET"}
    assert ask({"pii": REDACTION}, b"", plain({"id": "resp_1"}), **stored).status == 200
    stored["path"] += "?include%5B%5D=message.output_text.log%70robs"
    assert ask({"pii": REDACTION}, b"", **stored).status == 400
