"""A stream that guardrails look into while it comes.

The text of a stream comes in pieces, and what a guardrail looks for may be cut anywhere. So pieces are held back, up to
a window of characters or a delay, and what is held is looked at as one text, with what came before it. Half of the
window stays back each time, because the other half of something may still come; so does what a change has begun in.

Events go out as they came, whole and in their order, only with other text in them; an event goes out when all of its
text may. An event that ends something (a block, the choice, the stream) lets everything out that was held before it.
Texts that such events repeat as a whole are looked at too. A message may say its text in several parts, one after the
other: what is held of one is looked at with the end of the part before it, which went out. A block ends the stream with
an error event of the caller's format: no proof of a whole answer follows.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from time import perf_counter

import msgspec

from ai_gateway.calls import BodyAround, ReplyBody
from ai_gateway.edits import Edit, applied
from ai_gateway.errors import GatewayError, GuardrailFailed
from ai_gateway.meter import Meter
from ai_gateway.passages import passages_of
from ai_gateway.sse import BLANK_LINE, BOM, LINE_END, MAX_EVENT, read_events, whole_events
from ai_gateway.texts import FORMAL, Text, is_text, rewritten, strings_in

_PING = re.compile(rb'\s*+\{\s*+(?:"type"\s*+:\s*+"ping"\s*+)?\}\s*+')
"""All that a sign of life may say, which goes out past what is held."""

MOST_HELD = 16 * 1024 * 1024
"""Bytes of events that are held. Most are a few hundred bytes long, and held for a few letters each."""

MOST_CHANNELS = 1000
"""Texts of a stream that are told apart. No answer has so many; what goes on with one that was forgotten is looked at
without what came before."""

REMEMBERED = 4 << 20
"""Letters of the texts that are not asked about again."""

EACH = 100
"""Letters that a text counts in addition, for what remembers it."""

Review = Callable[[Sequence[Text]], Awaitable[Mapping[int, Sequence[Edit]]]]

_INDEX = re.compile(rb'"\w*index"\s*+:\s*+([0-9]+)')
"""What tells one text of a stream from another that comes at the same time, in all formats."""

_IS_JSON = re.compile(r"response\.[a-z_]*arguments\.delta")
"""What events are called whose `delta` is a piece of JSON, by the Responses API."""

_PIECE_OF_JSON = ("delta", "arguments")

GOING_ON = frozenset((("delta",), ("delta", "text"), ("text",), ("part", "text")))
"""Members that hold a part of a message, or a piece of it, where other parts came before."""

PIECES = (("choices", "text"), ("completion",), ("candidates", "content", "parts", "text"))
"""Members that hold a piece of a text, besides those of a `delta`."""


class Channel:
    """One of the texts of a stream: what of it is held, and the end of what went out."""

    __slots__ = ("before", "edits", "free", "held", "path", "tail")

    def __init__(self, path: tuple[str, ...], before: str = "") -> None:
        self.path = path
        self.before = before
        """The end of the text before this one, as long as that is of interest."""
        self.tail = ""
        self.held = ""
        self.free = 0
        """How many of the letters that are held may go out."""
        self.edits: list[Edit] = []
        """What is changed in these."""

    @property
    def seen(self) -> Text:
        """What guardrails are shown: what is held, behind what went out."""
        return Text(self.tail + self.held, self.path)

    @property
    def length(self) -> int:
        """How many letters are held, as they read."""
        reading = Text(self.held, self.path).reading()
        return len(self.held) if reading is None else len(reading.value)

    def judge(self, edits: Sequence[Edit], kept: int) -> None:
        """Note what may go out: all but the last `kept` letters, and nothing of a change that goes on behind that.
        `edits` are about what was shown. Where one begins in what went out, its text did so too."""
        shown = len(self.tail)
        here = [
            Edit(max(start - shown, 0), end - shown, text if start >= shown else "")
            for start, end, text in edits
            if end > shown or start >= shown
        ]
        cut = self._cut(kept)
        for edit in here:
            if edit.start < cut < edit.end:
                cut = edit.start or edit.end
        self.free = cut
        self.edits = [edit for edit in here if edit.end <= cut]

    def _cut(self, kept: int) -> int:
        """Count the letters that may go out if the last `kept` stay. Of JSON those count that are read: letters that
        are written as escapes are six times as long, and none is cut."""
        reading = self.seen.reading() if kept else None
        if reading is None:
            return max(len(self.held) - kept, 0)
        return max(reading.place(max(len(reading.value) - kept, 0)) - len(self.tail), 0)

    def unfinished(self, most: int) -> int:
        """Count the letters of the word at the end, which may still go on."""
        words = re.split(r"\s", self.held)
        return min(len(words[-1]), most)

    def piece(self, start: int, end: int) -> str:
        """Give some of what may go out, as it is to read. A change is written where it begins."""
        edits = [
            Edit(max(edit.start, start) - start, min(edit.end, end) - start, edit.text if edit.start >= start else "")
            for edit in self.edits
            if edit.start < end and (edit.end > start or edit.start == start)
        ]
        return applied(self.held[start:end], edits)

    def let_out(self, count: int, context: int) -> None:
        """Note that so many letters went out."""
        self.tail = (self.tail + self.held[:count])[-context:]
        if len(self.tail) >= context:
            self.before = ""
        self.held = self.held[count:]
        self.free, self.edits = 0, []


class Event(msgspec.Struct):
    """An event: its bytes, the data in them, the pieces of texts that are held, and how others are to read."""

    raw: bytes
    data: bytes
    pieces: list[tuple[Text, Channel]]
    changes: dict[Text, str]

    def written(self) -> bytes:
        """Write the event; one that is to read as it does stays as it is, byte for byte."""
        if all(text.value == written for text, written in self.changes.items()):
            return self.raw
        data = rewritten(self.data, self.changes)
        if self.data in self.raw:
            return self.raw.replace(self.data, data, 1)
        others = [line for line in LINE_END.split(self.raw) if line and not line.startswith(b"data")]
        return b"\n".join([*others, b"data: " + data.replace(b"\n", b"")]) + b"\n\n"


class GuardedStream(BodyAround):
    """A reply's body: the events of another one, as the guardrails let them pass."""

    __slots__ = (
        "_channels",
        "_coming",
        "_delay",
        "_due",
        "_ends",
        "_held",
        "_is_over",
        "_known",
        "_latest",
        "_meter",
        "_part",
        "_queue",
        "_ready",
        "_remembered",
        "_review",
        "_window",
    )

    def __init__(self, body: ReplyBody, review: Review, meter: Meter, window: int, delay: float) -> None:
        super().__init__(body)
        self._review = review
        self._meter = meter
        self._window = window
        self._delay = delay
        self._due = 0.0
        self._part = bytearray()
        self._ready = bytearray()
        self._queue: deque[Event] = deque()
        self._held = 0
        self._channels: dict[Hashable, Channel] = {}
        self._latest: dict[tuple[str, ...], Channel] = {}
        self._ends: dict[tuple[str, ...], str] = {}
        self._known: dict[Hashable, Sequence[Edit]] = {}
        self._remembered = 0
        self._coming: asyncio.Future[bytes] | None = None
        self._is_over = False

    async def __anext__(self) -> bytes:
        while not self._ready:
            if self._is_over:
                raise StopAsyncIteration
            try:
                await self._go_on()
            except GatewayError as error:
                await self._end_with(error)
        ready = bytes(self._ready)
        self._ready.clear()
        return ready

    async def _go_on(self) -> None:
        """Read on, and let out what may go out then."""
        try:
            chunk = await self._next()
        except StopAsyncIteration:
            self._is_over = True
            if self._part:
                await self._take(bytes(self._part))
            await self._let_out()
            return
        if chunk is None:
            await self._let_out_late()
            self._due = perf_counter() + self._delay
            return
        for event in self._whole(chunk):
            await self._take(event)

    async def _next(self) -> bytes | None:
        """Give the next bytes, or None if what is held may be held no longer."""
        if self._coming is None:
            if not self._queue:
                return await self._body.__anext__()
            self._coming = asyncio.ensure_future(self._body.__anext__())
        patience = max(self._due - perf_counter(), 0) if self._queue else None
        done, _ = await asyncio.wait({self._coming}, timeout=patience)
        if not done:
            return None
        coming, self._coming = self._coming, None
        return coming.result()

    def _whole(self, chunk: bytes) -> Iterator[bytes]:
        """Give the events that are whole now. Raises GuardrailFailed if one is too long to be held."""
        start = max(0, len(self._part) - 3)
        self._part += chunk
        events = bytes(self._part[: whole_events(self._part, start)])
        del self._part[: len(events)]
        place = 0
        for blank in BLANK_LINE.finditer(events):
            yield events[place : blank.end()]
            place = blank.end()
        if len(self._part) > MAX_EVENT:
            self._part.clear()
            raise GuardrailFailed(
                f"An event of the answer is longer than the {MAX_EVENT} bytes that can be looked into."
            )

    async def _take(self, raw: bytes) -> None:
        """Take an event: hold it for its pieces of texts; or let it out, with all that was held before it."""
        raw = raw.removeprefix(BOM)
        name, data = next(read_events(raw), (None, b""))
        if not data or (name == "ping" and _PING.fullmatch(data)):
            self._ready += raw
            return
        strings = _strings(data)
        pieces = [text for text in strings if is_piece(text.path)]
        if not pieces:
            await self._let_out()
        others = [text for text in strings if not is_piece(text.path) and is_text(text)]
        event = Event(raw=raw, data=data, pieces=[], changes=await self._changes(others))
        if not pieces:
            self._ready += event.written()
            return
        self._hold(event, pieces)
        if self._held > MOST_HELD or len(self._channels) > MOST_CHANNELS:
            await self._let_out()
            self._channels.clear()
        elif self._is_full():
            await self._let_out(kept=self._window // 2)

    def _hold(self, event: Event, pieces: Sequence[Text]) -> None:
        indexes = tuple(_INDEX.findall(event.data))
        for text in pieces:
            channel = self._channels.get((text.path, indexes))
            if channel is None:
                channel = self._channels[text.path, indexes] = self._begun(text.path)
            channel.held += text.value
            event.pieces.append((text, channel))
        if not self._queue:
            self._due = perf_counter() + self._delay
        self._queue.append(event)
        self._held += len(event.raw)

    def _begun(self, path: tuple[str, ...]) -> Channel:
        """Begin with a text, which goes on from the one that ended before it."""
        latest = self._latest.get(path)
        goes_on = latest is not None and not latest.held and path in GOING_ON
        before = (latest.before + latest.tail)[-self._window :] if latest is not None and goes_on else ""
        channel = self._latest[path] = Channel(path, before)
        return channel

    def _is_full(self) -> bool:
        channels = self._channels.values()
        if sum(len(channel.held) for channel in channels) < self._window:
            return False
        return sum(channel.length for channel in channels) >= self._window

    async def _changes(self, texts: Sequence[Text]) -> dict[Text, str]:
        """Ask about texts that come as a whole, about each once as far as it is remembered: ends of a stream repeat
        them."""
        keys = {text: (text.is_json, before, whole, text.value) for text, before, whole in self._surrounded(texts)}
        new = [text for text in texts if keys[text] not in self._known]
        if new:
            found = await self._asked([(keys[text][1], text) for text in new])
            self._known |= {keys[text]: edits for text, edits in zip(new, found, strict=True)}
            self._remembered += sum(len(text.value) + EACH for text in new)
        changes = {text: applied(text.value, self._known[keys[text]]) for text in texts}
        if self._remembered > REMEMBERED:
            self._known.clear()
            self._remembered = 0
        return changes

    def _surrounded(self, texts: Sequence[Text]) -> Iterator[tuple[Text, str, Hashable]]:
        """Give each text with the end of the one that it goes on from, and with where it stands in what is read as
        one."""
        whole = {
            number: (passage.value, begin)
            for passage in passages_of(texts)
            for number, (begin, _) in zip(passage.numbers, passage.parts(), strict=True)
            if len(passage.numbers) > 1
        }
        for number, text in enumerate(texts):
            before = self._ends.get(text.path, "")
            if text.path in GOING_ON:
                self._ends[text.path] = text.value[-self._window :]
            yield text, before, whole.get(number)

    async def _asked(self, seen: Sequence[tuple[str, Text]]) -> list[Sequence[Edit]]:
        """Ask about texts, each with the end of the one that it goes on from. Gives the edits of each."""
        shown, places = [], []
        for number, (before, text) in enumerate(seen, MAX_EVENT):
            if before:
                text = text._replace(list_at=number)
                shown.append(text._replace(value=before))
            places.append(len(shown))
            shown.append(text)
        edits = await self._review(shown)
        return [edits.get(place, ()) for place in places]

    async def _let_out_late(self) -> None:
        """Let out what was held for long: all but the word at the end, or that too if there is nothing else."""
        held = len(self._queue)
        await self._let_out(kept=self._window // 2, is_late=True)
        if len(self._queue) == held:
            await self._let_out()

    async def _let_out(self, kept: int = 0, *, is_late: bool = False) -> None:
        """Ask about what is held, and let out all but the last `kept` letters, or if it is late all but the word at the
        end."""
        held = [channel for channel in self._channels.values() if channel.held]
        if held:
            found = await self._asked([(channel.before, channel.seen) for channel in held])
            for channel, edits in zip(held, found, strict=True):
                channel.judge(edits, channel.unfinished(kept) if is_late else kept)
        gone: dict[Channel, int] = {}
        while self._queue and _is_free(self._queue[0], gone):
            event = self._queue.popleft()
            self._held -= len(event.raw)
            for text, channel in event.pieces:
                start = gone.get(channel, 0)
                gone[channel] = start + len(text.value)
                event.changes[text] = channel.piece(start, gone[channel])
            self._ready += event.written()
        for channel, count in gone.items():
            channel.let_out(count, self._window)

    async def _end_with(self, error: GatewayError) -> None:
        """End the stream with an error. What the provider has made until then is paid, and counts."""
        self._is_over = True
        self._queue.clear()
        await self.aclose()
        self._meter.fail(error)
        self._ready += self._meter.arrival.dialect.write_error_event(error, self._meter.arrival.request_id)

    async def aclose(self) -> None:
        """Close the body that this one is made of."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
            self._coming = None
        await self._body.aclose()


class WholeStream(ReplyBody):
    """A stream that has come as a whole."""

    __slots__ = ("_content",)

    is_broken = False

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __anext__(self) -> bytes:
        content, self._content = self._content, b""
        if not content:
            raise StopAsyncIteration
        return content

    async def aclose(self) -> None:
        """See ReplyBody.aclose()."""


def _is_free(event: Event, gone: Mapping[Channel, int]) -> bool:
    """Whether all of an event's text may go out, behind what goes before it."""
    needed = dict(gone)
    for text, channel in event.pieces:
        needed[channel] = needed.get(channel, 0) + len(text.value)
    return all(needed[channel] <= channel.free for _, channel in event.pieces)


def _strings(data: bytes) -> list[Text]:
    """List the strings of an event. Raises GuardrailFailed for one that cannot be read."""
    if data.strip() == b"[DONE]":
        return []
    try:
        strings = strings_in(data)
    except (ValueError, IndexError) as error:
        raise GuardrailFailed("An event of the answer is not the JSON that it should be.") from error
    if b"arguments.delta" in data and any(
        text.path == ("type",) and _IS_JSON.fullmatch(text.value) for text in strings
    ):
        return [text._replace(path=_PIECE_OF_JSON) if text.path == ("delta",) else text for text in strings]
    return strings


def is_piece(path: tuple[str, ...]) -> bool:
    """Whether a member of an event holds a piece of a text, in whatever format."""
    if path[:2] == ("choices", "delta"):
        return path[-1] not in FORMAL
    return path in PIECES or (path[:1] == ("delta",) and path[-1] not in FORMAL)
