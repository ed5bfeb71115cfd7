"""What goes over the wire in every benchmark: the mock upstream sends it, the load client checks it.

The model's name tells the upstream what to do, so that one server serves every scenario:

    mock              one answer of exactly 1 KiB, at once
    mock-sleep-T      the same after T milliseconds
    mock-fail-S       an error with the status S, or no answer at all (0)
    mock-NxM          a stream of N numbered chunks, M milliseconds apart (0: one per turn of the event loop)
    mock-NxM-stamped  the same, and each chunk tells when it was sent

A gateway may write a prefix of its own before that name.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

CHAT_PATH = "/v1/chat/completions"
MESSAGES_PATH = "/v1/messages"
GATEWAY_KEY = "gw_benchmark_0123456789abcdef"
PROVIDER_KEY = "sk-benchmark"
ROUTE_PREFIX = "any-"
"""What the name of a model's route begins with, where routes are measured."""

PROSE = "A gateway earns its keep when nobody notices that it is there: every byte passes, none is late. "
PLAIN = "mock"
BURST, SHORT, PACED, CROWD = "mock-100x0", "mock-5x2", "mock-50x20-stamped", "mock-25x200-stamped"
MODELS = (PLAIN, BURST, SHORT, PACED, CROWD)
"""The models that gateways are compared with: some must be told of each."""

LOOKED_THROUGH = 4096

_STREAM = re.compile(r"mock-(\d+)x(\d+)")
_SLEEP = re.compile(r"mock-sleep-(\d+)")
_FAIL = re.compile(r"mock-fail-(\d+)")
_MODEL = re.compile(rb'"model"\s*:\s*"([^"]*)"')
_STREAMED = re.compile(rb'"stream"\s*:\s*true')
_NUMBER = re.compile(rb"#(\d{6})#")
_STAMP = re.compile(rb"@(\d{16})@")
NO_STAMP = "@" + "0" * 16 + "@"


class Wish(NamedTuple):
    """What a request asks the upstream for. Times in seconds; `chunks` is None for an answer in one piece; `status` is
    None for a connection that is closed without an answer."""

    chunks: int | None = None
    interval: float = 0.0
    delay: float = 0.0
    status: int | None = 200
    is_stamped: bool = False


def read_wish(body: bytes) -> Wish:
    """Read what the upstream is to do from the beginning of a request's JSON body."""
    head = body[:LOOKED_THROUGH]
    found = _MODEL.search(head)
    model = found[1].decode("latin-1") if found else PLAIN
    if _STREAMED.search(head):
        stream = _STREAM.search(model)
        if stream is None:
            return Wish(20)
        return Wish(int(stream[1]), int(stream[2]) / 1000, is_stamped=model.endswith("-stamped"))
    fail = _FAIL.search(model)
    if fail:
        return Wish(status=int(fail[1]) or None)
    sleep = _SLEEP.search(model)
    return Wish(delay=int(sleep[1]) / 1000) if sleep else Wish()


def _answer(content: str) -> bytes:
    message = {"role": "assistant", "content": content, "refusal": None}
    usage = {"prompt_tokens": 11, "completion_tokens": 180, "total_tokens": 191}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = {"id": "chatcmpl-benchmark", "object": "chat.completion", "created": 1760000000, "model": PLAIN}
    return json.dumps({**head, "choices": [choice], "usage": usage}).encode()


ANSWER_CONTENT = (PROSE * 11)[: 1024 - len(_answer(""))]
ANSWER = _answer(ANSWER_CONTENT)
"""The 1 KiB answer."""


REFUSAL = json.dumps({"error": {"message": "Not now.", "type": "server_error", "param": None, "code": None}}).encode()
"""The body of an error."""


def event(number: int, stamp: str = "") -> bytes:
    """Write one numbered chunk as a server-sent event."""
    return _event({"content": f"#{number:06d}#{stamp} {PROSE[:48]}"}, None)


def stamped(piece: bytes) -> bytes:
    """Write the present moment into a piece that was made with NO_STAMP. Its length stays the same."""
    return piece.replace(NO_STAMP.encode(), b"@%016d@" % (time.monotonic_ns() // 1000))


def ages(piece: bytes) -> list[float]:
    """Tell how many seconds ago the chunks in a piece were sent, by the clock that all processes of a machine share."""
    now = time.monotonic_ns() // 1000
    return [(now - int(moment)) / 1e6 for moment in _STAMP.findall(piece)]


def _event(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-benchmark", "object": "chat.completion.chunk", "created": 1760000000, "model": PLAIN}
    return b"data: " + json.dumps({**head, "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"


END = _event({}, "stop") + b"data: [DONE]\n\n"
"""What follows the last chunk."""


CODE = """def greeting(name: str) -> str:
    "Greet somebody, in the words of settings.GREETING."
    return settings.GREETING.format(name=name or "you")


"""
"""What the prompts of coding agents consist of."""


def request_body(model: str, *, stream: bool, system: str = "") -> bytes:
    """Write a chat request. `system` is the text of an additional first message."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": "Say something that takes a kilobyte."})
    return json.dumps({"model": model, "stream": stream, "messages": messages}).encode()


def messages_body(model: str) -> bytes:
    """Write a request for a stream in Anthropic's format."""
    messages = [{"role": "user", "content": "Say something that takes a kilobyte."}]
    return json.dumps({"model": model, "max_tokens": 1000, "stream": True, "messages": messages}).encode()


def request_bytes(
    body: bytes, *, credential: str, path: str = CHAT_PATH, headers: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """Write the whole HTTP request: the same bytes go out again and again."""
    fields = {
        "host": "benchmark.test",
        "authorization": f"Bearer {credential}",
        "content-type": "application/json",
        "accept": "*/*",
        "user-agent": "benchmark",
        "content-length": str(len(body)),
        **headers,
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("ascii") + body


def get_bytes(path: str) -> bytes:
    """Write a GET request."""
    return f"GET {path} HTTP/1.1\r\nhost: benchmark.test\r\n\r\n".encode("ascii")


def complaint_about_answer(body: bytes) -> str | None:
    """Say what is wrong with the answer in one piece, or None."""
    return None if ANSWER_CONTENT.encode() in body else f"not the answer: {body[:200]!r}"


def complaint_about_messages(body: bytes, chunks: int) -> str | None:
    """Say what is wrong with a whole stream in Anthropic's format: the same chunks, and `message_stop` last."""
    numbers = [int(number) for number in _NUMBER.findall(body)]
    if numbers != list(range(chunks)) or body.count(b'"text_delta"') != chunks:
        return f"{len(numbers)} of {chunks} chunks, or not in order: {body[-200:]!r}"
    is_whole = body.rstrip().endswith(b'data: {"type":"message_stop"}')
    return None if is_whole else f"the stream did not end with message_stop: {body[-200:]!r}"


def complaint_about_stream(body: bytes, chunks: int) -> str | None:
    """Say what is wrong with a whole stream: every chunk must be there, once and in order, and `[DONE]` last."""
    numbers = [int(number) for number in _NUMBER.findall(body)]
    if numbers != list(range(chunks)):
        return f"{len(numbers)} of {chunks} chunks, or not in order: {body[-200:]!r}"
    return None if body.rstrip().endswith(b"data: [DONE]") else f"the stream did not end with [DONE]: {body[-200:]!r}"
