"""A realtime session, from when both its websockets are open: messages pass in both directions, unchanged, until
somebody ends it.

Neither side can be sent more than it takes: a message is received only when the one before it was sent on, so what a
session holds is bounded, however slow its ends are. Pings and pongs are each connection's own.

A session is one call, and each of its answers is counted for by itself: what it used is priced and settled when the
provider says it, and the limits must admit the next one. What is transcribed of the caller's speech is settled with its
answer, or by itself where nobody answers. Then the caller's key is looked at again, and the limits that are in force by
now count; and so it is now and then if nothing was reported. So a budget ends a session that has used it up, and so
does who revokes a key, or tightens a limit.

Whatever ends a session, each side that is still there is told: by the code and reason of the other side, or by an
`error` event and a code of the gateway's own.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from time import perf_counter
from typing import Any, NoReturn

from ai_gateway import access, accounting, admission, fallbacks, guarding, keys, registry
from ai_gateway.calls import Message, Target
from ai_gateway.consumption import Consumption, together
from ai_gateway.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    Draining,
    GatewayError,
    InternalError,
    InvalidBody,
    KeysUnavailable,
    LimitsUnavailable,
    ModelNotFound,
    Overloaded,
    SocketClosed,
    UpstreamClosed,
    UpstreamError,
    UpstreamTimeout,
)
from ai_gateway.hops.upgrade import Accepted
from ai_gateway.listeners.sessions import SessionListener
from ai_gateway.meter import Meter, Outcome, Piece
from ai_gateway.protocols.realtime import Report, models_asked_for, write_error_event
from ai_gateway.registry import Snapshot
from ai_gateway.sockets import NO_STATUS, POLICY_VIOLATION, CallerSocket

logger = logging.getLogger("ai_gateway")

NORMAL = 1000
GOING_AWAY = 1001
TOO_BIG = 1009
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012
TRY_AGAIN_LATER = 1013

CODES: tuple[tuple[type[GatewayError], int], ...] = (
    (Draining, SERVICE_RESTART),
    (Overloaded, TRY_AGAIN_LATER),
    (BodyTooLarge, TOO_BIG),
    (UpstreamError, INTERNAL_ERROR),
    (InternalError, INTERNAL_ERROR),
)
"""The code that goes with an error, the first that fits; POLICY_VIOLATION with any other."""

FAREWELL = 0.8
"""Seconds in which the sides of a session take that it is over: less than the one that is left to a process behind
DRAIN_TIMEOUT."""

LOOK_AGAIN = 5.0
"""Seconds after which the caller's key and limits are looked at, whether or not the provider has said what was used.
About as long as it takes until other calls notice what was changed."""


class Session:
    """One session."""

    def __init__(self, caller: CallerSocket, opened: Accepted, meter: Meter, snapshot: Snapshot) -> None:
        assert isinstance(meter.listener, SessionListener)
        self._caller = caller
        self._attempt = opened.attempt
        self._socket = opened.socket
        self._meter = meter
        self._snapshot = snapshot
        self._listener = meter.listener
        self._heard_at = perf_counter()
        self._unsettled: list[tuple[Consumption, int | None]] = []
        self._admission = asyncio.Lock()
        """Of who has the next answer admitted: another one would take what it wants twice."""
        self._was_heard = False
        """Whether the last report was of a transcription."""

    async def run(self) -> None:
        """Pass messages until somebody ends it, and account for it."""
        try:
            ending = await self._until_it_ends()
            self._note(ending)
        finally:
            self._settle_rest()
        if self._snapshot.is_measured:
            await accounting.finish_durably(self._meter, self._snapshot)
        await self._tell(ending)

    async def _until_it_ends(self) -> SocketClosed | GatewayError:
        loop = asyncio.get_running_loop()
        work = [loop.create_task(each) for each in (self._upwards(), self._downwards(), self._watch())]
        ends: list[asyncio.Future[Any]] = [*work, self._socket.interrupted, self._caller.gone]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in work:
                task.cancel()
            found = await asyncio.gather(*work, return_exceptions=True)
        if self._socket.interrupted.done():
            return self._socket.interrupted.result()
        ended = [each for each in found if isinstance(each, Exception)]
        return self._known(ended[0]) if ended else SocketClosed(NO_STATUS)

    def _known(self, error: Exception) -> SocketClosed | GatewayError:
        if isinstance(error, SocketClosed | GatewayError):
            return error
        logger.error("%s: the gateway failed", self._meter.arrival.request_id, exc_info=error)
        return InternalError("The gateway failed. Its log has the details, under this request's id.")

    # The messages.

    async def _upwards(self) -> NoReturn:
        """Pass what the caller says."""
        limit = self._snapshot.max_body_bytes
        while True:
            message = await self._caller.receive(limit)
            self._heard_at = perf_counter()
            refusal = self._refusal(message) if self._meter.caller.allowed_models else None
            if refusal is None:
                self._listener.hear_caller(message)
                await self._socket.send(message)
            else:
                await self._caller.send(self._event(refusal))

    async def _downwards(self) -> NoReturn:
        """Pass what the provider says, and hear what it used."""
        meter, listener = self._meter, self._listener
        while True:
            message = await self._socket.receive()
            self._heard_at = perf_counter()
            data = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message
            listener.hear(data)
            if listener.has_content and meter.first_token_at is None:
                meter.first_token_at = perf_counter()
            meter.bytes_out += len(data)
            report = listener.report
            if report is not None:
                self._count(report)  # Before the caller has it, who may hang up instead of taking it.
            await self._caller.send(message)
            if report is not None:
                await self._settle(report)

    def _refusal(self, message: Message) -> GatewayError | None:
        """Tell whether an event asks for a model that the caller's key is not for, or could."""
        caller, target = self._meter.caller, self._attempt.target
        data = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message
        try:
            models = models_asked_for(data)
        except InvalidBody as error:
            return error
        for model in models:
            if model != target.model and not access.may_use_model(caller, target.provider, model):
                return access.not_found(model)
        return None

    async def _watch(self) -> NoReturn:
        """End a session in which nobody says anything, whose time is over, whose key is not valid any more, or whose
        limits were tightened."""
        timeouts, deadline = self._attempt.timeouts, self._attempt.deadline
        longest = self._heard_at + timeouts.stream if timeouts.stream else None
        look_at = self._heard_at + LOOK_AGAIN
        while True:
            now, silent_at = perf_counter(), self._heard_at + timeouts.idle
            if now >= silent_at:
                raise UpstreamTimeout(f"Nobody has said anything for {timeouts.idle:g} s.")
            if longest is not None and now >= longest:
                raise DeadlineExceeded(f"A session may take {timeouts.stream:g} s here.")
            if deadline is not None and now >= deadline:
                raise DeadlineExceeded("The time that this session was given is over.")
            if now >= look_at:
                look_at = now + LOOK_AGAIN
                with suppress(KeysUnavailable):  # Nobody can tell at the moment: that is no reason to hang up.
                    await self._look_again()
                with suppress(LimitsUnavailable):
                    await self._keep_to_limits()
            await asyncio.sleep(min(each for each in (silent_at, longest, deadline, look_at) if each is not None) - now)

    # What it uses.

    def _count(self, report: Report) -> None:
        """Note what an answer or a transcription used."""
        used = Consumption(tokens=report.tokens, units=report.units, model=report.model, upstream_id=report.id)
        target = self._attempt.target
        # What another model did has that one's price, and none if nobody says which it is.
        asked = target if report.is_answer else Target(target.provider, report.model) if report.model else None
        self._add(used, asked, self._pricing())

    async def _settle(self, report: Report) -> None:
        """Take into account what was used. Raises whatever does not admit what comes next."""
        await self._look_again()
        if self._is_turn(report):
            async with self._admission:
                await admission.renew(self._meter, *self._take_unsettled(), self._pricing(), registry.snapshot().limits)

    async def _keep_to_limits(self) -> None:
        """Have other limits admit the next answer, if others are in force by now. While one is under way, or is not
        settled yet, that is left to its end. Raises whatever does not admit it."""
        limits = registry.snapshot().limits
        async with self._admission:
            is_under_way = self._listener.reader.is_answering or self._unsettled
            if not is_under_way and not admission.is_current(self._meter, limits):
                await admission.renew(self._meter, None, None, self._pricing(), limits)

    def _pricing(self) -> Snapshot:
        """Give the newest snapshot, for its prices. A provider that was taken out since has its price where the session
        began, which goes on as calls do."""
        newest = registry.snapshot()
        return newest if self._attempt.target.provider in newest.providers else self._snapshot

    def _is_turn(self, report: Report) -> bool:
        """Whether a report ends what counts as one request. A transcription does not while an answer may follow, which
        is settled with it; it does where nobody answers."""
        was_heard, self._was_heard = self._was_heard, not report.is_answer
        return report.is_answer or was_heard or self._attempt.call.model is None

    async def _look_again(self) -> None:
        """Look at the caller's key again, and at what it is for. Raises InvalidCredential for one that is not valid any
        more, ModelNotFound for one that would not be let in now, and GuardrailBlocked if there is a guardrail now."""
        meter, newest = self._meter, registry.snapshot()
        meter.caller = await keys.identify(meter.arrival, newest)
        access.check_arrival(meter.arrival, meter.caller)
        # A route that was taken out since is what it was when the session began.
        self._check_target(newest if meter.route in newest.routes else self._snapshot)
        guarding.check_session(meter, newest)

    def _check_target(self, snapshot: Snapshot) -> None:
        """Raise ModelNotFound if the target is open to the caller neither by the name that was asked for nor by that of
        a fallback."""
        call, caller, target = self._meter.call, self._meter.caller, self._attempt.target
        assert call is not None
        try:
            access.permitted(call, caller, [target], snapshot)
        except ModelNotFound:
            _, names = fallbacks.taken_from(call, caller, [target], self._meter.route, snapshot)
            routes = [name for name in names if target in snapshot.routes.get(name, ())]
            if not any(access.may_list(caller, route, snapshot) for route in routes):
                raise

    def _add(self, used: Consumption, asked: Target | None, snapshot: Snapshot) -> None:
        """Note what was used, and of which model if that is known."""
        meter = self._meter
        is_nothing = not (used.tokens.total_input or used.tokens.total_output or used.units)
        cost = 0 if is_nothing else None if asked is None else accounting.price_of(used, asked, snapshot)
        self._unsettled.append((used, cost))
        parts = [(piece.consumption, piece.cost_nanos) for piece in meter.pieces] + [(used, cost)]
        known = [each for _, each in parts if each is not None]
        meter.pieces = (
            Piece(
                together([each for each, _ in parts if each is not None]),
                sum(known) if len(known) == len(parts) else None,
                meter.sent_at,
                meter.first_byte_at,
                meter.first_token_at,
            ),
        )

    def _take_unsettled(self) -> tuple[Consumption, int | None]:
        found, self._unsettled = self._unsettled, []
        return together([used for used, _ in found]), sum(cost or 0 for _, cost in found)

    def _settle_rest(self) -> None:
        """Settle what is left: of an answer that was under way, what of it came, and of the session its place."""
        meter = self._meter
        rest = self._listener.consumption()
        if rest is not None:
            self._add(rest, self._attempt.target, self._snapshot)
        if meter.hold is not None and meter.pieces:
            meter.hold.settle_answer(*(self._take_unsettled() if self._unsettled else (None, 0)))
            meter.hold.settle(None, None)
        meter.listener = None

    # The end.

    def _note(self, ending: SocketClosed | GatewayError) -> None:
        """Note what ended it."""
        meter = self._meter
        if isinstance(ending, GatewayError):
            meter.fail(ending)
            logger.info("%s: the session ends: %s", meter.arrival.request_id, ending.message)
        elif not ending.is_upstreams:
            is_cut = self._listener.reader.is_answering or self._caller.gone.done()
            meter.outcome = Outcome.DISCONNECTED if is_cut else Outcome.ANSWERED
        elif self._listener.reader.is_answering:
            meter.fail(UpstreamClosed("The provider ended the session in the middle of an answer."))
        elif ending.code in (NORMAL, GOING_AWAY, NO_STATUS):
            meter.outcome = Outcome.ANSWERED
        else:
            meter.fail(UpstreamClosed(f"The provider ended the session with the code {ending.code}."))

    async def _tell(self, ending: SocketClosed | GatewayError) -> None:
        """Tell either side. Who does not take it in time is cut off."""
        if isinstance(ending, GatewayError):
            code, reason = code_of(ending), ending.message
            upwards = NORMAL, ""
        else:
            code, reason = upwards = passable(ending.code), ending.reason
        try:
            async with asyncio.timeout(FAREWELL):
                if isinstance(ending, GatewayError) and not self._caller.is_gone:
                    await self._caller.send(self._event(ending))
                await asyncio.gather(self._caller.close(code, reason), self._socket.close(*upwards))
        except (TimeoutError, SocketClosed, GatewayError):
            return

    def _event(self, error: GatewayError) -> str:
        return write_error_event(error, self._meter.arrival.request_id).decode()


def code_of(error: GatewayError) -> int:
    """Choose the code by which a session is closed that ends with an error."""
    return next((code for kind, code in CODES if isinstance(error, kind)), POLICY_VIOLATION)


def passable(code: int) -> int:
    """Give the code that a side is told when the other one has closed with this one: not every code may be sent."""
    if code == NO_STATUS:
        return NORMAL
    return code if code in SENDABLE or 3000 <= code < 5000 else INTERNAL_ERROR


SENDABLE = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015)))
"""The codes of RFC 6455 and its registry that may be sent."""
