"""What the caller gets when the upstream fails, in every way in which it can."""

from __future__ import annotations

import gzip

import pytest

from tests.conftest import StartGateway
from tests.gateway_process import GatewayProcess
from tests.raw_client import Answer, RawClient
from tests.upstream import (
    LAST_CHUNK,
    End,
    Exchange,
    Step,
    Upstream,
    chunk,
    event_stream,
    head,
    json_answer,
    play,
    stream_head,
)
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, DIALECTS, JSON, Dialect

pytestmark = pytest.mark.usefixtures("quiescent")

BY_DIALECT = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


def check_failure(answer: Answer, status: int, code: str) -> None:
    """Assert that an answer is the gateway's own error, in OpenAI's shape."""
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


@BY_DIALECT
def test_an_upstream_that_cannot_be_reached_is_a_502_in_the_callers_dialect(raw: RawClient, dialect: Dialect) -> None:
    """T30."""
    answer = raw.post("/v1/embeddings", {"model": "m"}, [BEARER, ("x-provider", "unreachable")])
    assert answer.status in (502, 503)
    answer = raw.post(dialect.path, dialect.body, [("authorization", "Bearer sk-own"), ("x-provider", "unreachable")])
    dialect.check_error(answer.json())


def test_a_refused_connection_is_a_502(raw: RawClient) -> None:
    """T30."""
    answer = raw.post(CHAT_PATH, CHAT, [("authorization", "Bearer sk-own"), ("x-provider", "unreachable")])
    check_failure(answer, 502, "upstream_unreachable")


def test_a_name_that_does_not_resolve_is_a_502(raw: RawClient) -> None:
    """T30."""
    answer = raw.post(CHAT_PATH, CHAT, [("authorization", "Bearer sk-own"), ("x-provider", "nowhere")])
    check_failure(answer, 502, "upstream_unreachable")
    assert "gateway-test.invalid" not in answer.body.decode()


def test_a_handshake_that_never_ends_is_a_504(strict: RawClient, upstream: Upstream) -> None:
    """T30: the upstream waits for plain HTTP where TLS is due."""
    check_failure(strict.post(CHAT_PATH, CHAT, [BEARER, ("x-provider", "no-tls")]), 504, "upstream_timeout")


def test_the_next_target_is_tried_when_nothing_was_sent(strict: RawClient, upstream: Upstream) -> None:
    """T30."""
    answer = strict.post(CHAT_PATH, {**CHAT, "model": "both"}, [BEARER])
    assert answer.status == 200
    assert (answer.header("x-gateway-provider"), answer.header("x-gateway-attempts")) == ("openai", "2")
    assert upstream.request.json()["model"] == "b"


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
def test_an_upstream_that_hangs_up_without_an_answer_is_not_asked_again(
    raw: RawClient, upstream: Upstream, end: End
) -> None:
    """T31: it may have done the work, and be paid for it."""
    upstream.answer(play(end))
    check_failure(raw.post(CHAT_PATH, CHAT, [BEARER]), 502, "upstream_closed")
    assert len(upstream.requests) == 1


BROKEN: list[tuple[str, list[Step]]] = [
    ("half a head", [b"HTTP/1.1 200 OK\r\ncontent-", End.CLOSE]),
    ("junk", [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", End.CLOSE]),
    ("junk status", [b"HTTP/1.1 banana\r\n\r\n", End.CLOSE]),
    ("two lengths", [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc"]),
    ("a negative length", [b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nab", End.CLOSE]),
    ("a 200 KB header", [b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 200_000 + b"\r\ncontent-length: 0\r\n\r\n"]),
    ("a switch of protocols", [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"]),
    ("a short body", [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", End.CLOSE]),
    ("a short chunk", [stream_head(content_type="application/json"), b"a\r\nabc", End.CLOSE]),
    ("no last chunk", [stream_head(content_type="application/json"), chunk(b"{}"), End.CLOSE]),
    ("a bad chunk size", [stream_head(content_type="application/json"), b"xyz\r\nabc\r\n"]),
]


@pytest.mark.parametrize(("name", "steps"), BROKEN, ids=[name for name, _ in BROKEN])
def test_a_broken_answer_is_a_502_or_visibly_cut(
    raw: RawClient, upstream: Upstream, name: str, steps: list[Step]
) -> None:
    """T45, T47. A clean 502 where nothing was passed on yet, else a body without its end."""
    upstream.answer(play(*steps))
    with raw.connect() as connection:
        connection.request("POST", CHAT_PATH, [BEARER, JSON], b'{"model": "m"}')
        answer = connection.read_head()
        if answer.status == 502:
            connection.read_body(answer)
            assert answer.json()["error"]["code"] in ("upstream_closed", "upstream_protocol_error")
        else:
            assert name in ("no last chunk", "a short chunk", "a bad chunk size")
            received = connection.read_to_end()
            assert answer.is_chunked
            assert not received.endswith(b"0\r\n\r\n")
    assert len(upstream.requests) == 1


def test_a_long_answer_that_breaks_off_is_visibly_cut(raw: RawClient, upstream: Upstream) -> None:
    """T45: the length was promised already."""
    fields = [("content-type", "audio/mpeg"), ("content-length", "300000")]
    upstream.answer(play(head(200, fields), b"x" * 200_000, End.CLOSE))
    with raw.connect() as connection:
        connection.request("GET", "/v1/files/file-1/content", [BEARER])
        answer = connection.read_head()
        assert answer.status == 200
        assert answer.header("content-length") == "300000"
        assert len(connection.read_to_end()) < 300_000


def test_more_bytes_than_promised_do_not_reach_the_next_caller(raw: RawClient, upstream: Upstream) -> None:
    """T45: a connection with bytes left over is not used again."""
    surplus = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanary"
    upstream.answer(play(head(200, [("content-length", "2")]) + b"ok" + surplus), json_answer({"second": True}))
    assert raw.post(CHAT_PATH, CHAT, [BEARER]).body in (b"ok",)
    assert raw.post(CHAT_PATH, CHAT, [BEARER]).json() == {"second": True}


def test_early_hints_are_swallowed(raw: RawClient, upstream: Upstream) -> None:
    """T47."""
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 3
    upstream.answer(play(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + head(200, [("content-length", "2")]) + b"ok"))
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    assert (answer.status, answer.body) == (200, b"ok")
    assert answer.values("link") == []


def test_both_framings_at_once_leave_as_one(raw: RawClient, upstream: Upstream) -> None:
    """T48: refused, or taken as chunked; never passed on."""
    fields = [("content-length", "5"), ("transfer-encoding", "chunked")]
    upstream.answer(play(head(200, fields), chunk(b"whole body"), LAST_CHUNK))
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    if answer.status == 200:
        assert answer.body == b"whole body"
        assert len(answer.values("content-length") + answer.values("transfer-encoding")) == 1
    else:
        check_failure(answer, 502, "upstream_protocol_error")


@BY_DIALECT
@pytest.mark.parametrize(
    "end",
    [[End.RESET], [End.CLOSE], [b"zzz\r\n", End.CLOSE], [LAST_CHUNK], [b"5\r\nda", End.CLOSE]],
    ids=["reset", "close", "junk", "end without proof", "half a chunk"],
)
def test_a_stream_that_breaks_ends_with_an_error_event(
    raw: RawClient, upstream: Upstream, dialect: Dialect, end: list[Step]
) -> None:
    """T38: never a silent end, which the OpenAI SDK takes for success, and never an invented proof."""
    first = dialect.events[0]
    gate = upstream.gate()
    upstream.answer(play(stream_head() + chunk(first), gate, *end))
    with raw.connect() as connection:
        connection.request("POST", dialect.stream_path, [BEARER, JSON], b'{"model": "m", "stream": true}')
        assert connection.read_head().status == 200
        assert connection.read_text_until(first) == first
        gate.open()  # Not before the event has arrived: a reset throws away what nobody has read yet.
        event = b"".join(connection.chunks())
    dialect_error = dialect.error_event(event)
    assert dialect_error["error"]["message"]
    assert b"[DONE]" not in event
    assert b"message_stop" not in event
    if dialect.name != "openai_responses":
        dialect.check_error(dialect_error)
    assert len(upstream.requests) == 1


def test_half_an_event_is_not_passed_on_before_the_error(raw: RawClient, upstream: Upstream) -> None:
    first = CHAT_DIALECT.events[0]
    upstream.answer(play(stream_head(), chunk(first + b'data: {"cut'), End.CLOSE))
    answer = raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER])
    assert answer.body.startswith(first)
    assert CHAT_DIALECT.error_event(answer.body[len(first) :])["error"]["code"] == "upstream_closed"


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
def test_a_stream_that_breaks_before_its_first_event_is_a_502(raw: RawClient, upstream: Upstream, end: End) -> None:
    upstream.answer(play(stream_head(), end))
    check_failure(raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER]), 502, "upstream_closed")


def test_a_dead_idle_connection_is_replaced_unnoticed(raw: RawClient, upstream: Upstream) -> None:
    """T42: the upstream closes while nothing is under way."""
    answers = [play(head(200, [("content-length", "2")]) + b"ok", End.CLOSE)] * 3
    upstream.answer(*answers)
    for _ in answers:
        assert raw.post(CHAT_PATH, CHAT, [BEARER]).status == 200
        upstream.wait_for("it is closed", lambda: upstream.exchanges[-1].connection not in upstream.connections)
    upstream.answer(json_answer({"ok": True}))
    assert raw.post(CHAT_PATH, CHAT, [BEARER]).status == 200


def test_connections_are_used_again(raw: RawClient, upstream: Upstream) -> None:
    raw.post(CHAT_PATH, CHAT, [BEARER])
    opened = upstream.opened
    for _ in range(10):
        raw.post(CHAT_PATH, CHAT, [BEARER])
    assert upstream.opened == opened


@pytest.mark.parametrize("connection", ["close", "Close", "x-y, close"])
def test_a_connection_that_is_to_be_closed_is_not_used_again(
    raw: RawClient, upstream: Upstream, connection: str
) -> None:
    upstream.answer(json_answer({"ok": True}, headers=[("connection", connection)]))
    for _ in range(3):
        assert raw.post(CHAT_PATH, CHAT, [BEARER]).status == 200
    assert len({request.connection for request in upstream.requests}) == 3


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize("door", ["direct"], indirect=True)
def test_an_answer_that_comes_before_the_body_was_sent_is_relayed(
    raw: RawClient, upstream: Upstream, status: int
) -> None:
    """T43."""
    body = b'{"error": {"message": "too much"}}'
    fields = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]

    async def early(exchange: Exchange) -> None:
        await exchange.read_some()
        await exchange.send(head(status, fields) + body)
        # A well-behaved server reads on for a moment, so that no RST destroys its answer.
        while await exchange.read_some():
            exchange.request.body.clear()

    upstream.answer(early)
    headers = [BEARER, ("content-type", "multipart/form-data; boundary=x"), ("content-length", "1000000")]
    with raw.connect() as connection:
        connection.request("POST", "/v1/files", headers)
        connection.send(b"x" * 100_000)
        answer = connection.read_answer()
        assert answer.status == status
        assert answer.body == body


def test_a_compressed_answer_passes_untouched(raw: RawClient, upstream: Upstream) -> None:
    """T44, T46: the gateway unpacks nothing, so a bomb stays one packet."""
    packed = gzip.compress(b"0" * 40_000_000)
    fields = [("content-type", "application/json"), ("content-encoding", "gzip"), ("content-length", str(len(packed)))]
    upstream.answer(play(head(200, fields), packed))
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    assert answer.body == packed
    assert answer.header("content-encoding") == "gzip"
    assert answer.header("content-length") == str(len(packed))


def test_an_upstream_that_never_answers_is_a_504(strict: RawClient, upstream: Upstream) -> None:
    """T32, T39: asked once."""
    upstream.answer(play(End.STALL))
    check_failure(strict.post(CHAT_PATH, CHAT, [BEARER]), 504, "upstream_timeout")
    upstream.wait_for("the upstream was left", lambda: upstream.busy == 0)
    assert len(upstream.requests) == 1


def test_a_plain_answer_that_stops_in_the_middle_is_a_504(strict: RawClient, upstream: Upstream) -> None:
    fields = [("content-type", "application/json"), ("content-length", "10")]
    upstream.answer(play(head(200, fields) + b"{", End.STALL))
    check_failure(strict.post(CHAT_PATH, CHAT, [BEARER]), 504, "upstream_timeout")


@BY_DIALECT
def test_a_stream_that_falls_silent_is_cut_with_an_error_event(
    strict: RawClient, upstream: Upstream, dialect: Dialect
) -> None:
    """T40."""
    first = dialect.events[0]
    upstream.answer(event_stream(first, End.STALL))
    answer = strict.post(dialect.stream_path, dialect.stream_body, [BEARER])
    assert answer.body.startswith(first)
    assert dialect.error_event(answer.body[len(first) :])["error"]
    upstream.wait_for("the upstream was left", lambda: upstream.busy == 0)


def test_signs_of_life_do_not_keep_a_dead_upstream_alive(start_gateway: StartGateway, upstream: Upstream) -> None:
    """T40: comments go to the caller while the upstream's own silence is still counted."""
    raw = RawClient(start_gateway(TIMEOUTS={"idle": 0.4}, KEEP_ALIVE_INTERVAL=0.1).port)
    upstream.answer(event_stream(CHAT_DIALECT.events[0], End.STALL))
    answer = raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER])
    assert b": keep-alive\n\n" in answer.body
    assert b'"upstream_timeout"' in answer.body


def test_a_full_pool_is_a_503_and_heals(strict: RawClient, upstream: Upstream) -> None:
    """T4."""
    gate = upstream.gate()
    upstream.answer(play(gate, head(200, [("content-length", "2")]) + b"ok"))
    holders = [strict.connect() for _ in range(4)]
    for connection in holders:
        connection.request("POST", CHAT_PATH, [BEARER, JSON], b'{"model": "m"}')
    upstream.wait_for_requests(4)
    refused = strict.post(CHAT_PATH, CHAT, [BEARER])
    check_failure(refused, 503, "upstream_pool_timeout")
    assert refused.header("x-should-retry") != "false"
    gate.open()
    assert [connection.read_answer().body for connection in holders] == [b"ok"] * 4
    assert strict.post(CHAT_PATH, CHAT, [BEARER]).body == b"ok"
    strict.close()


def test_health_still_answers_while_the_upstream_is_stuck(
    gateway: GatewayProcess, raw: RawClient, upstream: Upstream
) -> None:
    upstream.answer(play(End.STALL))
    for _ in range(50):
        raw.connect().request("POST", CHAT_PATH, [BEARER, JSON], b'{"model": "m"}')
    upstream.wait_for_requests(50)
    assert raw.get("/health").status == 200
    raw.close()
