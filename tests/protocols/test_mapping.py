"""The page about translation says what the code does."""

from __future__ import annotations

import pytest

from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.anthropic_messages import request_reader as messages_reader
from ai_gateway.protocols.bedrock_converse import request_reader as converse_reader
from ai_gateway.protocols.gemini import request_reader as gemini_reader
from ai_gateway.protocols.openai_chat import request_reader as chat_reader
from ai_gateway.protocols.openai_responses import request_reader as responses_reader
from tests.protocols.mapping import BEGIN, END, PAGE, TITLES, outcome, write_tables
from tests.protocols.mapping_samples import SAMPLES, Sample


def test_the_tables_are_what_the_code_does() -> None:
    """Write them anew with `python -m tests.protocols.mapping`, and look at what changed."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    assert rest.partition(END)[0].strip() == write_tables().strip()


def test_every_format_has_its_table() -> None:
    assert set(SAMPLES) == set(TITLES) == set(PROTOCOLS)


@pytest.mark.parametrize(
    ("format", "sample"), [(format, sample) for format, (_, samples) in SAMPLES.items() for sample in samples], ids=str
)
def test_a_member_that_is_set_is_never_lost_in_silence(format: str, sample: Sample) -> None:
    """It is written, or dropped and reported, or refused. What has no effect is on a short list."""
    without_effect = {
        "`include` `reasoning.encrypted_content`",
        "`include_reasoning` (OpenRouter)",
        "`reasoning.summary`",
        "`service_tier`",
    }
    for to in set(PROTOCOLS) - {format}:
        assert outcome(format, sample, to) != "no effect" or sample.name in without_effect, to


READ = {
    "openai_chat": {*chat_reader.SCALARS, *chat_reader.STRUCTURED, *chat_reader.EXTRAS},
    "openai_responses": {*responses_reader.READ, *responses_reader.EXTRAS},
    "anthropic_messages": {*messages_reader.READ, *messages_reader.REFUSED},
    "gemini": {*gemini_reader.STRUCTURED, *gemini_reader.AT_GOOGLE_ONLY},
    "bedrock_converse": set(converse_reader.READ),
}
"""The members that the reader of each format knows by name."""

PLAIN = {"model", "modelId", "stream", "messages", "input", "contents"}
"""Members that are the call itself."""

SPELLED_TWICE = {
    "openai_chat": {
        *("max_completion_tokens", "safety_identifier", "safetySettings", "cachedContent", "google"),
        *("top_logprobs", "audio", "stream_options"),
    },
    "openai_responses": {"user", "google", "stream_options"},
}
"""Members that are another spelling of one that has its line, or belong to one; and what asks for how usage is told."""


@pytest.mark.parametrize("format", READ)
def test_every_member_that_a_reader_knows_has_its_line(format: str) -> None:
    shown = {name for sample in SAMPLES[format][1] for name in sample.members}
    assert READ[format] - PLAIN - SPELLED_TWICE.get(format, set()) <= shown
