"""What one event loop has to do with Redis: everything that its calls want goes there in batches, one at a time.

What calls want while a batch is under way goes with the next one: the more there is to do, the less each of it costs.
What ended goes with the next batch, or a few milliseconds later by itself.

Only the line's own task talks to Redis. A caller that hangs up leaves the answer to it, and what was taken for nobody
is given back at once; so no caller can get another one's answer, whoever is cancelled when.

While Redis fails, all who wait are told so, and what ended is kept and sent when it answers. Should it have forgotten,
it is told again what calls under way have reserved, and what ended so shortly before that it may not be written down.
What cannot be done together is sent one by one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

from ai_gateway.charges import Charges
from ai_gateway.limits.base import StoreUnavailable, Uncountable
from ai_gateway.limits.redis.batches import MICROS, Answer, Settled, Wanted, nothing_of
from ai_gateway.limits.redis.client import ScriptFailed, Unwritable
from ai_gateway.limits.redis.holdings import LOOKS, Holdings
from ai_gateway.limits.redis.link import Link, Stale
from ai_gateway.limits.redis.script import ADMITTED, BROKEN, MISSING, RENEW, TAKE
from ai_gateway.limits.redis.seeds import Seeds

logger = logging.getLogger("ai_gateway")

LINGER = 0.005
"""Seconds that what ended waits for a batch to go with."""

PAUSE = 0.5
"""Seconds between two attempts to send what ended to a Redis that fails."""

LAST = 2.0
"""Seconds for which what is left is tried to be sent before an event loop ends."""

MOST_WANTED = 128
"""What goes into a batch at most. Redis does nothing else meanwhile, for some 20 microseconds each."""

MOST_SETTLED = 512

MOST_KEPT = 100_000
"""Ended calls that are kept for a Redis that fails. What others reserved counts as spent when it expires."""


_open: set[Line] = set()
"""Those that may have a connection. Event loops know of them but do not keep them, and their store may be forgotten
first; and in a forked process those of its parent have to stay as they are, and not even be closed."""


class Line:
    """The batches of the running event loop. `left` is what was settled where there is none, or where it ended too
    soon."""

    def __init__(self, link: Link, seeds: Seeds | None, left: deque[Settled], on_end: Callable[[], object]) -> None:
        self.holdings = Holdings()
        self._link = link
        self._seeds = seeds
        self._left = left
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._wanted: deque[Wanted] = deque()
        self._settled: deque[Settled] = deque()
        self._recent: deque[Settled] = deque()
        """What is settled, and may not be written down yet."""
        self._task: asyncio.Task[None] | None = None
        self._seeders: set[asyncio.Task[None]] = set()
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self._life: AsyncGenerator[None] | None = None
        self._ttl = 0.0
        self._failure = ""
        self._forgotten = 0
        self._singly = 0
        """How much of what failed together is still to be sent one by one."""

    async def ask(self, mode: int, charges: Charges, ttl: float = 0.0) -> Answer:
        """Have Redis take charges, or look at them. Raises StoreUnavailable."""
        answered: asyncio.Future[Answer] = self._loop.create_future()
        wanted = Wanted(mode, charges, round(ttl * MICROS), answered)
        self._wanted.append(wanted)
        self._wake()
        try:
            return await answered
        except asyncio.CancelledError:
            # The answer may have come in the same turn of the event loop.
            if answered.done() and not answered.cancelled() and answered.exception() is None:
                self._give_back(wanted, answered.result())
            raise

    def ended(self, settled: Settled) -> Settled:
        """Note that charges are not held any more, and write down when Redis was known to have those held here."""
        known_at = self.holdings.drop(settled.charges)
        return Settled(settled.charges, settled.used, known_at, self._link.now()) if known_at else settled

    def settle(self, settled: Settled) -> None:
        """Send soon what ended."""
        self._settled.append(self.ended(settled))
        if len(self._settled) > MOST_KEPT:
            self._settled.popleft()
            self._forgotten += 1
        if self._task is None:
            self._later(LINGER, self._send_settled)

    def renew(self, *, all_of_it: bool = False) -> None:
        """Renew what calls under way have reserved, as far as it is time."""
        self._wanted.extend(self.holdings.renewals(self._loop.time(), all_of_it=all_of_it))
        if self._wanted:
            self._wake()
        if self.holdings:
            self._later(self._ttl / LOOKS, self.renew)

    async def flush(self) -> bool:
        """Wait until everything is sent, for a while, and tell whether it is."""
        until = self._loop.time() + LAST
        while self._task is not None or self._wanted or self._settled or self._left:
            remaining = until - self._loop.time()
            if remaining <= 0:
                return False
            await asyncio.wait([self._wake()], timeout=remaining)
            if self._failure:
                await asyncio.sleep(min(PAUSE / 5, remaining))
        return True

    async def aclose(self) -> None:
        """Send what is left, and close the connection. A line is used no more after that."""
        await (await self._begin()).aclose()

    def is_over(self) -> bool:
        """Tell whether its event loop was closed without a word. What it had not sent is left to others."""
        if not self._loop.is_closed():
            return False
        _open.discard(self)
        self._leave()
        return True

    # From the first batch to the end of the event loop.

    async def _begin(self) -> AsyncGenerator[None]:
        if self._life is None:
            self._life = self._live()
            await anext(self._life)
        return self._life

    async def _live(self) -> AsyncGenerator[None]:
        """End with the event loop, which closes asynchronous generators when it ends and tells nobody else of it."""
        _open.add(self)
        try:
            yield
        finally:
            await self._end()
            _open.discard(self)

    async def _end(self) -> None:
        self._on_end()
        is_done = await self.flush()
        running = [*self._seeders, *filter(None, [self._task])]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for timer in self._timers.values():
            timer.cancel()
        self._leave()
        if not is_done:
            logger.error("%d ended calls are not settled yet. %s", len(self._left), self._failure)
        await self._link.aclose()

    def _leave(self) -> None:
        self._left.extend(self._settled)
        self._settled.clear()

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something after a while, once however often that is asked for meanwhile."""
        if do not in self._timers:
            self._timers[do] = self._loop.call_later(seconds, self._do, do)

    def _do(self, do: Callable[[], None]) -> None:
        del self._timers[do]
        do()

    def _send_settled(self) -> None:
        if self._settled:
            self._wake()

    def _wake(self) -> asyncio.Task[None]:
        if self._task is None:
            self._task = self._loop.create_task(self._work())
        return self._task

    async def _work(self) -> None:
        failure = StoreUnavailable("The exchange with Redis was cut short")
        try:
            await self._begin()
            while self._wanted or self._settled or self._left:
                await self._exchange()
        except StoreUnavailable as error:
            failure = error
            self._rest(error)
        finally:
            self._task = None
            self._abandon([each for each in self._wanted if each.is_doubtful], failure)
            self._refuse(self._wanted, failure)
            self._wanted.clear()

    # One batch.

    async def _exchange(self) -> None:
        if not self._link.is_open:
            await self._link.open()
            self._tell_again()
        settled, wanted = self._next_batch()
        if not settled and not wanted:
            return  # All who wanted something hung up.
        try:
            answers = await self._link.send(settled, wanted)
        except Stale:
            self._put_back(settled, wanted)
            return
        except ScriptFailed as error:
            self._take_apart(settled, wanted, error)
            return
        except BaseException as error:
            self._settled.extendleft(reversed(settled))
            self._abandon(wanted, error)
            raise
        self._recover()
        self._remember(settled)
        for each, answer in zip(wanted, answers, strict=True):
            self._deliver(each, answer)

    def _next_batch(self) -> tuple[list[Settled], list[Wanted]]:
        settled: list[Settled] = []
        most_settled, most_wanted = (1, 1) if self._singly else (MOST_SETTLED, MOST_WANTED)
        for queue in (self._settled, self._left):
            while queue and len(settled) < most_settled:
                settled.append(queue.popleft())
        wanted: list[Wanted] = []
        if self._singly:
            self._singly -= 1
            most_wanted -= len(settled)
        while self._wanted and len(wanted) < most_wanted:
            each = self._wanted.popleft()
            if self._is_wanted(each):
                wanted.append(each)
            elif each.is_doubtful and each.mode == TAKE:
                self.settle(nothing_of(each.charges))
        return settled, wanted

    def _is_wanted(self, each: Wanted) -> bool:
        """Whether it is not too late: callers hang up, and what was settled since must not be reserved again."""
        if each.mode == RENEW:
            return self.holdings.bring_up_to_date(each)
        return each.answered is not None and not each.answered.done()

    def _deliver(self, wanted: Wanted, answer: Answer) -> None:
        if answer.code == MISSING:
            task = self._loop.create_task(self._find_seeds(wanted, answer.missing))
            self._seeders.add(task)
            task.add_done_callback(self._seeders.discard)
        elif wanted.answered is None:
            if answer.code == ADMITTED:
                self.holdings.confirm(wanted.charges, self._link.answered_at)
        elif answer.code == BROKEN:
            self._abandon([wanted], Uncountable("A counter of the limits in Redis cannot be used"))
        elif wanted.answered.done():  # Whoever asked hung up.
            self._give_back(wanted, answer)
        else:
            if wanted.mode == TAKE and answer.code == ADMITTED:
                self._hold(wanted)
            wanted.answered.set_result(answer)

    def _hold(self, wanted: Wanted) -> None:
        self._ttl = wanted.ttl / MICROS
        self.holdings.add(wanted.charges, self._ttl, self._loop.time(), self._link.answered_at)
        if self.holdings:
            self._later(self._ttl / LOOKS, self.renew)

    def _give_back(self, wanted: Wanted, answer: Answer) -> None:
        """Settle by nothing what was taken for nobody."""
        if wanted.mode == TAKE and answer.code == ADMITTED:
            self.settle(nothing_of(wanted.charges))

    async def _find_seeds(self, wanted: Wanted, missing: Sequence[int]) -> None:
        """Ask what quotas begin with that Redis does not have, and send it what was wanted again."""
        assert self._seeds is not None
        counters = [wanted.charges.counters[place] for place in missing]
        try:
            found = await self._seeds.of(counters)
        except StoreUnavailable as error:
            self._refuse([wanted], error)
            return
        pasts = zip(counters, found, strict=True)
        seeds = {counter.name: (past.spent, self._link.at(past.read_at)) for counter, past in pasts}
        wanted.seeds = wanted.seeds | seeds
        self._wanted.append(wanted)
        self._wake()

    # When Redis fails.

    def _tell_again(self) -> None:
        """Tell a Redis that may have lost something what calls under way have reserved, and what was settled lately.
        What it has all the same is done no second time; a call that has reserved the same anew is not settled."""
        self._link.has_forgotten = False
        self._wanted.extendleft(self.holdings.renewals(self._loop.time(), all_of_it=True))
        self._settled.extend(each for each in self._recent if each.charges.call not in self.holdings)
        self._recent.clear()

    def _remember(self, settled: Iterable[Settled]) -> None:
        """Keep what was settled until it is written down."""
        if self._link.has_forgotten:
            self._tell_again()
        self._recent.extend(each for each in settled if each.ended_at)
        written_until = self._link.written_until()
        while self._recent and self._recent[0].ended_at < written_until:
            self._recent.popleft()

    def _put_back(self, settled: Sequence[Settled], wanted: Sequence[Wanted]) -> None:
        """Send again what may have been done, which does no harm."""
        for each in wanted:
            each.is_doubtful = True
        self._settled.extendleft(reversed(settled))
        self._wanted.extendleft(reversed(wanted))

    def _take_apart(self, settled: Sequence[Settled], wanted: Sequence[Wanted], error: ScriptFailed) -> None:
        """Send one by one what cannot be done together: only what is at fault is to fail."""
        if len(settled) + len(wanted) > 1:
            self._put_back(settled, wanted)
            self._singly = len(settled) + len(wanted)
        elif settled:
            call = settled[0].charges.call
            logger.error("%s: what the call had reserved will count as spent. %s", call, error)
        elif isinstance(error, Unwritable):
            self._refuse(wanted, Uncountable(str(error)))
        else:
            self._abandon(wanted, error)

    def _abandon(self, wanted: Iterable[Wanted], error: BaseException) -> None:
        """Refuse what was sent. It may have been taken all the same: in that case it is given back."""
        self._refuse(wanted, error)
        for each in wanted:
            if each.mode == TAKE:
                self.settle(nothing_of(each.charges))

    def _refuse(self, wanted: Iterable[Wanted], error: BaseException) -> None:
        for each in wanted:
            if each.answered is not None and not each.answered.done():
                kind = Uncountable if isinstance(error, Uncountable) else StoreUnavailable
                each.answered.set_exception(kind(str(error)))

    def _rest(self, error: StoreUnavailable) -> None:
        """Try again after a while what is to be settled. Whoever asks meanwhile tries at once."""
        if not self._failure:
            logger.error("What calls used is kept until it can be settled. %s", error)
        self._failure = str(error)
        if self._settled:
            self._later(PAUSE, self._send_settled)

    def _recover(self) -> None:
        if self._failure:
            self._failure = ""
            logger.warning("Redis answers again.")
        if self._forgotten:
            logger.error("%d ended calls were not settled: what they had reserved counts as spent.", self._forgotten)
            self._forgotten = 0
