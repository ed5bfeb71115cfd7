"""What a call may use, for reserving, and what one has used that nobody counted, for charging."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_gateway import estimates
from ai_gateway.protocols import PROTOCOLS
from tests.consumption.hearing import PATHS, SSE, asking, consumption_of
from tests.factories import make_call
from tests.protocols.vectors import Vector, vectors

OF_THE_PROVIDER = (
    "web",
    "file",
    "upload",
    "image",
    "audio",
    "advisor",
    "cache",
    "pdf",
    "multimodal",
    "code",
    "compact",
)
"""In the names of cases whose prompt is not all in the body: pages, files, caches, instructions of the provider's."""


def plain_prompts() -> Iterator[tuple[Vector, int, int]]:
    """Recorded prompts of text alone, long enough to be worth counting: the bytes of the body, and the true tokens."""
    for format in ("openai_chat", "openai_responses", "gemini"):
        for vector in vectors(format):
            is_plain = vector.request is not None and not any(word in vector.name for word in OF_THE_PROVIDER)
            if vector.status >= 300 or not is_plain or "tools" in vector.request:
                continue
            body = vector.stream if vector.is_stream else json.dumps(vector.response).encode()
            got = consumption_of(asking(PATHS[format]), body, headers=SSE if vector.is_stream else None)
            if got is not None and not got.tokens.is_estimated and got.tokens.total_input >= 100:
                yield vector, len(json.dumps(vector.request).encode()), got.tokens.total_input


@pytest.mark.parametrize(("vector", "truth"), [(vector, truth) for vector, _, truth in plain_prompts()], ids=str)
def test_a_plain_prompt_is_estimated(vector: Vector, truth: int) -> None:
    """A fair guess is within a factor of three, for JSON has a frame that is no text; the other one is above the truth,
    or not far below it where a provider puts words of its own before the prompt."""
    body = json.dumps(vector.request, ensure_ascii=False).encode()
    fair, most = estimates.likely_input_tokens(body), estimates.input_tokens(body)
    assert truth / 3 <= fair <= truth * 3
    assert most >= fair
    assert most >= truth * 0.85


def test_a_text_is_estimated_by_its_bytes_but_no_piece_is_nothing() -> None:
    assert estimates.text_tokens(400) == 100
    assert estimates.text_tokens(40, pieces=30) == 30
    assert estimates.text_tokens(0) == 0


@pytest.mark.parametrize(
    ("path", "body", "tokens"),
    [
        ("/v1/chat/completions", {"max_tokens": 7}, 7),
        ("/v1/chat/completions", {"max_completion_tokens": 7, "n": 3}, 21),
        ("/v1/responses", {"max_output_tokens": 7}, 7),
        ("/v1beta/models/m:generateContent", {"generationConfig": {"maxOutputTokens": 7, "candidateCount": 2}}, 14),
        ("/v1/model/m/converse", {"inferenceConfig": {"maxTokens": 7}}, 7),
        ("/v1/chat/completions", {}, 500),
        ("/v1/chat/completions", {"max_tokens": 10**30}, estimates.LONGEST_ANSWER),
        ("/v1/chat/completions", {"max_tokens": 10**320, "n": 10**320}, estimates.LONGEST_ANSWER * 128),
        ("/v1/chat/completions", {"max_tokens": -(10**30)}, 500),
        ("/v1/chat/completions", {"max_tokens": "seven"}, 500),
        ("/v1/chat/completions", {"max_tokens": 7.0}, 7),
        ("/v1/chat/completions", {"max_tokens": "7"}, 7),
        ("/v1/chat/completions", {"max_tokens": True, "n": True}, 500),
        ("/v1/messages", {"max_tokens": 7}, 7),
        ("/v1beta/models/m:generateContent", {"generation_config": {"max_output_tokens": 7, "candidate_count": 2}}, 14),
        ("/v1/completions", {"max_tokens": 7}, 7),
        ("/v1/completions", {}, 500),
        # What is written for another format, or twice, does not make it less.
        ("/v1/chat/completions", {"max_tokens": 700, "max_completion_tokens": 1}, 700),
        ("/v1/chat/completions", {"max_output_tokens": 1}, 500),
        ("/v1/chat/completions", {"n": 5, "generationConfig": {"candidateCount": 1, "maxOutputTokens": 1}}, 2500),
        ("/v1/chat/completions", {"max_tokens": 700, "generationConfig": 0, "inferenceConfig": []}, 700),
        ("/v1/messages", {"max_tokens": 700, "max_completion_tokens": 1, "n": 9}, 700),
        ("/v1/responses", {"max_tokens": 1, "max_output_tokens": 700}, 700),
        ("/v1/embeddings", {"max_tokens": 7}, 0),
    ],
)
def test_an_answer_is_as_long_as_its_caller_allows(path: str, body: object, tokens: int) -> None:
    assert estimates.output_tokens(make_call(path, body=json.dumps(body).encode()), 500) == tokens


@pytest.mark.parametrize("guess", [estimates.input_tokens, estimates.likely_input_tokens])
def test_a_file_in_base64_is_not_text(guess: object) -> None:
    assert callable(guess)
    for file in (
        {"image": "A" * 100_000},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}},
        {"source": {"type": "base64", "data": "A" * 100_000}},
        {"inlineData": {"mimeType": "image/png", "data": "A" * 100_000}},
        {"image": {"source": {"bytes": "A" * 100_000}}},
        {"images": ["A/" * 50_000]},
    ):
        body = json.dumps({**file, "text": "word " * 800}).encode()
        assert 2600 < guess(body) < 3050
        assert guess(body.replace(b"/", b"\\/")) < 3050
    assert guess("no bytes") == 0


def test_a_text_without_a_blank_is_no_file() -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "A" * 30_000}]}).encode()
    assert estimates.input_tokens(body) > 10_000


MARKS = [b'{"data":"', b'{ "image" : [ "', b'{"url":"data:image/png;base64,', b'{"content":"', b'{"data":"see ']


@given(st.lists(st.tuples(st.sampled_from(MARKS), st.integers(0, 4000), st.sampled_from([b"", b" word", b"\\n"]))))
def test_files_are_found_wherever_they_are(parts: list[tuple[bytes, int, bytes]]) -> None:
    pieces = [b'%b%b%b"}' % (mark, b"Ab+/"[:4] * (size // 4), text) for mark, size, text in parts]
    body = b"[" + b", ".join(pieces) + b"]"
    files = [
        size // 4 * 4 + 2 * (text == b"\\n")
        for mark, size, text in parts
        if mark in MARKS[:3] and text != b" word" and size // 4 * 4 + 2 * (text == b"\\n") > estimates.SHORTEST_FILE
    ]
    assert list(estimates._files(body)) == files


def test_every_format_can_be_estimated() -> None:
    assert all(protocol.passing().can_be_estimated for protocol in PROTOCOLS.values())
