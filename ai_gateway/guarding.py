"""Asks the guardrails of a call, and does what they say: before it is sent, and when it is answered.

Several are asked one after the other, and each sees what those before it have left: a moderation that stands behind a
redaction sends no secret to anybody. A guardrail that fails blocks the call, unless the settings let it pass.

What a guardrail did is in the trail of the call, never what it found. A whole answer is read before any of it goes
out. A stream is held back for a little (`guarded_stream.py`). Audio, images and files pass; anything else that cannot
be read does not.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from ai_gateway import accounting, attempts, beside, live, logprobs, notices
from ai_gateway.calls import Call, Caller, Reply, ReplyBody, Target, below_version
from ai_gateway.configuration import PLAIN
from ai_gateway.edits import Edit, applied, followed_by, in_order
from ai_gateway.errors import GatewayError, GuardrailBlocked, GuardrailFailed, UpstreamClosed, UpstreamProtocolError
from ai_gateway.escapes import Reading
from ai_gateway.guarded_stream import GuardedStream, WholeStream
from ai_gateway.guardrails.base import ANSWER, REQUEST, Block, Change, Verdict, View
from ai_gateway.guardrails.register import Guard
from ai_gateway.meter import Meter
from ai_gateway.protocols import DIALECTS
from ai_gateway.protocols.gemini.system_parameters import forms_asked_for
from ai_gateway.registry import Snapshot
from ai_gateway.texts import Text, rewritten, texts_in
from ai_gateway.transports import Transport

logger = logging.getLogger("ai_gateway")

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of a whole answer that are held to be read."""

NO_JSON = "What is to be looked into is not the JSON that it should be."

MEDIA = (b"audio/", b"image/", b"video/")
"""How the kinds of answers begin that are no text."""

SPEAKING = "audio/speech"
"""The path of an endpoint that answers with nothing but sound, by whatever name."""

BINARY_STREAM = "/invoke-with-response-stream"
"""How a path of Amazon's ends that answers with a stream of no events, whatever the model's format is."""

FORMS = frozenset(("json", "sse", "media"))
"""Forms of an answer that Google's servers can be asked for. What is fetched as a medium is a file."""

GATEWAY = Caller(key_name="")
"""Who calls when a guardrail asks a provider: nobody whose limits would count it."""


class Guarding:
    """The guardrails of one call, and what they keep."""

    def __init__(self, meter: Meter, snapshot: Snapshot, transport: Transport) -> None:
        self._meter = meter
        self._snapshot = snapshot
        self._transport = transport
        self._guards = guards_of(meter, snapshot)
        self._memories: dict[str, dict[str, Any]] = {}

    # Before the call is sent.

    async def check_request(self, call: Call) -> Call:
        """Ask about the request. Gives the call as it may go on. Raises GuardrailBlocked and GuardrailFailed."""
        self._check_readable(call)
        if isinstance(call.body, bytes):
            return await self._check_document(call, call.body) if call.body else call
        for guard in self._asked(REQUEST):
            if guard.blocks_uploads:
                self._block(guard, REQUEST, "A body that is no JSON cannot be looked into.")
        await self.review(REQUEST, [], is_upload=True)
        return call

    async def _check_document(self, call: Call, body: bytes) -> Call:
        reviewed = await self._reviewed(REQUEST, body)
        if reviewed != body:
            call = self._meter.call = msgspec.structs.replace(call, body=reviewed)
            self._meter.made_facts = None
        return call

    def _check_readable(self, call: Call) -> None:
        """Block a call whose answer could not be looked into, or would repeat what is taken out of it."""
        guards = self._asked(ANSWER)
        if not guards:
            return
        reason = _why_unreadable(call)
        if reason:
            self._block_by(guards, reason)

    def _block_by(self, guards: Sequence[Guard], reason: str) -> None:
        for guard in guards:
            self._block(guard, ANSWER, reason)

    # When it is answered.

    async def guarded(self, reply: Reply) -> Reply:
        """Make the reply that the caller may have. Raises GuardrailBlocked and GuardrailFailed."""
        guards = self._asked(ANSWER)
        if not guards or reply.status >= 300 or not reply.body:
            return reply
        fields = dict(reply.headers)
        # What does not say what it is, is looked into as what it should be.
        kind = fields.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if b"json" not in kind and not kind.startswith(b"text/"):
            if self._may_be_no_text(kind):
                return reply
            return await self._unreadable(reply, guards, "An answer of this kind cannot be looked into.")
        if b"content-encoding" in fields:  # Nobody is asked for one, but some send it all the same.
            return await self._unreadable(reply, guards, "An answer that is compressed cannot be looked into.")
        if kind == b"text/event-stream":
            return self._guarded_stream(reply, guards)
        try:
            body = await _whole(reply)
            changed = await self._reviewed_answer(body) if b"json" in kind else await self._reviewed_text(body)
        finally:
            await reply.aclose()
        headers = [header for header in reply.headers if header[0] != b"content-length"]
        headers.append((b"content-length", b"%d" % len(changed)))
        return msgspec.structs.replace(reply, headers=headers, body=changed)

    def _may_be_no_text(self, kind: bytes) -> bool:
        """Whether an answer of this kind holds nothing to be looked into: media, or a file that is fetched."""
        call = self._meter.call
        assert call is not None
        if kind.startswith(MEDIA) or call.method == "GET":
            return True
        return below_version(call.path) == SPEAKING

    async def _unreadable(self, reply: Reply, guards: Sequence[Guard], reason: str) -> Reply:
        """Block an answer that cannot be looked into."""
        try:
            self._block_by(guards, reason)
        except GuardrailBlocked:
            await reply.aclose()
            raise
        return reply

    def _guarded_stream(self, reply: Reply, guards: Sequence[Guard]) -> Reply:
        window, delay = max(guard.window for guard in guards), min(guard.delay for guard in guards)
        headers = [header for header in reply.headers if header[0] != b"content-length"]
        body = reply.body if isinstance(reply.body, ReplyBody) else WholeStream(reply.body)
        return msgspec.structs.replace(
            reply, headers=headers, body=GuardedStream(body, self.review_answer, self._meter, window, delay)
        )

    async def _reviewed_answer(self, body: bytes) -> bytes:
        """Give an answer as the guardrails want it. Unlike a request's, its JSON has not been read by anybody yet: what
        is none, or not in UTF-8, has text that nobody would see."""
        try:
            json.loads(body.decode())
        except (ValueError, RecursionError) as error:
            raise GuardrailFailed(NO_JSON) from error
        return await self._reviewed(ANSWER, body)

    async def _reviewed(self, stage: str, body: bytes) -> bytes:
        """Give a JSON document as the guardrails want it."""
        try:
            texts = await beside.done(len(body), texts_in, body)
        except (ValueError, IndexError, RecursionError) as error:
            raise GuardrailFailed(NO_JSON) from error
        edits = await self.review(stage, texts, body)
        return _changed(body, texts, edits) if edits else body

    async def _reviewed_text(self, body: bytes) -> bytes:
        text = body.decode("utf-8", "replace")
        edits = await self.review(ANSWER, [Text(text, ("text",))])
        return applied(text, edits[0]).encode() if edits else body

    async def review_answer(self, texts: Sequence[Text]) -> Mapping[int, Sequence[Edit]]:
        """Ask about texts of a stream. Raises GuardrailBlocked and GuardrailFailed."""
        return await self.review(ANSWER, texts)

    # Asking.

    async def review(
        self, stage: str, texts: Sequence[Text], body: bytes = b"", *, is_upload: bool = False
    ) -> dict[int, list[Edit]]:
        """Ask one guardrail after the other; give what is to be changed, by the number of the text."""
        edits: dict[int, list[Edit]] = {}
        read = await beside.done(len(body), _readings, texts)
        current, document, is_old = list(read), body, False
        for guard in self._asked(stage):
            if is_old:  # Somebody wants to see it.
                document, is_old = _changed(body, texts, _written(texts, edits)), False
            verdict = await self._verdict(guard, self._view(guard, stage, current, document, is_upload=is_upload))
            if isinstance(verdict, Block):
                self._block(guard, stage, verdict.reason)
            elif isinstance(verdict, Change):
                self._note(guard, stage, "monitored" if guard.is_monitor else "changed", verdict.reason)
                if guard.is_monitor:
                    continue
                for number, more in verdict.edits.items():
                    text = read[number]
                    edits[number] = followed_by(text.value, edits.get(number, ()), in_order(more))
                    current[number] = text._replace(value=applied(text.value, edits[number]))
                is_old = bool(body)
        return _written(texts, edits)

    def _asked(self, stage: str) -> list[Guard]:
        return [guard for guard in self._guards if stage in guard.stages]

    def _view(self, guard: Guard, stage: str, texts: Sequence[Text], body: bytes, *, is_upload: bool) -> View:
        call = self._meter.call
        assert call is not None
        return View(
            stage=stage,
            texts=tuple(texts),
            path=call.path,
            model=call.model or "",
            key_name=self._meter.caller.key_name or "",
            body=body,
            is_upload=is_upload,
            memory=self._memories.setdefault(guard.name, {}),
            ask=self._ask,
        )

    async def _verdict(self, guard: Guard, view: View) -> Verdict:
        """Ask a guardrail. One that fails blocks the call, or lets it pass, as the settings say."""
        try:
            async with asyncio.timeout(guard.timeout):
                return _checked(await guard.guardrail.review(view), view)
        except Exception as error:
            logger.exception("%s: the guardrail %r failed", self._meter.arrival.request_id, guard.name)
            self._note(guard, view.stage, "failed", type(error).__name__)
            if guard.passes_failures or guard.is_monitor:
                return None
            raise GuardrailFailed(f"The guardrail {guard.name!r} failed, and nothing passes without it.") from error

    def _block(self, guard: Guard, stage: str, reason: str) -> None:
        _block(self._meter, guard, stage, reason)

    def _note(self, guard: Guard, stage: str, action: str, reason: str) -> None:
        _note(self._meter, guard, stage, action, reason)

    async def _ask(self, provider: str, path: str, body: Mapping[str, Any]) -> Any:
        """Ask a provider for a guardrail, by the way of all calls. Raises GatewayError."""
        content, model = msgspec.json.encode(body), body.get("model")
        described = [(b"content-type", b"application/json")]
        call = self._meter.call
        assert call is not None
        asked = msgspec.structs.replace(
            call,
            method="POST",
            path=path,
            query=b"",
            headers=described,
            fields=dict(described),
            body=content,
            dialect=DIALECTS["openai"],
            model=model,
            stream=False,
            models=None,
        )
        arrival = msgspec.structs.replace(self._meter.arrival, path=path, fields={}, dialect=DIALECTS["openai"])
        meter = Meter(arrival, GATEWAY, call=asked, made_trace=self._meter.trace)
        live.begin(meter)
        try:
            reply = await attempts.ask(meter, [Target(provider, model)], self._snapshot, self._transport)
            reply = await accounting.account(reply, meter, self._snapshot)
            try:
                answer = await _whole(reply)
            finally:
                await reply.aclose()  # Also if the guardrail's time is over.
        except GatewayError as error:
            meter.fail(error)
            meter.status = error.status
            raise
        finally:
            accounting.finish(meter, self._snapshot)
        if reply.status != 200:
            raise UpstreamProtocolError(f"The provider {provider!r} answered a guardrail with {reply.status}.")
        return msgspec.json.decode(answer)


def check_session(meter: Meter, snapshot: Snapshot) -> None:
    """Block a session over a websocket, which nobody looks into. Raises GuardrailBlocked."""
    for guard in guards_of(meter, snapshot):
        _block(meter, guard, REQUEST, "What is said in a session cannot be looked into.")


def _block(meter: Meter, guard: Guard, stage: str, reason: str) -> None:
    _note(meter, guard, stage, "monitored" if guard.is_monitor else "blocked", reason)
    if not guard.is_monitor:
        raise GuardrailBlocked(f"The guardrail {guard.name!r} does not let this pass. {reason}")


def _note(meter: Meter, guard: Guard, stage: str, action: str, reason: str) -> None:
    """Write into the trail what a guardrail did, the same thing once: a stream is looked at many times."""
    noted = {"guardrail": guard.name, "stage": stage, "action": action, "error": "guardrail", "why": reason}
    if noted not in meter.trail:
        meter.trail.append(noted)
        logger.info("%s: guardrail %s: %s %s: %s", meter.arrival.request_id, guard.name, stage, action, reason)
        notices.tell_of_guardrail(noted, meter.arrival.request_id, meter.caller)


def guards_of(meter: Meter, snapshot: Snapshot) -> list[Guard]:
    """List the guardrails that a call has to pass: the site's, its route's and its key's, in this order."""
    of_route = snapshot.rules.get(meter.route, PLAIN).guardrails
    return snapshot.guards.of(*of_route, *meter.caller.guardrails)


def _why_unreadable(call: Call) -> str:
    """Say why nobody could look into the answer of a call; "" if one can. Raises GuardrailFailed for no JSON."""
    if call.path.endswith(BINARY_STREAM) or (call.stream and call.dialect.name == "bedrock_converse"):
        return "Streams of this format cannot be looked into."
    forms = forms_asked_for(call.query) if call.query else set()
    if not forms <= FORMS:
        return "An answer in a form that is no JSON (alt) cannot be looked into."
    if call.stream and call.dialect.name == "gemini" and forms != {"sse"}:
        return "A stream can be looked into if it is one of server-sent events: ask for it with alt=sse."
    if _asks_for_logprobs(call):
        return "Log probabilities repeat the answer, token by token."
    return ""


def _asks_for_logprobs(call: Call) -> bool:
    if b"logprobs" in unquote_to_bytes(call.query).lower():
        return True
    try:
        return isinstance(call.body, bytes) and logprobs.are_asked_for(call.body)
    except (ValueError, RecursionError) as error:
        raise GuardrailFailed(NO_JSON) from error


async def _whole(reply: Reply) -> bytes:
    """Read a reply to its end. Raises GuardrailFailed for one that is too long, UpstreamClosed for one that breaks."""
    body = reply.body
    if isinstance(body, bytes):
        return body
    parts, total = [], 0
    async for part in body:
        parts.append(part)
        total += len(part)
        if total > MAX_ANSWER:
            raise GuardrailFailed(f"The answer is longer than the {MAX_ANSWER} bytes that can be looked into.")
    await body.aclose()
    if body.is_broken:
        raise UpstreamClosed("The provider hung up before its answer was whole.")
    return b"".join(parts)


def _readings(texts: Sequence[Text]) -> list[Text]:
    """Give texts as guardrails see them: the escapes of those that are JSON are undone."""
    readings = ((text, text.reading()) for text in texts)
    return [text if reading is None else text._replace(value=reading.value) for text, reading in readings]


def _written(texts: Sequence[Text], edits: Mapping[int, list[Edit]]) -> dict[int, list[Edit]]:
    """Make edits of what guardrails see to edits of what is written."""
    return {
        number: Reading(texts[number].value).written(each) if texts[number].is_json else each
        for number, each in edits.items()
    }


def _changed(body: bytes, texts: Sequence[Text], edits: Mapping[int, Sequence[Edit]]) -> bytes:
    return rewritten(body, {texts[number]: applied(texts[number].value, each) for number, each in edits.items()})


def _checked(verdict: Any, view: View) -> Verdict:
    """Give a verdict if it is one. Raises TypeError if not, ValueError for an edit of what is not there."""
    if verdict is not None and not isinstance(verdict, Block | Change):
        raise TypeError(f"a guardrail gives None, Block or Change, and not {type(verdict).__name__}")
    if isinstance(verdict, Change):
        for number, edits in verdict.edits.items():
            length = len(view.texts[number].value)
            if not all(0 <= start <= end <= length for start, end, _ in edits):
                raise ValueError("an edit is of letters that are not there")
    return verdict
