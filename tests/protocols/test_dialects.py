"""What every wire format has in common, and how a request is told to be written in one."""

from __future__ import annotations

import json

import pytest

from ai_gateway import errors
from ai_gateway.errors import GatewayError, Kind
from ai_gateway.protocols import DIALECTS, PROTOCOLS, Dialect, anthropic_errors, dialect_of, gemini, openai_errors
from ai_gateway.sse import first_event, whole_events
from tests.protocols import recordings

EVERY_DIALECT = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.name)
EVENT_STREAMS = pytest.mark.parametrize(
    "dialect",
    [each for each in DIALECTS.values() if each.family != "bedrock" and not each.is_session],
    ids=lambda dialect: dialect.name,
)
"""The dialects that stream server-sent events; Bedrock's frames and a session's messages have tests of their own."""

ERROR = errors.UpstreamClosed('The provider said "no"\nand hung up. 😀', param="model")


class QuotaUsedUp(GatewayError):
    status = 429
    code = "insufficient_quota"
    kind = Kind.QUOTA


class TooManyRequests(GatewayError):
    status = 429
    code = "rate_limit_exceeded"
    kind = Kind.RATE_LIMIT


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "openai_chat"),
        ("/v1/responses", "openai_responses"),
        ("/v1/messages", "anthropic_messages"),
        ("/v1/complete", "anthropic"),
        ("/v1/messages/count_tokens", "anthropic"),
        ("/v1/messages/batches/b_1/results", "anthropic"),
        ("/v1beta/models/gemini-pro:generateContent", "gemini"),
        ("/v1beta/models", "google"),
        ("/v1/models/gemini-pro:streamGenerateContent", "gemini"),
        ("/v1/models/gemini-pro:countTokens", "google"),
        ("/v1/embeddings", "openai"),
        ("/v1/responses/resp_1/input_items", "openai"),
        ("/v1/chat/completions/chatcmpl_1", "openai"),
        ("/v1/models", "openai"),
        ("/v1", "openai"),
    ],
)
def test_the_path_tells_the_dialect(path: str, name: str) -> None:
    assert dialect_of(path, {}).name == name


@pytest.mark.parametrize("header", [b"anthropic-version", b"x-api-key"])
def test_on_a_path_that_several_apis_share_the_headers_tell_it(header: bytes) -> None:
    assert dialect_of("/v1/models", {header: b"x"}).name == "anthropic"
    assert dialect_of("/v1/chat/completions", {header: b"x"}).name == "openai_chat"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/models", "google"),
        ("/v1/models/gemini-pro", "google"),
        ("/v1/embeddings", "openai"),
        ("/v1/chat/completions", "openai_chat"),
    ],
)
def test_googles_header_tells_it_where_googles_sdk_asks_for_models(path: str, name: str) -> None:
    assert dialect_of(path, {b"x-goog-api-key": b"x"}).name == name


@EVERY_DIALECT
def test_a_dialect_is_found_by_its_name(dialect: Dialect) -> None:
    assert DIALECTS[dialect.name] is dialect
    assert dialect.family in ("openai", "anthropic", "gemini", "bedrock")


def message_in(dialect: Dialect) -> str:
    """The error's message: only OpenAI's formats have a member of their own for what it is about."""
    return ERROR.message if dialect.family == "openai" else ERROR.naming_message


@EVERY_DIALECT
def test_an_error_body_is_json_with_the_message(dialect: Dialect) -> None:
    body = json.loads(dialect.write_error(ERROR, "req_1"))
    assert body.get("error", body)["message"] == message_in(dialect)


@EVENT_STREAMS
def test_an_error_event_is_one_whole_event_with_the_message(dialect: Dialect) -> None:
    event = dialect.write_error_event(ERROR, "req_1")
    assert whole_events(event) == len(event)
    read = first_event(event)
    assert read is not None
    assert json.loads(read[1])["error"]["message"] == message_in(dialect)


HALF = errors.UpstreamClosed("The provider cut \ud83d", param="tools[\ud83d]")
"""An error with half of a surrogate pair: providers cut their messages in the middle of a character."""


@EVERY_DIALECT
def test_half_of_a_character_in_an_error_is_written(dialect: Dialect) -> None:
    body = json.loads(dialect.write_error(HALF, "req_1"))
    assert body.get("error", body)["message"].endswith("The provider cut \ud83d")


@EVENT_STREAMS
def test_half_of_a_character_in_an_error_event_is_written_and_found(dialect: Dialect) -> None:
    read = first_event(dialect.write_error_event(HALF, "req_1"))
    assert read is not None
    assert json.loads(read[1])["error"]["message"].endswith("The provider cut \ud83d")
    assert dialect.name not in PROTOCOLS or dialect.read_error(*read) is not None


@EVENT_STREAMS
def test_a_keep_alive_is_whole_and_ends_no_stream(dialect: Dialect) -> None:
    for sign in (dialect.keep_alive, dialect.first_sign):
        assert whole_events(b"data: {}\r\n\r\n" + sign) == len(sign) + 12
        read = first_event(sign)
        assert read is None or dialect.read_error(*read) is None
        assert not any(marker in sign for marker in dialect.terminal)


@pytest.mark.parametrize("table", [openai_errors.TYPES, anthropic_errors.TYPES, gemini.STATUSES])
def test_every_kind_of_failure_has_a_name(table: dict[Kind, str]) -> None:
    assert set(table) == set(Kind)


@pytest.mark.parametrize("name", sorted(name for name, dialect in DIALECTS.items() if dialect.is_generation))
@pytest.mark.parametrize(
    ("error", "statuses"),
    [
        (errors.UpstreamClosed("x"), {500, 502}),
        (errors.Draining("x"), {503, 529, 502}),
        (errors.ModelNotFound("x"), {404}),
        (errors.InvalidCredential("x"), {401}),
        (errors.InvalidBody("x"), {400}),
        (TooManyRequests("x"), {429}),
        (QuotaUsedUp("x"), {429, 402}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, GatewayError) else "",
)
def test_a_gateway_behind_this_one_is_understood(name: str, error: GatewayError, statuses: set[int]) -> None:
    """Our own error event, read as an upstream's: another gateway of this kind may be the provider."""
    dialect = DIALECTS[name]
    [read] = PROTOCOLS[name].splitter().feed(dialect.write_error_event(error, "req_1"))
    # A stream of Bedrock's knows five exceptions, one of which stands for every mistake of a caller.
    assert dialect.read_error(*read) in (statuses | {400} if dialect.family == "bedrock" else statuses)


@pytest.mark.parametrize("name", recordings.streams())
def test_a_stream_that_ended_well_has_a_terminal_marker(name: str) -> None:
    dialect, stream = recordings.streams()[name]
    assert any(marker in stream for marker in DIALECTS[dialect].terminal)


@pytest.mark.parametrize("name", recordings.streams())
def test_a_stream_that_is_cut_before_its_last_events_has_none(name: str) -> None:
    dialect, stream = recordings.streams()[name]
    start = min(stream.find(marker) for marker in DIALECTS[dialect].terminal if marker in stream)
    assert start > 0
    assert not any(marker in stream[:start] for marker in DIALECTS[dialect].terminal)


@pytest.mark.parametrize("name", recordings.streams())
def test_no_event_of_a_good_stream_is_taken_for_an_error(name: str) -> None:
    dialect, stream = recordings.streams()[name]
    events = [first_event(block + b"\n\n") for block in stream.replace(b"\r\n", b"\n").split(b"\n\n")]
    judged = [DIALECTS[dialect].read_error(*event) for event in events if event is not None]
    assert judged
    assert set(judged) == {None}


@pytest.mark.parametrize("recorded", recordings.errors(), ids=lambda error: f"{error.provider}-{error.status}")
def test_a_recorded_error_is_judged_by_its_status(recorded: recordings.RecordedError) -> None:
    name = None if recorded.dialect in ("openai_chat", "gemini") else "error"
    data = json.dumps(recorded.body).encode()
    assert DIALECTS[recorded.dialect].read_error(name, data) == recorded.status
