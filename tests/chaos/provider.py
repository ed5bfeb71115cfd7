"""Providers on bare sockets that do to every call what was drawn for it, and keep a log of what they really sent.

They are all one server: the first part of the path says which provider is meant. The log is what the caller's side is
judged by (`verdict.py`), so it says what was sent and not what was planned.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.faults import Draw, Fault, draw, draw_refusal
from tests.chaos.voices import CHAT, MESSAGES, Event, Usage, Voice, words
from tests.upstream import LAST_CHUNK, Exchange, Upstream, chunk, head, stream_head

MARK = re.compile(rb"chaos-(\d+)-(\d+)")
"""What a call writes into its prompt: the seed and its number."""

UNKNOWN = Usage(0, 0)


@dataclass
class Sent:
    """One exchange, as the provider knows it."""

    call: int
    provider: str
    fault: Fault
    is_stream: bool
    at: float = field(default_factory=time.monotonic, repr=False)
    voice: Voice = field(default=CHAT, repr=False)
    usage: Usage = UNKNOWN
    status: int = 0
    events: list[Event] = field(default_factory=list, repr=False)
    """What was to be sent of a stream."""
    answer: bytes = field(default=b"", repr=False)
    """What was to be sent of a whole answer, or of an error."""
    text: str = field(default="", repr=False)
    body: bytearray = field(default_factory=bytearray, repr=False)
    """What was sent of it, without framing."""
    is_whole: bool = False
    """Whether it was sent to its end, framing included."""
    is_reset: bool = False
    """Whether it was reset: then bytes that were sent may not have arrived."""
    longest_wait: float = 0.0
    """Seconds between two signs of life, from the request on."""
    lives: float = field(default_factory=time.monotonic, repr=False)

    def tick(self) -> None:
        """Note a sign of life."""
        now = time.monotonic()
        self.longest_wait = max(self.longest_wait, now - self.lives)
        self.lives = now

    @property
    def stream(self) -> bytes:
        """All of a stream."""
        return b"".join(event.data for event in self.events)

    @property
    def sent_events(self) -> list[Event]:
        """The events that were sent whole."""
        found, total = [], 0
        for event in self.events:
            total += len(event.data)
            if total > len(self.body):
                break
            found.append(event)
        return found


class ChaosProviders:
    """The providers."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.is_calm = False
        """Whether everything goes well, whatever was drawn."""
        self.log: list[Sent] = []
        self._turns: Counter[tuple[int, str]] = Counter()
        upstream.answer(self._serve)

    def of_call(self, number: int) -> list[Sent]:
        """Give the exchanges of a call, in order."""
        return [sent for sent in self.log if sent.call == number]

    async def _serve(self, exchange: Exchange) -> None:
        provider = exchange.request.target.split("/")[1]
        begun = time.monotonic()
        mark, body = None, b""
        while mark is None and await exchange.read_some():
            body = bytes(exchange.request.body)
            mark = MARK.search(body)
        assert mark is not None, body
        seed, call = int(mark[1]), int(mark[2])
        # A call's copy to a mirror is a call of its own.
        is_stream = b'"stream":true' in body or b'"stream": true' in body
        turn = self._turns[call, provider]
        self._turns[call, provider] += 1
        drawn = draw(seed, call, provider, turn, is_stream=is_stream)
        if self.is_calm:
            drawn = Draw(Fault.NONE, drawn.dice)
        sent = Sent(call=call, provider=provider, fault=drawn.fault, is_stream=is_stream, lives=begun)
        sent.voice = MESSAGES if exchange.request.target.endswith("/messages") else CHAT
        sent.usage = Usage(drawn.dice.randint(1, 500), drawn.dice.randint(1, 500))
        self.log.append(sent)
        if drawn.fault is Fault.RESET_UNREAD:
            sent.is_reset = True
            exchange.reset()
            return
        await exchange.read_body()
        await self._answer(exchange, sent, drawn, f"{mark[0].decode()}/{provider}/{turn}")

    async def _answer(self, exchange: Exchange, sent: Sent, drawn: Draw, mark: str) -> None:
        fault, dice = drawn.fault, drawn.dice
        await asyncio.sleep(dice.choice((0, 0, 0.005, 0.03)))
        texts = words(mark, dice)
        if fault in (Fault.CLOSE_UNANSWERED, Fault.RESET_UNANSWERED, Fault.STALL_UNANSWERED):
            await self._end(exchange, sent, fault)
        elif fault in (Fault.HALF_HEAD, Fault.STALL_IN_HEAD):
            await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: appl")
            await self._end(exchange, sent, fault)
        elif fault is Fault.JUNK:
            await exchange.send(dice.choice((b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"\0" * 99, b"HTTP/1.1 banana\r\n\r\n")))
            exchange.close()
        elif fault is Fault.REDIRECT:
            sent.status = dice.choice((301, 302, 307, 308))
            await exchange.send(head(sent.status, [("location", "http://127.0.0.1:9/"), ("content-length", "0")]))
        elif fault is Fault.REFUSAL:
            await self._refuse(exchange, sent, dice, mark)
        elif sent.is_stream:
            await self._stream(exchange, sent, drawn, texts, mark)
        else:
            await self._whole(exchange, sent, drawn, texts)

    async def _end(self, exchange: Exchange, sent: Sent, fault: Fault) -> None:
        """End an exchange in the way that a fault's name says."""
        if fault.name.startswith("STALL"):
            await asyncio.Event().wait()
        elif fault.name.startswith("RESET"):
            sent.is_reset = True
            exchange.reset()
        else:
            exchange.close()

    async def _refuse(self, exchange: Exchange, sent: Sent, dice: random.Random, mark: str) -> None:
        sent.status, code, headers = draw_refusal(dice)
        sent.answer = json.dumps(sent.voice.error(code, f"<{mark}> {code}")).encode()
        fields = [("content-type", "application/json"), ("content-length", str(len(sent.answer))), *headers]
        sent.is_whole = True
        await exchange.send(head(sent.status, fields) + sent.answer)

    async def _whole(self, exchange: Exchange, sent: Sent, drawn: Draw, texts: list[str]) -> None:
        fault, dice = drawn.fault, drawn.dice
        if dice.random() < 0.15:
            texts.append("y" * 150_000)  # Too long to be held until it is whole.
        sent.status, sent.text = 200, "".join(texts)
        sent.answer = sent.voice.answer(texts, sent.usage)
        upto = len(sent.answer) if fault is Fault.NONE else dice.randrange(len(sent.answer))
        is_chunked = dice.random() < 0.4
        if is_chunked:
            await exchange.send(stream_head(content_type="application/json"))
        else:
            length = len(sent.answer) if fault is not Fault.BAD_FRAMING else upto + dice.choice((1, 1000))
            await exchange.send(head(200, [("content-type", "application/json"), ("content-length", str(length))]))
        for piece in cut(sent.answer[:upto], dice):
            sent.body += piece
            # Beforehand: who has the last byte may be done before this goes on.
            sent.is_whole = fault is Fault.NONE and not is_chunked and len(sent.body) == len(sent.answer)
            await exchange.send(chunk(piece) if is_chunked else piece)
            sent.tick()
            await asyncio.sleep(dice.choice((0, 0, 0, 0.01)))
        if fault is Fault.NONE:
            sent.is_whole = True
            if is_chunked:
                await exchange.send(LAST_CHUNK)
        elif fault is Fault.BAD_FRAMING and is_chunked:
            await exchange.send(b"xyz\r\nabc\r\n")
            exchange.close()
        else:
            await self._end(exchange, sent, fault)

    async def _stream(self, exchange: Exchange, sent: Sent, drawn: Draw, texts: list[str], mark: str) -> None:
        fault, dice = drawn.fault, drawn.dice
        asks = b'"include_usage":true' in exchange.request.body or b'"include_usage": true' in exchange.request.body
        sent.status, sent.text = 200, "".join(texts)
        sent.events = sent.voice.events(texts, sent.usage, with_usage=asks)
        error = Event(sent.voice.error_event("server_error", f"<{mark}> out of order"), is_proof=True)
        if fault is Fault.ERROR_FIRST:
            sent.events = [error]
        elif fault is Fault.ERROR_LATER:
            sent.events = [*sent.events[: dice.randrange(1, len(sent.events) - 2)], error]
        elif fault is Fault.UNPROVEN:
            proven = next(number for number, event in enumerate(sent.events) if event.is_proof)
            sent.events = sent.events[: dice.randrange(1, proven + 1)]
        whole = sent.stream
        is_cut = fault in (Fault.RESET, Fault.CLOSE, Fault.STALL, Fault.BAD_FRAMING)
        planned = whole[: dice.randrange(len(whole))] if is_cut else whole
        await exchange.send(stream_head())
        for piece in self._pieces(planned, sent.events, dice):
            sent.body += piece
            await exchange.send(chunk(piece))
            sent.tick()
            await asyncio.sleep(dice.choice((0, 0, 0.002, 0.02)))
        if fault is Fault.BAD_FRAMING:
            await exchange.send(dice.choice((b"zzz\r\n", b"5\r\nda")))
            exchange.close()
        elif is_cut or fault in (Fault.RESET_AFTER, Fault.STALL_AFTER, Fault.CLOSE_AFTER):
            await self._end(exchange, sent, fault)
        else:
            sent.is_whole = True
            await exchange.send(LAST_CHUNK)

    @staticmethod
    def _pieces(planned: bytes, events: Sequence[Event], dice: random.Random) -> list[bytes]:
        """Cut a stream: into its events, or, as networks do, anywhere."""
        if dice.random() < 0.4:
            return cut(planned, dice)
        pieces, start = [], 0
        for event in events:
            pieces.append(planned[start : start + len(event.data)])
            start += len(event.data)
        return [piece for piece in pieces if piece]


def cut(data: bytes, dice: random.Random) -> list[bytes]:
    """Cut bytes into a few pieces, anywhere."""
    cuts = sorted({0, len(data), *(dice.randrange(len(data) + 1) for _ in range(dice.randint(0, 6)))})
    return [data[start:stop] for start, stop in itertools.pairwise(cuts) if start < stop]
