"""One process among its peers: a thread that sends what is told, hears what others tell, and answers what they ask.

The thread has an event loop of its own, so it serves all event loops of the process, whichever come and go, and nothing
that it does holds up a call. Handlers run in it, one after the other: they must be quick, and wait for nothing.

Each process says every few seconds that it is there. It hears itself, too: if it does not, the connection is dead,
whatever TCP says, and is opened anew. While there is none nothing is told and nobody is asked: old news would be taken
for new ones. When there is one again, `on_join` brings the process up to date.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from ai_gateway.daemons import Daemon
from ai_gateway.limits.base import StoreUnavailable
from ai_gateway.peers.messages import VERSION, Message, TooLong, decode, encode

logger = logging.getLogger("ai_gateway")

BEAT = 5.0
"""Seconds between two messages that say that a process is there."""

MISSED = 3
"""Beats of which nothing is heard after which a peer, or the connection, counts as gone."""

SETTLED = 1.0
"""Seconds after which a process that has joined knows all that are there."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds until the first and between later attempts to connect again."""

MOST_UNSENT = 1000
"""Messages that wait to be sent. What is more is not told."""

MOST_PEERS = 1000
MOST_QUESTIONS = 100

LAST = 2.0
"""Seconds for which a stopping process waits for the thread."""

HERE, GONE = "here", "gone"
"""Kinds of messages that are about the process itself."""

Handler = Callable[[dict[str, Any]], dict[str, Any] | None]


class Wire(Protocol):
    """What messages go over."""

    async def open(self) -> None:
        """Connect: from now on messages come in."""

    async def publish(self, data: bytes, to: str = "") -> None:
        """Send a message to all, or to one."""

    async def receive(self, within: float) -> object:
        """Wait for a message."""

    async def lease(self, what: str, seconds: float) -> bool:
        """Take something for a while, if nobody else has it."""

    async def aclose(self) -> None:
        """Close what is open."""


class Question:
    """What was asked, and what came back. `waiting` are the peers that have not answered yet."""

    def __init__(self, waiting: set[str]) -> None:
        self.waiting = waiting
        self.answers: list[dict[str, Any]] = []
        self.is_answered: Future[None] = Future()

    def note(self, sender: str, name: str, body: dict[str, Any] | None) -> None:
        """Note an answer."""
        self.waiting.discard(sender)
        if body is not None:
            self.answers.append({**body, "process": name})
        if not self.waiting and not self.is_answered.done():
            self.is_answered.set_result(None)


class Member:
    """The thread. `new_wire` gets this process's id. `on_join` is called in the thread whenever it has connected."""

    def __init__(
        self, new_wire: Callable[[str], Wire], handlers: Mapping[str, Handler], on_join: Callable[[], None]
    ) -> None:
        self.id = secrets.token_hex(8)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._new_wire = new_wire
        self._handlers = handlers
        self._on_join = on_join
        self._peers: dict[str, tuple[str, float]] = {}
        self._questions: dict[str, Question] = {}
        self._unsent: deque[tuple[str, bytes]] = deque()
        self._forgotten = 0
        self._misunderstood: set[str] = set()
        self._joined_at: float | None = None
        self._failure = ""
        self._pause = FIRST_PAUSE
        self._first: Future[None] = Future()
        self._is_ending = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._daemon = Daemon("ai-gateway-peers", self._run, lambda: self._do_soon(self._end.set))
        self._wire: Wire | None = None
        self._news = asyncio.Event()
        self._end = asyncio.Event()

    def start(self) -> None:
        """Start the thread if it was not started yet."""
        if not self._is_ending:
            self._daemon.start()

    def stop(self) -> None:
        """Say goodbye, and end the thread. It is not started again."""
        self._is_ending = True
        self._daemon.end(LAST)

    @property
    def is_connected(self) -> bool:
        """Whether the others hear this process, as far as it knows."""
        return self._joined_at is not None

    @property
    def failure(self) -> str:
        """Why it is not connected. Empty if it is, or has not tried yet."""
        return self._failure

    @property
    def peers(self) -> dict[str, float]:
        """The names of the others, each with the seconds since it was heard."""
        now = time.monotonic()
        return {name: round(now - heard_at, 1) for name, heard_at in list(self._peers.values())}

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        """Tell all others something."""
        if self.is_connected:
            self._put(self._message(kind, body))

    async def ask(self, kind: str, body: dict[str, Any], within: float) -> list[dict[str, Any]]:
        """Ask all processes, ours first, and give what they answer in time."""
        until = time.monotonic() + within
        if self._daemon.is_running:
            await _done(self._first, within)
        own = self.handle(kind, body)
        answers = [] if own is None else [{**own, "process": self.name}]
        if not self.is_connected or len(self._questions) >= MOST_QUESTIONS:
            return answers
        # Who has just joined knows of nobody, and waits for whoever there may be.
        is_settled = self._joined_at is not None and time.monotonic() - self._joined_at > SETTLED
        question = Question(set(self._peers) if is_settled else {"unknown"})
        if not question.waiting:
            return answers
        number = secrets.token_hex(8)
        self._questions[number] = question
        try:
            self._put(self._message(kind, body, question=number))
            await _done(question.is_answered, until - time.monotonic())
        finally:
            self._questions.pop(number, None)
        return answers + question.answers

    def handle(self, kind: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Have a message handled, as if a peer had told it."""
        handler = self._handlers.get(kind)
        if handler is None:
            return None
        try:
            return handler(body)
        except Exception:
            # Of another release, or a bug: neither may end the exchange with all the others, or flood the log.
            if kind not in self._misunderstood:
                self._misunderstood.add(kind)
                logger.exception("A message of a peer could not be dealt with: %s", kind)
            return None

    async def lease(self, what: str, seconds: float) -> bool:
        """Take something for a while if no other process has it. In the thread only; raises StoreUnavailable."""
        if self._wire is None:
            raise StoreUnavailable("There is no connection to the peers")
        return await self._wire.lease(what, seconds)

    def call_later(self, seconds: float, do: Callable[[], Any]) -> None:
        """Have something done in the thread after a while."""
        loop = self._loop
        if loop is not None:
            self._do_soon(loop.call_later, seconds, do)

    # From here on everything is done in the thread, but for what only puts something there.

    def _run(self) -> None:
        asyncio.run(self._live())

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not self._is_ending:
            try:
                await self._connected()
            except Exception as error:
                self._note_failure(error)
            self._note_first()
            await _happened(self._end, self._pause * random.uniform(0.5, 1.0))
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _connected(self) -> None:
        """Be connected until that fails, or the process ends."""
        wire = self._wire = self._new_wire(self.id)
        try:
            await wire.open()
            await wire.publish(encode(self._message(HERE)))
            self._join()
            await self._until_it_ends(self._hear(wire), self._send(wire))
            await wire.publish(encode(self._message(GONE)))
        finally:
            self._joined_at = self._wire = None
            self._peers.clear()
            self._unsent.clear()
            await wire.aclose()

    def _join(self) -> None:
        if self._failure:
            logger.warning("The other processes of the gateway can be reached again.")
        self._failure = ""
        self._pause = FIRST_PAUSE
        self._joined_at = time.monotonic()
        self._note_first()
        self._on_join()

    def _note_first(self) -> None:
        """Let those go on who wait for the first attempt to connect."""
        if not self._first.done():
            self._first.set_result(None)

    async def _until_it_ends(self, *work: Any) -> None:
        end = asyncio.ensure_future(self._end.wait())
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            await asyncio.wait([end, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (end, *tasks):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _note_failure(self, error: Exception) -> None:
        if not self._failure:
            # What Redis said is enough. Anything else is a wrong setting or a bug.
            trace = None if isinstance(error, StoreUnavailable) else error
            text = "The other processes of the gateway cannot be reached; each goes on for itself. %s"
            logger.error(text, error, exc_info=trace)
        self._failure = str(error) or type(error).__name__

    async def _send(self, wire: Wire) -> None:
        beat_at = time.monotonic() + BEAT
        while True:
            self._news.clear()
            while self._unsent:
                to, data = self._unsent.popleft()
                await wire.publish(data, to)
            if self._forgotten:
                logger.warning("%d messages to the other processes were not sent: too many.", self._forgotten)
                self._forgotten = 0
            await _happened(self._news, beat_at - time.monotonic())
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + BEAT
                await wire.publish(encode(self._message(HERE)))
                self._drop_who_is_gone()

    def _drop_who_is_gone(self) -> None:
        oldest = time.monotonic() - MISSED * BEAT
        for sender in [sender for sender, (_, heard_at) in self._peers.items() if heard_at < oldest]:
            self._leave(sender)

    def _leave(self, sender: str) -> None:
        self._peers.pop(sender, None)
        for question in list(self._questions.values()):
            if sender in question.waiting:
                question.note(sender, "", None)

    async def _hear(self, wire: Wire) -> None:
        while True:
            message = decode(await wire.receive(MISSED * BEAT))
            if message is None or message.sender == self.id:
                continue
            self._meet(message)
            self._take(message)

    def _meet(self, message: Message) -> None:
        """Remember that a peer is there. One that is new does not know of us."""
        is_new = message.sender not in self._peers
        if is_new and len(self._peers) >= MOST_PEERS:
            return
        self._peers[message.sender] = (message.name, time.monotonic())
        if is_new and message.kind != GONE:
            self._put(self._message(HERE), message.sender)

    def _take(self, message: Message) -> None:
        if message.kind == GONE:
            self._leave(message.sender)
        elif message.is_answer:
            question = self._questions.get(message.question)
            if question is not None and len(question.answers) < MOST_PEERS:
                question.note(message.sender, message.name, message.body)
        elif message.kind != HERE:
            answer = self.handle(message.kind, message.body or {})
            if message.question:
                self._put(
                    self._message(message.kind, answer, question=message.question, is_answer=True), message.sender
                )

    def _message(
        self, kind: str, body: dict[str, Any] | None = None, *, question: str = "", is_answer: bool = False
    ) -> Message:
        return Message(VERSION, self.id, self.name, kind, body, question, is_answer)

    def _put(self, message: Message, to: str = "") -> None:
        """Have a message sent. Any thread may."""
        try:
            data = encode(message)
        except TooLong as error:
            logger.warning("%s", error)
            return
        if len(self._unsent) >= MOST_UNSENT:
            self._forgotten += 1
            return
        self._unsent.append((to, data))
        self._do_soon(self._news.set)

    def _do_soon(self, do: Callable[..., Any], *arguments: Any) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(do, *arguments)
        except RuntimeError:
            return  # The thread has ended meanwhile, and nobody is told anything any more.


async def _done(future: Future[None], within: float) -> None:
    """Wait for what another thread does, for a while."""
    if not future.done() and within > 0:
        await asyncio.wait([asyncio.wrap_future(future)], timeout=within)


async def _happened(event: asyncio.Event, within: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, within)):
            await event.wait()
    except TimeoutError:
        return
