"""The guardrails that come with the gateway, each by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from ai_gateway import passages
from ai_gateway.guardrails.base import ANSWER, Block, Guardrail, View
from ai_gateway.guardrails.expressions import PIECE, compiled, found
from ai_gateway.guardrails.hook import Hook
from ai_gateway.guardrails.moderation import Moderation
from ai_gateway.guardrails.patterns import Patterns
from ai_gateway.guardrails.redaction import Redaction
from ai_gateway.guardrails.size import Size
from ai_gateway.plain_forms import plain
from tests.guardrails.views import changed, of_body, seen, verdict

TURNS = b'{"messages": [{"role": "user", "content": [{"type": "text", "text": "12345"}, {"type": "image_url",' + (
    b'"image_url": {"url": "https://x.example/y.png"}}]}, {"role": "user", "content": "6789"}]}'
)


@pytest.mark.parametrize(
    ("limit", "is_blocked"),
    [
        ({"max_characters": 40}, False),
        ({"max_characters": 20}, True),
        ({"max_tokens": 8}, False),
        ({"max_tokens": 7}, True),
        ({"max_messages": 2}, False),
        ({"max_messages": 1}, True),
        ({"max_images": 1}, False),
        ({"max_images": 0}, True),
    ],
)
def test_what_is_too_large_is_blocked(limit: dict[str, int], is_blocked: bool) -> None:
    assert isinstance(verdict(Size(**limit), of_body(TURNS)), Block) == is_blocked


def test_tokens_are_estimated_from_bytes_so_that_every_script_counts() -> None:
    text = "今日は世界" * 20  # 100 characters, 300 bytes.
    assert verdict(Size(max_tokens=75), seen(text)) is None
    assert isinstance(verdict(Size(max_tokens=74), seen(text)), Block)


def test_images_of_every_format_are_counted() -> None:
    google = b'{"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "x"}}]}]}'
    anthropic = b'{"messages": [{"content": [{"type": "image", "source": {"media_type": "x"}}]}]}'
    responses = b'{"input": [{"content": [{"type": "input_image", "image_url": "x"}]}]}'
    assert all(verdict(Size(max_images=0), of_body(body)) for body in (google, anthropic, responses))


@pytest.mark.parametrize(
    ("options", "text", "is_blocked"),
    [
        ({"deny": ["drop table"]}, "Please DROP TABLE users", True),
        ({"deny": ["drop table"], "ignore_case": False}, "Please DROP TABLE users", False),
        ({"deny": ["drop table"]}, "Good morning", False),
        ({"allow": [r"^[a-z ]+$"]}, "only letters", False),
        ({"allow": [r"^[a-z ]+$"]}, "1", True),
    ],
)
def test_patterns_deny_and_allow(options: dict[str, Any], text: str, is_blocked: bool) -> None:
    assert isinstance(verdict(Patterns(**options), seen(text)), Block) == is_blocked


def test_a_reason_does_not_repeat_what_was_found() -> None:
    said = verdict(Patterns(deny=["secret [a-z]+"]), seen("the secret plan"))
    assert isinstance(said, Block)
    assert "plan" not in said.reason


def test_what_is_denied_may_be_replaced() -> None:
    assert changed(Patterns(deny=["red", "blue"], replacement="~"), seen("red and blue", "green")) == [
        "~ and ~",
        "green",
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "(a+)+b",
        "(a|aa)+b",
        "(.*)*",
        "(a*)*",
        r"(\w+\s?)+$",
        "(a?){30}a{30}",
        ".*.*x",
        "((a|b|ab)*)c",
        "(?=(a+)+b)",
        "(",
    ],
)
def test_an_expression_that_could_hang_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"too long|not a regular"):
        compiled(expression)


@pytest.mark.parametrize(
    "expression", ["a+b", ".*x", r"\bfoo\b", "(?:cat|dog)s?", "(a++)b", r"[a-z]{1,20}@[a-z]{1,20}"]
)
def test_an_ordinary_expression_is_taken(expression: str) -> None:
    assert compiled(expression)


@pytest.mark.parametrize("place", [0, PIECE - 3, PIECE - 499, PIECE - 501, 3 * PIECE])
def test_a_long_text_is_searched_in_pieces_and_nothing_is_missed(place: int) -> None:
    text = "." * place + "needle" + "." * 3000
    assert list(found(compiled("needle"), text)) == [(place, place + 6)]


SECRETS = [
    ("sk-proj-" + "a1B2" * 8, "API_KEY"),
    ("sk-ant-api03-" + "a1B2" * 10, "API_KEY"),
    ("AKIA" + "A" * 16, "API_KEY"),
    ("ghp_" + "a1B2" * 9, "API_KEY"),
    ("gw_" + "a" * 12 + "_" + "b" * 49, "API_KEY"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0." + "x" * 43, "TOKEN"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "PRIVATE_KEY"),
    ("ann.lee+x@mail.example.org", "EMAIL"),
    ("4111 1111 1111 1111", "CARD"),
    ("5500-0000-0000-0004", "CARD"),
    ("DE89 3704 0044 0532 0130 00", "IBAN"),
    ("GB82WEST12345698765432", "IBAN"),
    ("192.0.2.17", "IP"),
    ("2001:db8::17", "IP"),
    ("+49 30 901820", "PHONE"),
    ("+1 (555) 010-9999", "PHONE"),
]


@pytest.mark.parametrize(("secret", "kind"), SECRETS)
def test_secrets_and_personal_data_become_placeholders(secret: str, kind: str) -> None:
    assert changed(Redaction(), seen(f"Look: {secret}, yes")) == [f"Look: [{kind}_1], yes"]


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # The check digit is wrong.
        "DE88 3704 0044 0532 0130 00",
        "1.2.3 and 10:30 and 300.1.2.3",
        "sk-short",
        "me@home, @all, a::b",
        "+12",
        "0000 0000 0000 0000",
        "The total is 1234567890123456.",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert changed(Redaction(), seen(text)) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@x.org@y.org", "[EMAIL_1]@y.org"),
        ("x" * 65 + "@x.org " + "x" * 64 + "@x.org", "x" * 65 + "@x.org [EMAIL_1]"),
        ("@x.org <b@x.org>", "@x.org <[EMAIL_1]>"),
        ("192.0.2.17:8080 at:192.0.2.18, 192.0.2.19:x 0.192.0.2.17:1", "[IP_1]:8080 at:[IP_2], [IP_3]:x [IP_4].17:1"),
        ("1.192.0.2.17.9 x192.0.2.17 192.0.2.17", "[IP_1].17.9 x192.0.2.17 [IP_2]"),
        ("1111.2.3.4 ::ffff:0:192.0.2.17 a::b::c 1::2", "1111.2.3.4 [IP_1] a::b::c 1::2"),
        ("fe80:0:0:0:0:0:0:1,::1:2:3.", "[IP_1],[IP_2]."),
        ("abcde:1:2:3::4 :::: .1.2.3.4", "abcde:1:2:3::4 :::: .1.2.3.4"),
        ("xDE89370400440532013000 DE89370400440532013000", "xDE89370400440532013000 [IBAN_1]"),
        ("x4111111111111111 4111111111111111", "x4111111111111111 [CARD_1]"),
        ("1+4930901820 +4930901820", "1+4930901820 [PHONE_1]"),
        ("task-" + "a1B2" * 8 + " sk-" + "a1B2" * 8, "task-" + "a1B2" * 8 + " [API_KEY_1]"),
        ("rk_live_" + "a" * 16 + " spk_test_" + "a" * 16, "[API_KEY_1] spk_test_" + "a" * 16),
    ],
)
def test_what_is_found_begins_where_a_word_does(text: str, expected: str) -> None:
    assert changed(Redaction(), seen(text)) == [expected]


def test_every_kind_is_looked_for_in_a_plain_form_that_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def noted(text: str) -> str:
        asked.append(text)
        return plain(text)

    monkeypatch.setattr(passages, "plain", noted)
    assert changed(Redaction(), seen("to \uff41@x.org", "caf\u00e9")) == ["to [EMAIL_1]", "caf\u00e9"]
    assert asked == ["to \uff41@x.org", "caf\u00e9"]


def test_an_equal_value_has_the_same_placeholder_and_is_restored_in_the_answer() -> None:
    guardrail, memory = Redaction(restore=True), dict[str, Any]()
    asked = changed(guardrail, seen("a@x.org, b@x.org", "a@x.org", memory=memory))
    assert asked == ["[EMAIL_1], [EMAIL_2]", "[EMAIL_1]"]
    answer = seen("Dear [EMAIL_2], [EMAIL_9]", stage=ANSWER, memory=memory)
    assert changed(guardrail, answer) == ["Dear b@x.org, [EMAIL_9]"]


def test_without_restoring_the_answer_is_redacted_too() -> None:
    assert changed(Redaction(), seen("to a@x.org", stage=ANSWER)) == ["to [EMAIL_1]"]


def parts(*texts: str) -> View:
    """A message whose text comes in parts."""
    content = [{"type": "text", "text": text} for text in texts]
    return of_body(json.dumps({"messages": [{"role": "user", "content": content}]}).encode())


def said(content: Any, role: str = "user") -> dict[str, Any]:
    """A message."""
    return {"role": role, "content": content}


MESSAGES_OF_PARTS = [
    {"messages": [{"content": [{"type": "text", "text": "a sec"}, {"type": "text", "text": "ret plan"}]}]},
    {"messages": [{"content": [{"text": "sec"}, {"image": {"format": "png"}}, {"text": "ret"}]}]},
    {"system": [{"type": "text", "text": "sec"}, {"type": "text", "text": "ret"}]},
    {"contents": [{"parts": [{"text": "s"}, {"text": "ecre"}, {"text": "t"}]}]},
    {"input": [{"type": "message", "content": [{"type": "input_text", "text": "sec"}, {"text": "ret"}]}]},
    {"messages": [{"content": [{"type": "tool_result", "content": [{"text": "sec"}, {"text": "ret"}]}]}]},
]
FORMS = [
    "\uff53\uff45\uff43\uff52\uff45\uff54",
    "se\u200bcr\u00adet",
    "\U0001d42c\U0001d41e\U0001d41c\U0001d42b\U0001d41e\U0001d42d",
    "ⓢⓔⓒⓡⓔⓣ",
    "s\u2060\ufeffe\ufe0fcret\u00ad",
    "s\u0000ec\u007f\u009bret",
]


@pytest.mark.parametrize("body", MESSAGES_OF_PARTS)
def test_what_is_denied_is_found_over_the_parts_of_a_message(body: dict[str, Any]) -> None:
    assert isinstance(verdict(Patterns(deny=["secret"]), of_body(json.dumps(body).encode())), Block)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [said("sec"), said("ret")]},
        {"messages": [said("Hello"), said("Hi", "assistant"), said("a sec"), said("re"), said("t plan")]},
        {"messages": [said([{"type": "text", "text": "sec"}]), said("ret")]},
        {"messages": [{"content": "sec", "role": "user"}, said([{"text": "re"}, {"text": "t"}])]},
        {"messages": [said("sec", "developer"), said("ret", "developer")]},
        {"contents": [{"role": "user", "parts": [{"text": "sec"}]}, {"parts": [{"text": "ret"}], "role": "user"}]},
        {"input": [said("sec"), {"type": "message", **said([{"type": "input_text", "text": "ret"}])}]},
        {"contents": [{"role": "", "parts": {"text": "sec"}}, {"parts": [{"text": "re"}]}, "t"]},
        {"contents": [{"role": "user", "parts": [{"text": "sec"}]}, {"role": "function", "parts": [{"text": "ret"}]}]},
        {"messages": [said(["sec", "ret"])]},
        {"messages": [said(["sec", {"text": "ret"}])]},
        {"messages": [said("sec", "User"), said("ret")]},
    ],
)
def test_what_is_denied_is_found_over_messages_of_one_role_that_follow_each_other(body: dict[str, Any]) -> None:
    """Anthropic, and whoever is translated to, makes one of them."""
    assert isinstance(verdict(Patterns(deny=["secret"]), of_body(json.dumps(body).encode())), Block)


NOTHING = [said("", "assistant"), said([{"type": "thinking", "thinking": "Hm."}], "assistant"), said("Hi", "system")]


@pytest.mark.parametrize(
    "body",
    [
        *({"messages": [said("sec"), between, said("ret")]} for between in NOTHING),
        {"messages": [said("sec", "system"), said("Hello"), said("Hi", "assistant"), said("ret", "developer")]},
        {"messages": [said("sec"), {"tool_call_id": "a", **said("found", "tool")}, said("ret")]},
        {"input": [said("sec"), {"type": "reasoning", "summary": []}, said("ret")]},
        {"contents": ["sec", {"role": "model", "parts": [{"text": "Hm.", "thought": True}]}, "ret"]},
        {"input": [said("sec"), {"type": "function_call_output", "call_id": "a", "output": "x"}, said("ret")]},
        {"input": [said("sec"), {"type": "web_search_call", "action": {"query": "x"}}, said("ret")]},
        {"input": [said("sec"), {"type": "reasoning", **said("Hm.", "assistant")}, said("ret")]},
        {"messages": [said("sec"), {"unheard_of": "x", **said(" \n", "assistant")}, said("ret")]},
        {"messages": [said("sec"), said([{"type": "redacted_thinking", "data": "x"}], "assistant"), said("ret")]},
        {"messages": [said("sec"), said([{"type": "unheard_of", "text": "x"}], "assistant"), said("ret")]},
        {"messages": [said("sec"), said([{"type": "server_tool_use", "input": {"q": "x"}}], "assistant"), said("ret")]},
    ],
)
def test_messages_are_read_as_one_over_what_may_not_stand_between_them_any_more(body: dict[str, Any]) -> None:
    """Instructions are put in front, results of tools too, and what says nothing is left out on the way."""
    assert isinstance(verdict(Patterns(deny=["secret"]), of_body(json.dumps(body).encode())), Block)


@pytest.mark.parametrize(
    "body",
    [
        {"instructions": "sec", "input": [said("ret", "developer"), said("Hello")]},
        {"input": [said("Hello"), said("ret", "system")], "instructions": "sec"},
        {"messages": [said("ret", "system")], "system": [{"type": "text", "text": "sec"}]},
        {"contents": ["Hello"], "systemInstruction": {"parts": [{"text": "sec"}, {"text": "ret"}]}},
    ],
)
def test_instructions_that_stand_apart_are_read_before_those_among_the_messages(body: dict[str, Any]) -> None:
    """Where a request is translated they are put together."""
    assert isinstance(verdict(Patterns(deny=["secret"]), of_body(json.dumps(body).encode())), Block)


RESULTS = [
    {"type": "tool_result", "tool_use_id": "a", "content": "sec"},
    {"type": "tool_result", "tool_use_id": "b", "content": "ret"},
]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [said("sec"), said("ret", "assistant"), said("sec")]},
        {"messages": [said("sec"), said("Yes?", "assistant"), said("ret")]},
        {"messages": [said("sec", "tool"), said("ret", "tool")]},
        {"messages": [said(RESULTS)]},
        {"messages": [said("Hello"), said("sec")], "tools": [{"name": "a", "description": "ret"}]},
        {"messages": [said("Hello"), said("sec")], "metadata": {"content": "ret"}},
        {"input": [said("sec"), {"type": "function_call", "name": "f", "arguments": "{}"}, said("ret")]},
        {"messages": [said("sec"), {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}, said("ret")]},
        {"messages": [said("sec"), said([{"type": "tool_use", "name": "f", "input": {}}], "assistant"), said("ret")]},
        {"messages": [said("sec"), said([{"toolUse": {"name": "f", "input": {}}}], "assistant"), said("ret")]},
        {"contents": ["sec", {"role": "model", "parts": [{"functionCall": {"name": "f"}}]}, "ret"]},
        {"messages": [said("sec"), said([{"type": "text", "text": "Yes?"}], "assistant"), said("ret")]},
        {"messages": [said("sec"), said(["Yes?"], "assistant"), said("ret")]},
        {"input": ["sec", "ret"]},
        {"tools": [{"name": "a", "description": "sec"}, {"name": "b", "description": "ret"}]},
    ],
)
def test_what_is_said_apart_is_not_one_text(body: dict[str, Any]) -> None:
    assert verdict(Patterns(deny=["secret"]), of_body(json.dumps(body).encode())) is None


def test_what_is_redacted_over_messages_is_taken_out_of_each_of_them() -> None:
    asked = of_body(
        json.dumps({"messages": [said("Ask ann@ma"), said([{"text": "il.exam"}]), said("ple, soon")]}).encode()
    )
    assert changed(Redaction(), asked) == ["Ask [EMAIL_1]", "[EMAIL_1]", ", soon"]


@pytest.mark.parametrize("text", FORMS)
def test_what_is_denied_is_found_in_whatever_form_its_letters_have(text: str) -> None:
    assert isinstance(verdict(Patterns(deny=["secret"]), seen(f"Dear é, the {text}.")), Block)
    assert isinstance(verdict(Patterns(deny=["secret"]), parts(f"the {text[:4]}", text[4:])), Block)
    assert changed(Patterns(deny=["secret"], replacement="~"), seen(f"Cafe\u0301 ½, the {text}.")) == [
        "Cafe\u0301 ½, the ~."
    ]


def test_what_is_denied_is_found_as_it_is_written_too() -> None:
    assert isinstance(verdict(Patterns(deny=["ﬁ"]), seen("ﬁne")), Block)
    assert isinstance(verdict(Patterns(deny=["\u200b"]), seen("a\u200bb")), Block)


def test_what_is_replaced_over_several_parts_leaves_each_of_them() -> None:
    guardrail = Patterns(deny=["secret"], replacement="~")
    assert changed(guardrail, parts("the s", "ecre", "t is")) == ["the ~", "~", " is"]
    assert changed(guardrail, parts("the sec", "ret is", " a secret")) == ["the ~", " is", " a ~"]


def test_a_secret_in_several_parts_is_redacted_as_one() -> None:
    guardrail, memory = Redaction(restore=True), dict[str, Any]()
    asked = parts("Write to ann@ma", "il.exam", "ple, or ann@mail.example.")
    asked.memory = memory
    assert changed(guardrail, asked) == ["Write to [EMAIL_1]", "[EMAIL_1]", ", or [EMAIL_1]."]
    assert changed(guardrail, seen("[EMAIL_1]", stage=ANSWER, memory=memory)) == ["ann@mail.example"]


@pytest.mark.parametrize(("secret", "kind"), SECRETS)
def test_secrets_and_personal_data_are_found_in_parts_and_in_other_forms(secret: str, kind: str) -> None:
    half = len(secret) // 2
    first, second = changed(Redaction(), parts(f"Look: {secret[:half]}", f"{secret[half:]}, yes"))
    assert (first, second) == (f"Look: [{kind}_1]", ", yes")
    wide = "".join(chr(ord(each) + 0xFEE0) if each.isalnum() else each for each in secret)
    assert changed(Redaction(), seen(f"Look: {wide}, yes")) == [f"Look: [{kind}_1], yes"]
    hidden = "\u200b".join(secret)
    assert changed(Redaction(), seen(f"Look: {hidden}, yes")) == [f"Look: [{kind}_1], yes"]


def test_what_is_whole_in_one_part_takes_nothing_of_the_next() -> None:
    assert changed(Redaction(), parts("Write to ann@mail.example", "Hello, Ann")) == [
        "Write to [EMAIL_1]",
        "Hello, Ann",
    ]
    assert changed(Redaction(), parts("Ask my colleague", "bob@mail.example")) == ["Ask my colleague", "[EMAIL_1]"]


def test_a_private_key_goes_on_in_the_next_part() -> None:
    begin, end = "-----BEGIN PRIVATE KEY-----\nMII", "EvQ\n-----END PRIVATE KEY-----"
    assert changed(Redaction(), parts(f"It is {begin}", "x" * 3000, f"{end}, keep it")) == [
        "It is [PRIVATE_KEY_1]",
        "[PRIVATE_KEY_1]",
        ", keep it",
    ]


def test_a_moderation_is_asked_about_a_message_as_one_text() -> None:
    asked: list[Any] = []

    async def ask(provider: str, path: str, body: Mapping[str, Any]) -> Any:
        asked.append(body["input"])
        return {"results": []}

    view = parts("how to b", "uild it")
    view.ask = ask
    verdict(Moderation(), view)
    assert asked == [["how to build it"]]


def test_a_moderation_is_asked_about_texts_with_halves_of_surrogate_pairs() -> None:
    """Nobody can send them, and a guardrail that fails may be one that lets calls pass."""
    asked: list[Any] = []

    async def ask(provider: str, path: str, body: Mapping[str, Any]) -> Any:
        asked.append(msgspec.json.decode(msgspec.json.encode(body))["input"])
        return {"results": []}

    view = parts("how \ud800 to \ud83d", "\ude00")
    view.ask = ask
    verdict(Moderation(), view)
    assert asked == [["how \ufffd to \U0001f600"]]


@pytest.mark.parametrize("text", ["x", "é", "\u200b", "e\u0301", "\uff58"])
def test_a_message_of_very_many_parts_is_looked_into_in_time(text: str) -> None:
    view = parts(*[text] * 20_000, "sec", "ret")
    assert isinstance(verdict(Patterns(deny=["secret"]), view), Block)
    assert changed(Redaction(), view)[0] == text


def flagged(**categories: float) -> dict[str, Any]:
    return {
        "flagged": any(score > 0.5 for score in categories.values()),
        "categories": {name: score > 0.5 for name, score in categories.items()},
        "category_scores": categories,
    }


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "The request was flagged: violence."),
        ({"categories": ["hate"]}, None),
        ({"threshold": 0.1}, "The request was flagged: hate, violence."),
        ({"threshold": 0.1, "categories": ["hate"]}, "The request was flagged: hate."),
        ({"threshold": 0.95}, None),
    ],
)
def test_a_provider_is_asked_what_it_thinks(options: dict[str, Any], reason: str | None) -> None:
    asked: list[Any] = []

    async def ask(provider: str, path: str, body: Mapping[str, Any]) -> Any:
        asked.append((provider, path, body["input"]))
        return {"results": [flagged(violence=0.9, hate=0.2)]}

    said = verdict(Moderation(**options), seen("bad", "words", ask=ask))
    assert asked == [("openai", "/v1/moderations", ["bad", "words"])]
    assert (said and said.reason) == reason


@pytest.mark.parametrize(
    "guardrail", [Size(), Patterns(), Size(max_images=-1), Hook(lambda: None), Hook(lambda view: None, more=1)]
)
def test_one_that_cannot_work_says_so(guardrail: Guardrail) -> None:
    with pytest.raises(ValueError, match=r"limit|pattern|called"):
        guardrail.check()
