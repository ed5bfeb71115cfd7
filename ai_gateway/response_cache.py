"""Asked before? A call that is the same as one before it gets the same answer again, if the operator keeps answers.

Who is calling and what it may use is settled by then, and where the call might go: an answer is never a way around
that. Limits count an answer from the cache as one request that uses no tokens and costs nothing, so a budget that is
used up does not stand in its way. The ledger has it as such, with what the answer cost the first time as saved.

What an answer says in `x-gateway-cache`:

    hit       it was kept, or is that of an equal call which was under way; `age` says how old it is
    miss      a provider was asked
    bypass    a provider was asked because nobody looked: the caller did not want it, such a call has an answer of its
              own (`fingerprints.py`), or the cache fails

Answers that have none are of calls that the operator keeps nothing of.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter

from ai_gateway import (
    admission,
    beside,
    deadlines,
    experiments,
    fallbacks,
    flights,
    kept_answers,
    replays,
    server_timing,
)
from ai_gateway.cache_policy import HEADER, PACED, CachePolicy, Wishes, owner_of, wishes_of
from ai_gateway.cache_store import Found, Unavailable, marks, store
from ai_gateway.calls import Call, Headers, Reply, Target
from ai_gateway.configuration import PLAIN
from ai_gateway.consumption import UNUSED
from ai_gateway.fingerprints import Uncacheable, fingerprint, is_question
from ai_gateway.flights import Ending, Flight
from ai_gateway.keeping import Keeper
from ai_gateway.kept_answers import Kept
from ai_gateway.meter import Meter
from ai_gateway.providers.base import forwarded_headers
from ai_gateway.registry import Snapshot
from ai_gateway.replies import request_ids

Ask = Callable[[], Awaitable[Reply]]
"""Asks the providers."""

HIT, MISS, BYPASS = (HEADER, b"hit"), (HEADER, b"miss"), (HEADER, b"bypass")


def is_for(meter: Meter, snapshot: Snapshot) -> bool:
    """Whether a call may be answered from the cache at all."""
    policy, call = snapshot.cache, meter.call
    assert policy is not None
    assert call is not None
    rule = snapshot.rules.get(meter.route, PLAIN)
    return policy.covers(meter.caller, meter.route, rule.caching) and is_question(call)


async def answer(meter: Meter, call: Call, targets: Sequence[Target], snapshot: Snapshot, ask: Ask) -> Reply:
    """Answer a call from the cache, or ask for it and keep the answer. `call` is as its caller made it, `targets` are
    those that are there for it."""
    policy, wishes = snapshot.cache, wishes_of(call.fields)
    assert policy is not None
    try:
        length = length_of(call, wishes, policy)
        among = [*targets, *experiments.on_trial(meter, snapshot)]
        name = await beside.done(length, name_of, meter, call, among, policy)
    except Uncacheable:
        return told(await ask(), BYPASS)
    return await Question(meter, snapshot, name, wishes, ask).answer()


def length_of(call: Call, wishes: Wishes, policy: CachePolicy) -> int:
    """Tell how many bytes the name of an answer is made of. Raises Uncacheable if there need not be a name."""
    assert isinstance(call.body, bytes)
    if not wishes.reads and not wishes.keeps:
        raise Uncacheable("its caller does not want it")
    if len(call.body) > policy.max_bytes:
        raise Uncacheable("its body is too long")
    return len(call.body)


def name_of(meter: Meter, call: Call, targets: Sequence[Target], policy: CachePolicy) -> str:
    """Name the answer to a call that may go to these targets. For any thread: of a long body it takes its time. Raises
    Uncacheable, saying why nobody looks for one."""
    names_fallbacks = fallbacks.are_named(call)
    # Whom a caller may fall back to is for its own key to say.
    owner = owner_of(meter.caller, "key" if names_fallbacks else policy.scope)
    return fingerprint(
        call,
        owner,
        targets,
        forwarded_headers(call),
        secret=policy.secret,
        named=call.fields.get(fallbacks.HEADER, b""),
        only_deterministic=policy.only_deterministic,
    )


def seconds_kept(meter: Meter, wishes: Wishes, snapshot: Snapshot) -> int:
    """For how many seconds the answer to a call is kept: its route's or the site's, and no longer than its caller
    wants."""
    assert snapshot.cache is not None
    ttl = snapshot.rules.get(meter.route, PLAIN).cache_seconds or snapshot.cache.ttl
    return ttl if wishes.ttl is None else min(ttl, wishes.ttl)


def told(reply: Reply, status: tuple[bytes, bytes]) -> Reply:
    """Tell in the head of an answer what the cache had to do with it."""
    reply.headers.append(status)
    return reply


class Question:
    """One call that may be answered from the cache."""

    def __init__(self, meter: Meter, snapshot: Snapshot, name: str, wishes: Wishes, ask: Ask) -> None:
        assert snapshot.cache is not None
        self._meter = meter
        self._snapshot = snapshot
        self._policy = snapshot.cache
        self._name = name
        self._wishes = wishes
        self._ask = ask
        self._found: Found | None = None
        self._waits_until = perf_counter() + self._patience()
        self._is_alone = not self._policy.wait
        """Whether it asks for itself, and for nobody else."""
        self._has_waited = False
        """Whether it waited for the answer to an equal call."""

    async def answer(self) -> Reply:
        """Answer it."""
        kept = await self._at_hand()
        if kept is not None:
            return await self._again(kept)
        under = marks(owner_of(self._meter.caller, self._policy.scope), self._meter.route)
        try:
            found = self._found = await store().find(self._name, under)
        except Unavailable:
            return told(await self._ask(), BYPASS)
        if not self._wishes.reads:
            return told(self._kept(await self._ask()), BYPASS)
        # What was not in the cache when it was asked may be at hand by now.
        kept = found.kept if self._is_wanted(found.kept) else await self._at_hand()
        if kept is not None:
            return await self._again(kept)
        if self._is_alone or not self._wishes.keeps:
            return told(self._kept(await self._ask()), MISS)
        return await self._lead(flights.begin(self._name))

    async def _at_hand(self) -> Kept | None:
        """Give the answer that this process holds, or that an equal call under way brings."""
        if not self._wishes.reads:
            return None
        kept = store().in_memory(self._name)
        if self._is_wanted(kept):
            return kept
        while not self._is_alone and (flight := flights.under_way(self._name)) is not None:
            self._has_waited = True
            result = await flight.follow(self._waits_until - perf_counter())
            if isinstance(result, Kept):
                return result
            self._is_alone = result is Ending.NOT_SHARED
        return None

    def _patience(self) -> float:
        """For how many seconds to wait for the answers to other calls: no longer than this one may take."""
        call = self._meter.call
        if call is None or call.deadline is None:
            return self._policy.wait
        return min(self._policy.wait, call.deadline - perf_counter())

    async def _lead(self, flight: Flight) -> Reply:
        """Ask for all who ask the same meanwhile."""
        try:
            return told(self._kept(await self._ask(), flight), MISS)
        except BaseException:
            flight.land(Ending.LOST)
            raise

    def _kept(self, reply: Reply, flight: Flight | None = None) -> Reply:
        """Have an answer kept, if its caller lets us."""
        if not self._wishes.keeps:
            return reply
        assert self._found is not None
        ttl = seconds_kept(self._meter, self._wishes, self._snapshot)
        return Keeper(self._meter, self._snapshot, self._name, self._found, ttl, flight).take(reply)

    # What is kept is given again.

    def _is_wanted(self, kept: Kept | None) -> bool:
        """Whether there is an answer, and its caller takes it."""
        max_age = self._wishes.max_age
        return kept is not None and (max_age is None or kept.age(kept_answers.now()) <= max_age)

    async def _again(self, kept: Kept) -> Reply:
        meter, snapshot = self._meter, self._snapshot
        if snapshot.limits:
            await admission.admit_request(meter, snapshot)
        meter.target = Target(kept.provider, kept.model or None)
        meter.consumption, meter.saved_nanos = UNUSED, kept.cost_nanos or 0
        silence = snapshot.keep_alive_interval
        return replays.again(kept, meter, self._head(kept), seconds=self._replay_seconds(meter.target), silence=silence)

    def _replay_seconds(self, target: Target) -> float:
        """For how many seconds a stream may be given again at its pace: 0 for not at all, as for a call that has waited
        for its end already; and no longer than an answer of this target may take."""
        meter, snapshot, policy = self._meter, self._snapshot, self._policy
        rule = snapshot.rules.get(meter.route, PLAIN)
        if self._has_waited or (self._wishes.replay or rule.cache_replay or policy.replay) != PACED:
            return 0.0
        assert meter.call is not None
        deadline = deadlines.of(meter.call, snapshot.timeouts.of_target(meter.route, target))
        most = policy.replay_seconds
        return most if deadline is None else min(most, deadline - perf_counter())

    def _head(self, kept: Kept) -> Headers:
        arrival = self._meter.arrival
        return [
            *request_ids(arrival.request_id),
            server_timing.header(arrival.received_at, queued=self._meter.queued),
            (b"x-gateway-attempts", b"0"),
            HIT,
            (b"age", b"%d" % kept.age(kept_answers.now())),
        ]
