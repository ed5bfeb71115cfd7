"""Guardrails in the life of a call: what is sent, what comes back, in every format, and what is written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import gateway, guarding, registry
from ai_gateway.calls import Caller, Reply, ReplyBody
from ai_gateway.edits import Edit
from ai_gateway.errors import GuardrailBlocked, UpstreamClosed, UpstreamTimeout
from ai_gateway.guardrails.base import Block, Change, Verdict, View
from ai_gateway.test.providers import Books
from tests.factories import JSON, Answer, Scripted, make_arrival, make_call, make_meter, run

pytestmark = pytest.mark.usefixtures("books")

KEY = (b"authorization", b"Bearer gw_a-key-of-the-settings")
SSE = (b"content-type", b"text/event-stream")
CHAT = "/v1/chat/completions"
MAIL = "ann@mail.example"
REDACTION = {"BACKEND": "redaction", "EVERYWHERE": True}
HOLDER = Caller(key_name="team", guardrails=("words",))


def says_nothing(view: View) -> Verdict:
    return None


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


class Conversation:
    """What was sent for a call, and what its caller got."""

    def __init__(self, reply: Reply, body: bytes, transport: Scripted) -> None:
        self.status = reply.status
        self.headers = dict(reply.headers)
        self.body = body
        self.requests = transport.requests
        self.sent = [request.body for request in transport.requests]


def ask(
    guardrails: Mapping[str, Any],
    body: bytes,
    *outcomes: Answer | Exception,
    path: str = CHAT,
    headers: Sequence[tuple[bytes, bytes]] = (JSON,),
    caller: Caller | None = None,
    method: str = "POST",
    **settings: Any,
) -> Conversation:
    """Make a call, and read all of its answer."""
    transport = Scripted(*outcomes)
    path, _, query = path.partition("?")

    async def main() -> tuple[Reply, bytes]:
        arrival = make_arrival(path, *headers, KEY, body=body, method=method, query=query.encode())
        reply = await gateway.handle(arrival, transport, caller)
        if not isinstance(reply.body, ReplyBody):
            return reply, reply.body
        try:
            return reply, b"".join([piece async for piece in reply.body])
        finally:
            await reply.aclose()

    named = ("openai", "anthropic", "gemini")
    site = {
        "PROVIDERS": {name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in named},
        "KEYS": {"team": "gw_a-key-of-the-settings"},
        "GUARDRAILS": guardrails,
        **settings,
    }
    with override_settings(AI_GATEWAY=site):
        return Conversation(*run(main()), transport)


def request(text: str = "hi", **others: Any) -> bytes:
    return json.dumps({"model": "m", **others, "messages": [{"role": "user", "content": text}]}).encode()


def plain(value: Any) -> Answer:
    content = json.dumps(value).encode()
    return Answer(content, headers=[JSON, (b"content-length", b"%d" % len(content))])


def chat(text: str) -> Answer:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return plain({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}], "usage": usage})


def events(*values: Any, end: bytes = b"") -> list[bytes]:
    named = [(value.get("type"), json.dumps(value)) for value in values]
    return [
        b"".join((b"event: %s\n" % name.encode() if name else b"", b"data: %s\n\n" % data.encode()))
        for name, data in named
    ] + ([end] if end else [])


def chat_events(*texts: str) -> list[bytes]:
    pieces = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return events(*pieces, finish, end=b"data: [DONE]\n\n")


def messages_events(*texts: str) -> list[bytes]:
    pieces = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts
    ]
    message = {"id": "m", "type": "message", "role": "assistant", "content": [], "usage": {"input_tokens": 1}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    ends = ({"type": "content_block_stop", "index": 0}, {"type": "message_stop"})
    return events({"type": "message_start", "message": message}, block, {"type": "ping"}, *pieces, *ends)


def responses_events(*texts: str) -> list[bytes]:
    base = {"output_index": 0, "content_index": 0, "item_id": "i"}
    pieces = [{"type": "response.output_text.delta", **base, "delta": text} for text in texts]
    whole = "".join(texts)
    item = {"type": "message", "id": "i", "role": "assistant", "content": [{"type": "output_text", "text": whole}]}
    done = {"type": "response.output_text.done", **base, "text": whole}
    completed = {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [item]}}
    return events(*pieces, done, completed)


def gemini_events(*texts: str) -> list[bytes]:
    return events(
        *({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}]} for text in texts),
        {"candidates": [{"index": 0, "content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}]},
    )


GEMINI = "/v1beta/models/m:streamGenerateContent?alt=sse"
CONTENTS = b'{"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}'
FORMATS = {
    "chat": (CHAT, request(stream=True), chat_events),
    "messages": ("/v1/messages", request(stream=True, max_tokens=9), messages_events),
    "responses": ("/v1/responses", b'{"model": "m", "stream": true, "input": "hi"}', responses_events),
    "gemini": (GEMINI, CONTENTS, gemini_events),
}


def text_of(body: bytes) -> str:
    """The text that a client makes of a stream, in whatever format."""
    found = []
    for block in body.decode().split("\n\n"):
        data = next((line[6:] for line in block.split("\n") if line.startswith("data: {")), "{}")
        value = json.loads(data)
        for choice in value.get("choices", ()):
            found.append(choice["delta"].get("content", ""))
        for candidate in value.get("candidates", ()):
            found += [part["text"] for part in candidate["content"]["parts"]]
        delta = value.get("delta")
        found.append(delta if isinstance(delta, str) else (delta or {}).get("text", ""))
    return "".join(found)


# Before a call is sent.


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


WORDS = {"BACKEND": "patterns", "OPTIONS": {"deny": ["forbidden"]}}


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


# When it is answered.


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
        ([b"[" * 50_000 + b"]" * 50_000], 503, "not the JSON that it should be"),
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


@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_that_nothing_is_found_in_is_the_same_byte_for_byte(name: str) -> None:
    path, body, write = FORMATS[name]
    written = write("Good ", "", "morning", ", all of you. " * 60)
    query = Answer(*written, headers=[SSE])
    assert ask({"pii": REDACTION}, body, query, path=path).body == b"".join(written)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_what_is_cut_into_pieces_is_found_in_a_stream(name: str, size: int) -> None:
    path, body, write = FORMATS[name]
    text = f"Dear all, write to {MAIL} or to bob@mail.example, not to me. " * 4
    written = write(*(text[start : start + size] for start in range(0, len(text), size)))
    entry = {**REDACTION, "WINDOW": 60}
    found = ask({"pii": entry}, body, Answer(*written, headers=[SSE]), path=path)
    assert MAIL not in found.body.decode()
    assert text_of(found.body) == text.replace(MAIL, "[EMAIL_1]").replace("bob@mail.example", "[EMAIL_2]")
    assert found.body.count(b"\n\n") == len(written)


@pytest.mark.parametrize("name", FORMATS)
def test_a_block_ends_a_stream_with_an_error_and_no_proof_of_a_whole_answer(name: str, books: Books) -> None:
    path, body, write = FORMATS[name]
    answer = Answer(*write("x" * 200, "forb", "idden", " and more"), headers=[SSE])
    entry = {**WORDS, "EVERYWHERE": True, "WINDOW": 60}
    found = ask({"words": entry}, body, answer, path=path)
    assert found.status == 200
    assert "forb" not in text_of(found.body)
    last = found.body.decode().rstrip().rpartition("\n\n")[2]
    assert "words" in last
    assert not any(end in found.body for end in (b"[DONE]", b"message_stop", b"response.completed", b"STOP"))
    assert answer.is_closed
    (row,) = books
    assert (row.outcome, row.error_code, row.is_estimated) == ("blocked", "guardrail_blocked", True)
    assert row.output_tokens > 0


def messages_blocks(*texts: str) -> list[bytes]:
    """Blocks of one message, each with a text of its own, as with citations."""
    blocks = [
        {"type": kind, "index": number, **others}
        for number, text in enumerate(texts)
        for kind, others in (
            ("content_block_start", {"content_block": {"type": "text", "text": ""}}),
            ("content_block_delta", {"delta": {"type": "text_delta", "text": text}}),
            ("content_block_stop", {}),
        )
    ]
    return events(*blocks, {"type": "message_stop"})


def responses_parts(*texts: str) -> list[bytes]:
    """Parts of one message, which the end of the stream repeats."""
    content = [{"type": "output_text", "text": text} for text in texts]
    found = [
        event
        for number, text in enumerate(texts)
        for event in events(
            {"type": "response.output_text.delta", "output_index": 0, "content_index": number, "delta": text},
            {"type": "response.output_text.done", "output_index": 0, "content_index": number, "text": text},
            {"type": "response.content_part.done", "content_index": number, "part": content[number]},
        )
    ]
    item = {"type": "message", "id": "i", "role": "assistant", "content": content}
    return [*found, *events({"type": "response.completed", "response": {"id": "r", "output": [item]}})]


PARTS = {"messages": messages_blocks, "responses": responses_parts}


@pytest.mark.parametrize("name", PARTS)
def test_what_lies_across_parts_of_a_streamed_message_is_found(name: str) -> None:
    path, body, _ = FORMATS[name]

    def answer(*texts: str) -> Answer:
        return Answer(*PARTS[name](*texts), headers=[SSE])

    found = ask({"words": {**WORDS, "EVERYWHERE": True}}, body, answer("all of it is forb", "idden"), path=path)
    assert b"idden" not in found.body
    assert b"'words'" in found.body
    found = ask({"pii": REDACTION}, body, answer("Write to ann@ma", "il.example, or ", "bob@mail.example"), path=path)
    assert text_of(found.body) == "Write to ann@ma, or [EMAIL_2]"
    assert b"il.example" not in found.body
    whole = ask({"pii": REDACTION}, body, answer("Write to ann@mail.example", "Hello"), path=path)
    assert text_of(whole.body) == "Write to [EMAIL_1]Hello"


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_in_other_forms_of_letters_is_found_in_a_stream(name: str) -> None:
    path, body, write = FORMATS[name]
    hidden = "a\u200bnn@\uff4d\uff41\uff49\uff4c.exa\u00admple"
    text = f"Café ½, write to {hidden}, not to me. " * 4
    written = write(*(text[start : start + 3] for start in range(0, len(text), 3)))
    found = ask({"pii": {**REDACTION, "WINDOW": 100}}, body, Answer(*written, headers=[SSE]), path=path)
    assert text_of(found.body).count("]") == 4
    assert "mple" not in text_of(found.body)


def test_what_is_split_or_disguised_is_redacted_before_it_is_sent_and_in_a_whole_answer() -> None:
    parts = [
        {"type": "text", "text": "Write to ann@ma"},
        {"type": "text", "text": "il.example or ann\uff20b.example"},
    ]
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": parts}]}).encode()
    answer = plain({"type": "message", "role": "assistant", "content": parts})
    found = ask({"pii": REDACTION}, body, answer, path="/v1/messages")
    sent = json.loads(found.sent[0])["messages"][0]["content"]  # type: ignore[arg-type]
    expected = ["Write to [EMAIL_1]", " or [EMAIL_2]"]
    assert [part["text"] for part in sent] == expected
    assert [part["text"] for part in json.loads(found.body)["content"]] == expected


def test_an_event_of_several_lines_is_changed_as_one() -> None:
    event = b'event: x\ndata: {"choices": [{"index": 0,\ndata: "delta": {"content": "Ask %s"}}]}\n\n' % MAIL.encode()
    answer = Answer(event, b"data: [DONE]\n\n", headers=[SSE])
    found = ask({"pii": REDACTION}, request(stream=True), answer)
    assert text_of(found.body) == "Ask [EMAIL_1]"
    assert found.body.startswith(b"event: x\ndata: {")


@pytest.mark.parametrize("start", [b"data: {", b"data: {\ndata: "])
def test_a_mark_at_the_beginning_of_a_stream_hides_no_event(start: bytes) -> None:
    first, *others = chat_events(f"Ask {MAIL}")
    answer = Answer(b"\xef\xbb\xbf" + first.replace(b"data: {", start), *others, headers=[SSE])
    found = ask({"pii": REDACTION}, request(stream=True), answer)
    assert text_of(found.body) == "Ask [EMAIL_1]"
    assert MAIL.encode() not in found.body


def test_a_last_event_whose_blank_line_was_left_out_is_looked_into() -> None:
    *first, last = chat_events(f"Ask {MAIL}")[:1]
    answer = Answer(b"data: [DONE]\n\n", last.rstrip(b"\n"), headers=[SSE])
    found = ask({"pii": REDACTION}, request(stream=True), answer)
    assert not first
    assert MAIL.encode() not in found.body


def test_an_event_that_is_no_json_ends_the_stream() -> None:
    answer = Answer(b'data: {"no": "js\n\n', *chat_events("hi"), headers=[SSE])
    found = ask({"pii": REDACTION}, request(stream=True), answer)
    assert b"not the JSON that it should be" in found.body
    assert b"hi" not in found.body


def test_arguments_of_tools_are_looked_into() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "send", "arguments": ""}}
    pieces = ['{"to": "an', "n@mail.exam", 'ple"}']
    calls = [{**call}, *({"index": 0, "function": {"arguments": piece}} for piece in pieces)]
    written = events(
        *({"choices": [{"index": 0, "delta": {"tool_calls": [each]}}]} for each in calls), end=b"data: [DONE]\n\n"
    )
    found = ask({"pii": REDACTION}, request(stream=True), Answer(*written, headers=[SSE]))
    values = [json.loads(line[6:]) for line in found.body.decode().split("\n") if line.startswith("data: {")]
    arguments = [value["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for value in values]
    assert json.loads("".join(arguments)) == {"to": "[EMAIL_1]"}


def test_arguments_are_looked_into_as_they_read() -> None:
    words = {"words": {**WORDS, "EVERYWHERE": True}}
    function = {"name": "f", "arguments": r'{"x": "for\u0062idden"}'}
    turn = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": function}]}
    said = [{"role": "user", "content": "hi"}, turn, {"role": "tool", "tool_call_id": "c", "content": "ok"}]
    assert ask(words, json.dumps({"model": "m", "messages": said}).encode()).status == 400
    output = {"type": "function_call_output", "call_id": "c", "output": r'{"x": "for\u0062idden"}'}
    assert ask(words, json.dumps({"model": "m", "input": [output]}).encode(), path="/v1/responses").status == 400
    answer = plain(
        {"choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": [{"function": function}]}}]}
    )
    assert ask(words, request(), answer).status == 400


def test_arguments_stay_json_when_they_are_changed() -> None:
    values = {"to": f'"Ann"\n{MAIL}', "place": "Köln"}
    message = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": json.dumps(values)}}]}
    found = ask({"pii": REDACTION}, request(), plain({"choices": [{"index": 0, "message": message}]}))
    (call,) = json.loads(found.body)["choices"][0]["message"]["tool_calls"]
    assert call["function"]["arguments"] == json.dumps({**values, "to": '"Ann"\n[EMAIL_1]'})


def test_what_is_restored_in_arguments_ends_no_string() -> None:
    entry = {**REDACTION, "OPTIONS": {"restore": True, "patterns": {"QUOTE": '"[a-z]{1,9}"'}}}
    message = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"x": "say [QUOTE_1]"}'}}]}
    answer = plain({"choices": [{"index": 0, "message": message}]})
    found = ask({"pii": entry}, request('He said "hello".'), answer)
    (call,) = json.loads(found.body)["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"x": 'say "hello"'}


def chat_arguments(*pieces: str) -> list[bytes]:
    calls = [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces]
    return events(*({"choices": [{"index": 0, "delta": call}]} for call in calls), end=b"data: [DONE]\n\n")


def messages_arguments(*pieces: str) -> list[bytes]:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return events(*({"type": "content_block_delta", "index": 1, "delta": delta} for delta in deltas))


def responses_arguments(*pieces: str) -> list[bytes]:
    base = {"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "i"}
    return events(*({**base, "delta": piece} for piece in pieces))


ARGUMENTS = {"chat": chat_arguments, "messages": messages_arguments, "responses": responses_arguments}


def arguments_of(body: bytes) -> str:
    """The arguments that a client puts together, in whatever format."""
    found = []
    for line in body.decode().split("\n"):
        value = json.loads(line[6:]) if line.startswith("data: {") else {}
        for choice in value.get("choices", ()):
            found.append(choice["delta"]["tool_calls"][0]["function"]["arguments"])
        delta = value.get("delta", "")
        found.append(delta if isinstance(delta, str) else delta["partial_json"])
    return "".join(found)


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("size", [1, 4, 7, 1000])
def test_arguments_of_a_stream_are_looked_into_as_they_read(name: str, size: int) -> None:
    path, body, _ = FORMATS[name]
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in MAIL)
    values = json.dumps({"place": "Köln, " * 20, "to": "MAIL", "and": f'"x"\n{MAIL}'}).replace("MAIL", escaped)
    pieces = [values[start : start + size] for start in range(0, len(values), size)]
    entry = {**REDACTION, "WINDOW": 60}
    found = ask({"pii": entry}, body, Answer(*ARGUMENTS[name](*pieces), headers=[SSE]), path=path)
    expected = {"place": "Köln, " * 20, "to": "[EMAIL_1]", "and": '"x"\n[EMAIL_1]'}
    assert arguments_of(found.body) == json.dumps(expected)


def test_placeholders_are_restored_in_a_stream_of_another_format() -> None:
    entry = {**REDACTION, "OPTIONS": {"restore": True}}
    answer = Answer(*messages_events("Dear [EMA", "IL_1], hello"), headers=[SSE])
    found = ask(
        {"pii": entry}, request(f"Greet {MAIL}", stream=True), answer, headers=(JSON, (b"x-provider", b"anthropic"))
    )
    assert MAIL.encode() not in found.sent[0]  # type: ignore[operator]
    assert text_of(found.body) == f"Dear {MAIL}, hello"


def test_what_is_held_goes_out_when_nothing_comes_for_a_while() -> None:
    class Slow(Answer):
        """Sends a piece, and nothing more until somebody has seen it."""

        def __init__(self) -> None:
            super().__init__(headers=[SSE])
            self.was_seen = asyncio.Event()
            self.steps = [chat_events("Good morning, all of y")[0], *chat_events("ou")]

        async def read(self, patience: float | None = None) -> bytes | None:
            if len(self.steps) == 3:
                await self.was_seen.wait()
            return await super().read()

    async def main() -> list[str]:
        answer = Slow()
        reply = await gateway.handle(make_arrival(CHAT, JSON, KEY, body=request(stream=True)), Scripted(answer))
        assert isinstance(reply.body, ReplyBody)
        found = []
        async for piece in reply.body:
            found.append(text_of(piece))
            answer.was_seen.set()
        await reply.aclose()
        return found

    site = {
        "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "x"}}},
        "KEYS": {"team": "gw_a-key-of-the-settings"},
        "GUARDRAILS": {"pii": {**REDACTION, "DELAY": 0.01}},
    }
    with override_settings(AI_GATEWAY=site):
        assert "".join(run(main())) == "Good morning, all of you"


def test_a_caller_that_leaves_while_something_is_held_closes_everything() -> None:
    class Stuck(Answer):
        """Sends two pieces, and then nothing."""

        async def read(self, patience: float | None = None) -> bytes | None:
            if not self.steps:
                await asyncio.Event().wait()
            return await super().read(patience)

    async def main() -> bool:
        answer = Stuck(*chat_events("x")[:1], headers=[SSE])
        reply = await gateway.handle(make_arrival(CHAT, JSON, KEY, body=request(stream=True)), Scripted(answer))
        assert isinstance(reply.body, ReplyBody)
        reading = asyncio.ensure_future(anext(reply.body))
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await reply.aclose()
        assert len(asyncio.all_tasks()) == 1
        return answer.is_closed

    site = {
        "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "x"}}},
        "KEYS": {"team": "gw_a-key-of-the-settings"},
        "GUARDRAILS": {"pii": REDACTION},
    }
    with override_settings(AI_GATEWAY=site):
        assert run(main())


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
