"""What a call said and what it was answered, collected while the bytes pass, for a site that wants to read it later.

Nothing of this is there unless `BODY_LOGGING` is (`recording_policy.py`). What is kept is what the caller sent, and
what it got: in its own format, up to `max_bytes` of each. A caller that hangs up has got what passed until then.
Nothing is read, encrypted or written here: that is the recorder's (`recorder.py`), in a thread of its own.
"""

from __future__ import annotations

import msgspec

from ai_gateway import recorder
from ai_gateway.calls import BodyAround, Reply, ReplyBody
from ai_gateway.meter import Meter
from ai_gateway.recorder import Body, Recording
from ai_gateway.recording_policy import RecordingPolicy
from ai_gateway.registry import Snapshot


def is_wanted(meter: Meter, snapshot: Snapshot) -> bool:
    """Whether a call is to be recorded. One that is not written down is not."""
    policy, caller, rule = snapshot.recording, meter.caller, snapshot.rules.get(meter.route)
    if policy is None or meter.is_closed or not (meter.attempts or caller.is_authenticated):
        return False
    is_named = caller.records_bodies or (rule is not None and rule.records_bodies)
    return (is_named or policy.names(caller.key_name, meter.route)) and policy.draws(meter.id)


def record(reply: Reply, meter: Meter, policy: RecordingPolicy) -> Reply:
    """Record a call with its reply: a whole one now, one that is sent while it is made when it ends."""
    body = reply.body
    if isinstance(body, ReplyBody):
        return msgspec.structs.replace(reply, body=Recorded(body, reply, meter, policy))
    keep(meter, policy, reply, Body(body[: policy.max_bytes], len(body)))
    return reply


def keep(meter: Meter, policy: RecordingPolicy, reply: Reply | None = None, answer: Body | None = None) -> None:
    """Hand a call over to the recorder. Without a reply its caller left before there was one."""
    call = meter.call
    if recorder.recorder is None or call is None:
        return  # Its body was not even read.
    question = call.body if isinstance(call.body, bytes) else None
    recorder.recorder.put(
        Recording(
            id=meter.id,
            at=recorder.now(),
            dialect=call.dialect.name,
            path=call.path,
            is_stream=call.stream,
            key_id=meter.caller.key_id,
            user_id=meter.caller.user_id,
            request_headers=meter.arrival.headers,
            request=None if question is None else Body(question[: policy.max_bytes], len(question)),
            status=0 if reply is None else reply.status,
            response_headers=[] if reply is None else reply.headers,
            response=answer,
            keeps_headers=policy.headers,
        )
    )


class Recorded(BodyAround):
    """A reply's body that keeps a copy of what passes, as much of it as is wanted."""

    __slots__ = ("_is_kept", "_meter", "_passed", "_policy", "_reply", "_total")

    def __init__(self, body: ReplyBody, reply: Reply, meter: Meter, policy: RecordingPolicy) -> None:
        super().__init__(body)
        self._reply = reply
        self._meter = meter
        self._policy = policy
        self._passed = bytearray()
        self._total = 0
        self._is_kept = False

    async def __anext__(self) -> bytes:
        chunk = await self._body.__anext__()
        self._total += len(chunk)
        room = self._policy.max_bytes - len(self._passed)
        if room > 0:
            self._passed += chunk[:room]
        return chunk

    async def aclose(self) -> None:
        """Close the body, and keep what passed."""
        try:
            await self._body.aclose()
        finally:
            if not self._is_kept:
                self._is_kept = True
                keep(self._meter, self._policy, self._reply, Body(bytes(self._passed), self._total))
