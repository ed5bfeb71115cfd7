"""What must be true of every call, whatever befell it; and of the gateway, when all calls are over."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ai_gateway.protocols import DIALECTS
from tests.chaos.callers import Got
from tests.chaos.faults import IN_A_BODY, Fault
from tests.chaos.provider import Sent
from tests.chaos.voices import CHAT, MESSAGES, Voice
from tests.wire.samples import CHAT_DIALECT, Dialect

MARKS = re.compile(rb"chaos-(\d+)-(\d+)/")

SIGNS = (DIALECTS["openai_chat"].keep_alive, DIALECTS["anthropic_messages"].keep_alive)

SLOW = 0.4
"""Seconds between two signs of life from which on the gateway may have run out of patience with a provider."""


class Violation(AssertionError):
    """Something that must never be."""


def judge(got: Got, exchanges: Sequence[Sent]) -> None:
    """Judge what one caller got. Raises Violation."""
    plan = got.plan
    exchanges = [sent for sent in exchanges if sent.provider != "shadow"]
    if got.is_hanging:
        raise Violation(f"the call hangs\n{got.stacks}")
    for seed, number in MARKS.findall(got.body):
        if (int(seed), int(number)) != (plan.seed, plan.number):
            raise Violation(f"words of call {number}")
    if got.has_left:
        if got.status == 200 and plan.is_stream and got.body:
            _check_beginning(got, exchanges)
        return
    if not got.has_answer:
        raise Violation("no answer at all")
    if got.status >= 400:
        _check_error(got)
    elif got.status != 200:
        raise Violation(f"status {got.status}")
    elif plan.is_stream:
        _check_stream(got, _served(got, exchanges))
    else:
        _check_whole(got, _served(got, exchanges))


def _served(got: Got, exchanges: Sequence[Sent]) -> Sent:
    """Find the exchange that an answer is made of: the last one with the provider that it names."""
    provider = got.headers.get("x-gateway-provider")
    found = [sent for sent in exchanges if sent.provider == provider]
    if not found:
        raise Violation(f"an answer of {provider!r}, who was never asked")
    if exchanges[-1] is not found[-1]:
        raise Violation(f"an answer of {provider!r}, although {exchanges[-1].provider!r} was asked later")
    return found[-1]


def _voice(dialect: Dialect) -> Voice:
    return CHAT if dialect is CHAT_DIALECT else MESSAGES


def _is_native(got: Got, sent: Sent) -> bool:
    return _voice(got.plan.dialect) is sent.voice


def _check_error(got: Got) -> None:
    if not got.is_whole:
        raise Violation("an error that is cut")
    try:
        got.plan.dialect.check_error(json.loads(got.body))
    except (AssertionError, ValueError) as error:
        raise Violation(f"not an error of this dialect: {got.body!r}") from error
    if b"internal_error" in got.body:
        raise Violation("the gateway failed")


# Whole answers.


def _check_whole(got: Got, sent: Sent) -> None:
    if not got.is_whole:
        if sent.is_whole:
            raise Violation("a good answer was cut")
        if not _is_native(got, sent) or not sent.answer.startswith(got.body):
            raise Violation("a cut answer that is not the beginning of the provider's")
        return
    if not sent.is_whole:
        raise Violation("a whole answer, of which the provider did not send all")
    if _is_native(got, sent):
        if got.body != sent.answer:
            raise Violation("not the provider's bytes")
        return
    value = json.loads(got.body)
    text = (
        value["choices"][0]["message"]["content"]
        if got.plan.dialect is CHAT_DIALECT
        else "".join(part["text"] for part in value["content"])
    )
    if text != sent.text:
        raise Violation("not the provider's words")


# Streams.


def _visible(got: Got, sent: Sent) -> list[bytes]:
    """The events that the caller gets to see of a provider that speaks its format."""
    hides = not got.plan.asks_usage
    return [event.data for event in sent.events if not (hides and event.is_usage)]


def _without_signs(body: bytes) -> bytes:
    for sign in SIGNS:
        body = body.replace(sign, b"")
    return body


def _check_beginning(got: Got, exchanges: Sequence[Sent]) -> None:
    """Judge a stream whose caller left."""
    sent = _served(got, exchanges)
    received = _without_signs(got.body)
    if _is_native(got, sent) and not b"".join(_visible(got, sent)).startswith(received):
        shared, rest = _split(received, _visible(got, sent))
        if not _is_error_event(got, rest):
            raise Violation(f"not the beginning of the provider's stream: {rest!r} after {len(shared)} events")


def _split(received: bytes, events: Sequence[bytes]) -> tuple[list[bytes], bytes]:
    """Split what was received into whole events of the provider, and the rest."""
    shared = []
    for event in events:
        if not received.startswith(event):
            break
        shared.append(event)
        received = received[len(event) :]
    return shared, received


def _is_error_event(got: Got, data: bytes) -> bool:
    if not data.endswith(b"\n\n") or data.count(b"\n\n") != 1:
        return False
    try:
        got.plan.dialect.check_error(got.plan.dialect.error_event(data))
    except (AssertionError, ValueError):
        return False
    return True


def _check_stream(got: Got, sent: Sent) -> None:
    if not got.is_whole:
        raise Violation("a stream that was cut")
    received = _without_signs(got.body)
    if _is_native(got, sent):
        shared, rest = _split(received, _visible(got, sent))
        events = [event for event in sent.events if event.data in shared]
        if rest and not _is_error_event(got, rest):
            raise Violation(f"not the provider's bytes: {rest!r} after {len(shared)} events")
    else:
        events, rest = _translated(got, sent, received)
    has_end = bool(events) and events[-1] is sent.events[-1] and events[-1].is_proof
    is_proven = any(event.is_proof for event in events)
    if has_end and rest:
        raise Violation(f"an error after the end: {rest!r}")
    if not is_proven and not rest:
        raise Violation("an end that is neither proven nor an error")
    sent_last = len(sent.sent_events) == len(sent.events) and sent.events[-1].is_proof
    if has_end and not sent_last:
        raise Violation("an end that the provider did not send")
    if sent_last and not has_end and not sent.is_reset and sent.fault is not Fault.STALL and sent.longest_wait < SLOW:
        raise Violation("the provider's end is lost")


def _translated(got: Got, sent: Sent, received: bytes) -> tuple[list[Any], bytes]:
    """Read a stream in another format than the provider's: which of its events it stands for, and the error in it."""
    text, is_over, rest = "", False, b""
    for block in received.split(b"\n\n")[:-1]:
        data = block.rpartition(b"data: ")[2]
        if is_over:
            raise Violation(f"something after the end: {block!r}")
        if data == b"[DONE]":
            is_over = True
            continue
        value = json.loads(data)
        if "error" in value:
            if sent.fault is not Fault.ERROR_LATER:
                rest = block + b"\n\n"
            is_over = True
        elif value.get("type") == "message_stop":
            is_over = True
        elif value.get("type") == "content_block_delta":
            text += value["delta"]["text"]
        elif value.get("choices"):
            text += value["choices"][0]["delta"].get("content") or ""
    if not "".join(event.text for event in sent.events).startswith(text):
        raise Violation("not the provider's words")
    if not is_over:
        return [], b""
    return ([], rest) if rest else (list(sent.events), b"")


# What is written down.


def judge_row(got: Got, exchanges: Sequence[Sent], rows: Sequence[dict[str, Any]]) -> None:
    """Judge what was written down of one call."""
    exchanges = [sent for sent in exchanges if sent.provider != "shadow"]
    if len(rows) > 1:
        raise Violation(f"{len(rows)} rows")
    if not rows:
        if exchanges or got.has_answer:
            raise Violation("no row")
        return
    row = rows[0]
    if row["attempts"] < len(exchanges):
        raise Violation(f"{row['attempts']} attempts written down, {len(exchanges)} made")
    if got.has_left:
        return
    if row["status"] != got.status:
        raise Violation(f"status {row['status']} written down, {got.status} given")
    if got.status == 200:
        served = _served(got, exchanges)
        others = [
            sent for sent in exchanges if sent is not served and sent.fault not in (Fault.REFUSAL, Fault.REDIRECT)
        ]
        _judge_answer_row(got, served, row, is_alone=not others)


def _judge_answer_row(got: Got, sent: Sent, row: dict[str, Any], *, is_alone: bool) -> None:
    """Judge the row of an answer. The prompt is counted, too, of those who were asked before and perhaps did the work:
    then it `is_alone` no more."""
    if row["provider"] != sent.provider:
        raise Violation(f"provider {row['provider']} written down, it was {sent.provider}")
    is_good = sent.is_whole and sent.fault is Fault.NONE
    if is_good and sent.longest_wait < SLOW:
        told = (row["outcome"], row["input_tokens"], row["output_tokens"], row["is_estimated"])
        exact = ("answered", sent.usage.input, sent.usage.output, 0)
        more = ("answered", max(sent.usage.input, row["input_tokens"]), sent.usage.output, 1)
        if told != exact and (is_alone or told != more):
            raise Violation(f"{told} written down, it was {sent.usage}")
    if row["outcome"] == "answered" and not got.is_whole:
        raise Violation("an answer that was cut is written down as answered")
    if row["outcome"] == "answered" and sent.fault in (*IN_A_BODY, Fault.UNPROVEN, Fault.ERROR_LATER):
        proven = [event for event in sent.sent_events if event.is_proof]
        if not proven or sent.fault is Fault.ERROR_LATER:
            raise Violation(f"{sent.fault.value} is written down as answered")
