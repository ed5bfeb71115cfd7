"""When must a call be over?"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import msgspec
import pytest

from ai_gateway import deadlines
from ai_gateway.calls import Reply, Timeouts
from ai_gateway.errors import (
    BadRequest,
    ConnectFailed,
    ConnectTimeout,
    DeadlineExceeded,
    GatewayError,
    PoolTimeout,
    UpstreamClosed,
    UpstreamTimeout,
)
from ai_gateway.meter import Outcome, outcome_of
from tests.factories import Answer, make_call, run

OWN, GOOGLES = b"x-gateway-timeout", b"x-server-timeout"
REPLY = Reply(status=200, headers=[], body=b"")


@pytest.mark.parametrize(
    ("fields", "deadline"),
    [
        ({}, None),
        ({OWN: b"30"}, 130.0),
        ({OWN: b" 2.5 "}, 102.5),
        ({GOOGLES: b"60"}, 160.0),
        ({OWN: b"30", GOOGLES: b"60"}, 130.0),
        ({OWN: b"60", GOOGLES: b"30"}, 130.0),
        ({GOOGLES: b"soon"}, None),
        ({GOOGLES: b"0"}, None),
        ({OWN: b"30", GOOGLES: b"-1"}, 130.0),
        ({b"x-stainless-timeout": b"600", b"x-stainless-read-timeout": b"600"}, None),
    ],
)
def test_callers_say_when_a_call_must_be_over(fields: dict[bytes, bytes], deadline: float | None) -> None:
    assert deadlines.asked_for(fields, 100.0) == deadline


@pytest.mark.parametrize(
    "value", [b"", b"0", b"0.0", b"-1", b"soon", b"nan", b"inf", b"1e3", b"5s", b"1,5", b"9" * 10, "٣".encode()]
)
def test_what_is_no_time_in_the_gateways_own_header_is_refused(value: bytes) -> None:
    with pytest.raises(BadRequest, match="x-gateway-timeout must be a number of seconds above 0"):
        deadlines.asked_for({OWN: value}, 100.0)


@pytest.mark.parametrize(
    ("asked", "total", "deadline"),
    [(None, 0.0, None), (105.0, 0.0, 105.0), (None, 7.0, 107.0), (105.0, 7.0, 105.0), (110.0, 7.0, 107.0)],
)
def test_a_caller_can_only_shorten_what_the_operator_allows(
    asked: float | None, total: float, deadline: float | None
) -> None:
    call = msgspec.structs.replace(make_call(), received_at=100.0, deadline=asked)
    assert deadlines.of(call, Timeouts(total=total)) == deadline


def test_no_attempt_begins_that_could_not_be_finished() -> None:
    now = perf_counter()
    assert deadlines.allows(None, 1e9)
    assert deadlines.allows(now + 10, 9)
    assert not deadlines.allows(now + 10, 9.9)
    assert not deadlines.allows(now + deadlines.LEAST / 2)
    deadlines.check(now + 10)
    with pytest.raises(DeadlineExceeded) as caught:
        deadlines.check(now)
    assert not caught.value.was_sent


def test_what_a_transport_waits_for_is_cut_to_what_is_left() -> None:
    cut = deadlines.cut(Timeouts(connect=0.5), perf_counter() + 2)
    assert cut.connect == 0.5
    assert all(1 < seconds <= 2 for seconds in (cut.pool, cut.write, cut.first_byte))
    assert deadlines.cut(Timeouts(), perf_counter() - 1).first_byte == 0


def keep(error: GatewayError | None = None, *, seconds: float = 0.0, left: float = 5.0) -> Reply:
    """Wait for a reply, or an error, that comes after so many seconds."""

    async def exchange() -> Reply:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return REPLY

    return run(deadlines.kept(exchange(), perf_counter() + left))


def test_a_reply_in_time_is_a_reply() -> None:
    assert keep() is REPLY


def test_one_that_does_not_come_in_time_is_an_error_that_nobody_should_repeat() -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        keep(seconds=60, left=0.01)
    error = caught.value
    assert (error.status, error.code, error.retryable, error.was_sent) == (504, "deadline_exceeded", False, True)
    assert outcome_of(error, was_sent=True) is Outcome.TIMED_OUT


@pytest.mark.parametrize(
    ("error", "was_sent"),
    [
        (ConnectFailed("x"), False),
        (ConnectTimeout("x"), False),
        (PoolTimeout("x"), False),
        (UpstreamTimeout("x"), True),
    ],
)
def test_a_transport_that_had_no_more_time_did_not_fail(error: GatewayError, was_sent: bool) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        keep(error, left=0.0)
    assert caught.value.was_sent is was_sent
    with pytest.raises(type(error)):
        keep(error)


def test_what_else_goes_wrong_at_the_last_moment_keeps_its_name() -> None:
    with pytest.raises(UpstreamClosed):
        keep(UpstreamClosed("gone"), left=0.0)


class Slow(Answer):
    """An answer that never goes on, and tells how long it was waited for."""

    patience: float | None = None

    async def read(self, patience: float | None = None) -> bytes | None:
        self.patience = patience
        return None


def bounded(answer: Answer, *, left: float | None = None, seconds: float = 0.0) -> Any:
    deadline = None if left is None else perf_counter() + left
    return deadlines.bounded(answer, deadline, seconds)


def test_an_answer_can_be_read_until_the_deadline() -> None:
    answer = Answer(b"part", status=201, headers=[(b"a", b"b")])
    response = bounded(answer, left=5.0)
    assert (response.status, response.headers) == (201, answer.headers)
    assert [run(response.read()), run(response.read(1.0)), response.take_rest()] == [b"part", b"", None]
    run(response.aclose())
    assert answer.is_closed


def test_it_is_waited_for_no_longer_than_that() -> None:
    answer = Slow()
    response = bounded(answer, left=5.0)
    assert run(response.read(1.0)) is None  # The caller gets a sign of life.
    assert answer.patience == 1.0
    for patience in (None, 10.0):
        with pytest.raises(DeadlineExceeded):
            run(response.read(patience))
        assert 4 < (answer.patience or 0) <= 5


def test_bytes_that_go_on_coming_do_not_make_it_longer() -> None:
    with pytest.raises(DeadlineExceeded):
        run(bounded(Answer(b"drip", b"drip"), left=0.0).read())


@pytest.mark.parametrize(
    ("left", "seconds", "error"),
    [(None, 1e-9, UpstreamTimeout), (5.0, 1e-9, UpstreamTimeout), (0.0, 60.0, DeadlineExceeded)],
)
def test_an_answer_has_a_time_of_its_own(left: float | None, seconds: float, error: type[GatewayError]) -> None:
    with pytest.raises(error):
        run(bounded(Answer(b"drip"), left=left, seconds=seconds).read())
