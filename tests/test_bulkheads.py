"""So many at once, a short queue, and turns that are taken fairly."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ai_gateway.bulkheads import Bulkhead, Waiter
from tests.factories import run

LIMIT = 2
LONG = 60.0


class Ship:
    """A bulkhead whose places are taken, and who got one since, by party."""

    def __init__(self, size: int = 10) -> None:
        self.bulkhead = Bulkhead()
        self.size = size
        self.served: list[str] = []
        self.refused: list[str] = []
        while self.bulkhead.enter(LIMIT):
            pass

    def come(self, party: str) -> asyncio.Task[None] | None:
        """A call of this party joins the queue, unless it is refused at once."""
        waiter = self.bulkhead.line_up(party, LIMIT, self.size)
        if waiter is None:
            self.refused.append(party)
            return None
        return asyncio.get_running_loop().create_task(self._wait(party, waiter))

    async def _wait(self, party: str, waiter: Waiter) -> None:
        is_served = await self.bulkhead.wait(waiter, LONG)
        (self.served if is_served else self.refused).append(party)

    async def leave(self, count: int) -> None:
        """So many calls end, one after the other."""
        for _ in range(count):
            self.bulkhead.leave()
            await settled()


async def settled() -> None:
    """Let everything happen that is due."""
    for _ in range(5):
        await asyncio.sleep(0)


def on_board(story: Callable[[Ship], Coroutine[Any, Any, None]], size: int = 10) -> Ship:
    """Run a story, in which tasks may be left behind at the end."""

    async def main() -> Ship:
        ship = Ship(size)
        await story(ship)
        return ship

    return run(main())


def test_so_many_at_once() -> None:
    bulkhead = Bulkhead()
    assert [bulkhead.enter(2) for _ in range(3)] == [True, True, False]
    bulkhead.leave()
    assert bulkhead.enter(2)


def test_who_waits_gets_the_place_that_is_given_back() -> None:
    async def story(ship: Ship) -> None:
        ship.come("ann")
        await settled()
        assert (ship.served, ship.bulkhead.waiting) == ([], 1)
        ship.bulkhead.leave()
        assert not ship.bulkhead.enter(LIMIT), "a newcomer took it"
        await settled()
        assert (ship.served, ship.bulkhead.taken, ship.bulkhead.waiting) == (["ann"], LIMIT, 0)

    on_board(story)


def test_parties_take_turns_however_many_calls_they_have() -> None:
    async def story(ship: Ship) -> None:
        for party in ("ann", "ann", "ann", "ann", "bob", "cid", "bob"):
            ship.come(party)
        await ship.leave(7)
        assert ship.served == ["ann", "bob", "cid", "ann", "bob", "ann", "ann"]

    on_board(story)


def test_within_a_party_who_came_first_goes_first() -> None:
    async def story(ship: Ship) -> None:
        tasks = [ship.come("ann") for _ in range(3)]
        for number, task in enumerate(tasks, 1):
            assert task is not None
            await ship.leave(1)
            assert task.done()
            assert len(ship.served) == number

    on_board(story)


def test_a_full_queue_refuses_at_once() -> None:
    async def story(ship: Ship) -> None:
        assert [ship.come("ann") is not None for _ in range(4)] == [True, True, True, False]
        assert ship.bulkhead.refused == 1

    on_board(story, size=3)


def test_no_queue_refuses_at_once() -> None:
    """Nor does who may not wait push out those who may."""

    async def story(ship: Ship) -> None:
        for _ in range(3):
            ship.come("ann")
        assert ship.bulkhead.line_up("bob", LIMIT, 0) is None
        assert ship.bulkhead.waiting == 3

    on_board(story)


def test_a_full_queue_makes_room_for_who_has_less_in_it() -> None:
    """Who comes often cannot keep others out; nor can two who have equally much push each other out."""

    async def story(ship: Ship) -> None:
        for _ in range(4):
            ship.come("ann")
        assert ship.come("bob") is not None
        assert ship.come("bob") is not None
        assert ship.come("bob") is None
        assert ship.come("ann") is None
        await settled()
        assert sorted(ship.refused) == ["ann", "ann", "ann", "bob"]
        await ship.leave(4)
        assert ship.served == ["ann", "bob", "ann", "bob"]

    on_board(story, size=4)


def test_a_turn_that_does_not_come_in_time() -> None:
    async def story(ship: Ship) -> None:
        waiter = ship.bulkhead.line_up("ann", LIMIT, 1)
        assert waiter is not None
        assert not await ship.bulkhead.wait(waiter, 0.01)
        assert (ship.bulkhead.waiting, ship.bulkhead.refused) == (0, 1)
        await ship.leave(2)
        assert ship.bulkhead.taken == 0

    on_board(story)


def test_everybody_who_waits_can_be_sent_away() -> None:
    async def story(ship: Ship) -> None:
        for party in ("ann", "bob", "ann"):
            ship.come(party)
        ship.bulkhead.dismiss()
        await settled()
        assert (sorted(ship.refused), ship.bulkhead.waiting) == (["ann", "ann", "bob"], 0)

    on_board(story)


@pytest.mark.parametrize("has_a_place", [False, True])
def test_who_leaves_while_it_waits_leaves_nothing_behind(has_a_place: bool) -> None:
    """In particular in the moment in which its turn has come and it does not know yet."""

    async def story(ship: Ship) -> None:
        first, _ = ship.come("ann"), ship.come("bob")
        assert first is not None
        await settled()
        if has_a_place:
            ship.bulkhead.leave()
        first.cancel()
        await settled()
        if not has_a_place:
            ship.bulkhead.leave()
            await settled()
        assert ship.served == ["bob"]
        await ship.leave(2)
        assert (ship.bulkhead.taken, ship.bulkhead.waiting) == (0, 0)

    on_board(story)


def test_a_wider_bulkhead_lets_in_who_waits() -> None:
    async def story(ship: Ship) -> None:
        ship.come("ann")
        waiter = ship.bulkhead.line_up("bob", LIMIT + 2, 10)
        assert waiter is not None
        assert await ship.bulkhead.wait(waiter, LONG)
        assert (ship.served, ship.bulkhead.taken) == (["ann"], LIMIT + 2)

    on_board(story)


@pytest.mark.parametrize("number", range(30))
def test_whatever_happens_no_place_is_lost_and_nobody_waits_beside_a_free_one(number: int) -> None:
    """Calls come, are served, are cancelled at any moment, run out of patience; the process sends them away."""
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    bulkhead = Bulkhead()
    most = 0

    async def call(limit: int) -> None:
        nonlocal most
        if not bulkhead.enter(limit):
            waiter = bulkhead.line_up(dice.choice("abc"), limit, 8)
            if waiter is None or not await bulkhead.wait(waiter, dice.choice((0.0, 0.001, LONG))):
                return
        try:
            most = max(most, bulkhead.taken)
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
        finally:
            bulkhead.leave()

    async def main() -> None:
        tasks: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        for _ in range(400):
            what = dice.random()
            if what < 0.6:
                tasks.append(loop.create_task(call(3)))
            elif what < 0.8 and tasks:
                dice.choice(tasks).cancel()
            elif what < 0.81:
                bulkhead.dismiss()
            else:
                await asyncio.sleep(dice.choice((0, 0, 0, 0.0005)))
            assert not bulkhead.waiting or bulkhead.taken == 3, f"seed {seed}"
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)

    run(main())
    assert (bulkhead.taken, bulkhead.waiting, bulkhead._lines) == (0, 0, {}), f"seed {seed}"
    assert most == 3, f"seed {seed}"


def test_threads_with_event_loops_of_their_own_share_the_places() -> None:
    bulkhead, served = Bulkhead(), []

    async def calls(party: int) -> None:
        async def call() -> None:
            if not bulkhead.enter(2):
                waiter = bulkhead.line_up(party, 2, 1000)
                assert waiter is not None
                assert await bulkhead.wait(waiter, LONG)
            await asyncio.sleep(0)
            served.append(party)
            bulkhead.leave()

        await asyncio.gather(*(call() for _ in range(50)))

    threads = [threading.Thread(target=_run_in_thread, args=(calls, number)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(served) == 200
    assert (bulkhead.taken, bulkhead.waiting) == (0, 0)


def _run_in_thread(calls: Callable[[int], Coroutine[Any, Any, None]], number: int) -> None:
    run(calls(number))
