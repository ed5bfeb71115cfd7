"""How an answer that was kept is given once more: at once, or at its pace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from ai_gateway import health
from ai_gateway.calls import ReplyBody
from ai_gateway.errors import Cancelled
from ai_gateway.meter import Meter, Outcome
from ai_gateway.replays import Replay, again, due_times
from tests.clocks import now, run_by_jumps
from tests.factories import make_call, make_kept, make_meter, run

PIECES = (b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n", b"data: [DONE]\n\n")
PAUSES = (1_000, 0, 4_000)


def measure() -> Meter:
    return make_meter(make_call("/v1/chat/completions"))


def replay(meter: Meter, seconds: float = 60.0, pauses: Sequence[int] = PAUSES) -> ReplyBody:
    body = again(make_kept(*PIECES, pauses=pauses), meter, [], seconds=seconds).body
    assert isinstance(body, ReplyBody)
    return body


async def timed(body: ReplyBody) -> list[tuple[float, bytes]]:
    """Each piece, with when it came."""
    began = now()
    return [(round(now() - began, 6), piece) async for piece in body]


# At once.


def test_a_stream_again_counts_as_answered_from_its_last_piece_on() -> None:
    async def main() -> None:
        meter = measure()
        body = again(make_kept(b"one", b"two"), meter, []).body
        assert isinstance(body, Replay)
        assert (await body.__anext__(), meter.outcome) == (b"one", None)
        assert (await body.__anext__(), meter.outcome, meter.bytes_out) == (b"two", Outcome.CACHED, 6)
        with pytest.raises(StopAsyncIteration):
            await body.__anext__()

    run(main())


def test_a_long_stream_again_lets_others_have_their_turn() -> None:
    async def main() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        body = again(make_kept(*[b"x"] * 1000), measure(), []).body
        assert isinstance(body, Replay)
        assert len([chunk async for chunk in body]) == 1000
        task.cancel()
        return turns

    assert run(main()) > 20


@pytest.mark.parametrize(("seconds", "pauses"), [(0.0, PAUSES), (-1.0, PAUSES), (60.0, ())])
def test_without_time_or_pauses_it_comes_at_once(seconds: float, pauses: Sequence[int]) -> None:
    async def main() -> list[tuple[float, bytes]]:
        return await timed(replay(measure(), seconds, pauses))

    assert run_by_jumps(main()) == [(0.0, piece) for piece in PIECES]


# At its pace.


def test_a_paced_stream_comes_as_it_came() -> None:
    async def main() -> None:
        meter = measure()
        assert await timed(replay(meter)) == list(zip((0.0, 1.0, 1.0, 5.0), PIECES, strict=True))
        assert (meter.outcome, meter.bytes_out) == (Outcome.CACHED, sum(map(len, PIECES)))

    run_by_jumps(main())


@pytest.mark.parametrize(
    ("seconds", "silence", "due"),
    [
        (60.0, None, [1.0, 1.0, 5.0]),
        (5.0, None, [1.0, 1.0, 5.0]),
        (2.5, None, [0.5, 0.5, 2.5]),
        (60.0, 2.0, [1.0, 1.0, 3.0]),
        (1.5, 2.0, [0.5, 0.5, 1.5]),
    ],
)
def test_it_takes_no_longer_than_it_did_or_may_and_is_never_silent_for_long(
    seconds: float, silence: float | None, due: list[float]
) -> None:
    assert due_times(PAUSES, seconds, silence) == due


def test_what_a_slow_caller_is_late_with_is_made_up_for() -> None:
    async def main() -> list[float]:
        body, began, times = replay(measure()), now(), []
        async for _ in body:
            times.append(now() - began)
            if len(times) == 1:
                await asyncio.sleep(3.0)
        return times

    assert run_by_jumps(main()) == [0.0, 3.0, 3.0, 5.0]


def test_a_caller_that_hangs_up_in_a_pause_leaves_at_once() -> None:
    async def main() -> None:
        meter = measure()
        body = replay(meter)
        reading = asyncio.create_task(timed(body))
        await asyncio.sleep(2.0)
        reading.cancel()
        await asyncio.wait((reading,))
        await body.aclose()
        assert (now(), meter.outcome) == (2.0, None)
        assert await timed(body) == []

    run_by_jumps(main())


def test_a_pause_that_is_given_up_goes_on_where_it_was() -> None:
    async def main() -> None:
        body = replay(measure(), pauses=(4_000, 0, 0))
        assert await body.__anext__() == PIECES[0]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(body.__anext__(), 3.0)
        assert (await body.__anext__(), now()) == (PIECES[1], 4.0)

    run_by_jumps(main())


def test_a_process_that_is_about_to_stop_gives_the_rest_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        meter = measure()
        body = replay(meter, seconds=1e6, pauses=(50_000, 50_000, 50_000))
        reading = asyncio.create_task(timed(body))
        await asyncio.sleep(10.0)
        monkeypatch.setattr(health, "_is_draining", True)
        assert [piece for _, piece in await reading] == list(PIECES)
        assert (now() < 11.0, meter.outcome) == (True, Outcome.CACHED)

    run_by_jumps(main())


def test_it_can_be_ended_with_an_error_as_any_stream() -> None:
    async def main() -> None:
        meter = measure()
        body = replay(meter)
        reading = asyncio.create_task(timed(body))
        await asyncio.sleep(2.0)
        assert meter.response is not None
        meter.response.interrupt(Cancelled("Ended."))
        *passed, (at, error) = await reading
        assert [piece for _, piece in passed] == list(PIECES[:3])
        assert (at, b"Ended." in error, meter.outcome) == (2.0, True, Outcome.CANCELLED)
        assert meter.bytes_out == sum(len(piece) for _, piece in passed) + len(error)
        assert await timed(body) == []

    run_by_jumps(main())


def test_an_end_behind_its_last_piece_is_none() -> None:
    async def main() -> None:
        meter = measure()
        body = replay(meter)
        await timed(body)
        assert meter.response is not None
        meter.response.interrupt(Cancelled("Ended."))
        assert (await timed(body), meter.outcome) == ([], Outcome.CACHED)

    run_by_jumps(main())
