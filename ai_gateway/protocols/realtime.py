"""OpenAI's Realtime API: a websocket in which both sides send events as JSON, and answers follow one another.

The events pass unchanged. What is read of them is what they say was used: of each answer in `response.done`, and of
each transcription of what the caller said, which another model does and which is paid for by that model's prices.

Two generations of the API are in use, and say these things by the same names: the first ("beta", asked for by the
header `OpenAI-Beta: realtime=v1` or the subprotocol `openai-beta.realtime-v1`), and the one that is generally
available. What a session is like stands in other members of it.

Source: "Realtime API with WebSocket", and the client and server events of the Realtime API, in OpenAI's API reference;
"Use the GPT Realtime API via WebSockets" of Microsoft Learn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from ai_gateway.calls import Message, below_version
from ai_gateway.errors import GatewayError, InvalidBody, Kind, UpgradeRequired
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.dialect import Dialect, Headers
from ai_gateway.protocols.openai_errors import error_object, write_error
from ai_gateway.protocols.passing import count, decoded, sound_of

PATH = "/v1/realtime"

WAYS_PAST = ("realtime/", "realtimeapi/", "chatkit/sessions", "auth_tokens")
"""How paths below the version begin where a provider's own keys for browsers are made (`client_secrets`, `sessions`,
those of ChatKit, Google's tokens for its Live API), and calls by WebRTC and telephone (`calls`): ways to the provider
that no gateway sees. The second is Azure's, in its older style."""

KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""How the subprotocol begins by which a browser sends its key: its websockets have no headers."""

SUBPROTOCOL = "realtime"

AUDIO_BYTES_PER_TOKEN = 2400
"""Of an answer: 50 ms of PCM with 16 bits and 24 kHz, the format that a session has unless it asks for another."""

SPEECH_MS_PER_TOKEN = 100
"""Of what a caller says."""

_BASE64 = 4 / 3

MOST_ANSWERS = 1000
"""Answers of a session at once that are told apart, far more than a provider has."""


def write_error_event(error: GatewayError, request_id: str) -> bytes:
    """Write an error as the event by which the API tells of one."""
    members = {"type": "error", "event_id": f"event_{request_id}", "error": {**error_object(error), "event_id": None}}
    return msgspec.json.encode(members)


def _error_headers(error: GatewayError) -> Headers:
    return [(b"upgrade", b"websocket")] if isinstance(error, UpgradeRequired) else []


DIALECT = Dialect(
    name="openai_realtime",
    family="openai",
    is_generation=False,
    is_session=True,
    write_error=write_error,
    write_error_event=write_error_event,
    error_headers=_error_headers,
    statuses={Kind.QUOTA: 429},
)


def leads_past(path: str) -> bool:
    """Whether a path leads to the provider past the gateway. Some servers heed no case in paths."""
    return below_version(path.lower()).startswith(WAYS_PAST)


class Came(NamedTuple):
    """What came of an answer: bytes of text, and of sound; and for how many milliseconds its caller had spoken."""

    text: int = 0
    audio: int = 0
    speech: int = 0


class Report(NamedTuple):
    """What an event says was used. `model` is the one that transcribed; of an answer it is "", for it is the
    session's. `untold` is what came of an answer whose end does not say what it used."""

    tokens: TokenUsage
    units: dict[str, float]
    model: str
    id: str
    is_answer: bool
    untold: Came = Came()


class _Event(msgspec.Struct):
    """The members of a server's event that matter."""

    type: str = ""
    delta: Any = None
    response_id: Any = None
    response: Any = None
    session: Any = None
    usage: Any = None
    audio_start_ms: Any = None
    audio_end_ms: Any = None


_event = msgspec.json.Decoder(_Event)

_AUDIO = re.compile(r"response\.(?:output_)?audio\.delta")
_TEXT = re.compile(r"response\.(?:output_text|text|(?:output_)?audio_transcript|function_call_arguments)\.delta")
_DONE = b'"response.done"'
_TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
_DESCRIBED = ("session.created", "session.updated", "transcription_session.created", "transcription_session.updated")


class SessionReader:
    """Reads what a provider says in one session. Nothing fails here: what cannot be read was not said."""

    def __init__(self) -> None:
        self._answers: dict[str, Came] = {}
        """What came of the answers under way, by their ids. There may be several, beside the conversation's own."""
        self.transcriber = ""
        """The model that transcribes what the caller says, or did so last: its reports may come late."""
        self.speech = 0
        """For how many milliseconds the caller has spoken since the last answer ended, if the provider listens for
        that."""
        self._spoke_at = 0

    @property
    def is_answering(self) -> bool:
        """Whether an answer is under way."""
        return bool(self._answers)

    @property
    def text(self) -> int:
        """How many bytes of text came of the answers under way."""
        return sum(came.text for came in self._answers.values())

    @property
    def audio(self) -> int:
        """How many bytes of sound came of the answers under way."""
        return sum(came.audio for came in self._answers.values())

    def read(self, data: bytes) -> Report | None:
        """Read an event. Gives what it says was used, if it is one that says it."""
        event = decoded(_event, data)
        if event is None:  # An end that cannot be read is an end all the same.
            return self._read_answer(None) if _DONE in data else None
        if event.type.endswith(".delta"):
            self._read_delta(event)
        elif event.type == "response.created":
            self._begin(event.response)
        elif event.type == "response.done":
            return self._read_answer(event.response)
        elif event.type == _TRANSCRIBED:
            return read_transcription(event.usage, self.transcriber)
        elif event.type == "input_audio_buffer.speech_started":
            self._spoke_at = count({"ms": event.audio_start_ms}, "ms")
        elif event.type == "input_audio_buffer.speech_stopped":
            self.speech += max(0, count({"ms": event.audio_end_ms}, "ms") - self._spoke_at)
        elif event.type in _DESCRIBED:
            self.transcriber = transcriber_of(event.session) or self.transcriber
        return None

    def _begin(self, response: Any) -> None:
        if len(self._answers) < MOST_ANSWERS:
            self._answers.setdefault(_id_of(response), Came())

    def _read_delta(self, event: _Event) -> None:
        if not isinstance(event.delta, str):
            return
        if _AUDIO.fullmatch(event.type):
            self._add(event.response_id, 0, round(len(event.delta) / _BASE64))
        elif _TEXT.fullmatch(event.type):
            self._add(event.response_id, len(event.delta), 0)

    def _add(self, id: Any, text: int, audio: int) -> None:
        id = self._meant(id)
        if id is not None:
            came = self._answers[id]
            self._answers[id] = Came(came.text + text, came.audio + audio)

    def _meant(self, id: Any) -> str | None:
        """Tell which answer under way an event is about: the newest, if it does not say. None: there is none."""
        return id if isinstance(id, str) and id in self._answers else next(reversed(self._answers), None)

    def _read_answer(self, response: Any) -> Report:
        id = _id_of(response)
        meant = self._meant(id)
        came = self._answers.pop(meant) if meant is not None else Came()
        came, self.speech = came._replace(speech=self.speech), 0
        usage = response.get("usage") if isinstance(response, dict) else None
        tokens = read_usage(usage)
        untold = Came() if tokens.total_input or tokens.total_output else came
        return Report(tokens, {}, "", id, is_answer=True, untold=untold)


def _id_of(response: Any) -> str:
    id = response.get("id") if isinstance(response, dict) else None
    return id if isinstance(id, str) else ""


def is_sound(message: Message) -> bool:
    """Whether an event of a caller's is a piece of what it says, by its type, which stands first or last."""
    if isinstance(message, str):
        return _APPEND in message[:_NEAR] or _APPEND in message[-_NEAR:]
    return _APPEND.encode() in message[:_NEAR] or _APPEND.encode() in message[-_NEAR:]


_APPEND = '"input_audio_buffer.append"'
_NEAR = 120


def read_usage(usage: object) -> TokenUsage:
    """Read what an answer used. What came from the cache is told by medium, and taken from that medium's count; where
    it is not told, text is taken to be cached first, for instructions come before speech."""
    if not isinstance(usage, dict):
        return TokenUsage()
    given, cached, written = usage.get("input_token_details"), 0, usage.get("output_token_details")
    everything, cached = count(usage, "input_tokens"), count(given, "cached_tokens")
    audio, image, text = count(given, "audio_tokens"), count(given, "image_tokens"), count(given, "text_tokens")
    media = given.get("cached_tokens_details") if isinstance(given, dict) else None
    cached_audio, cached_image = count(media, "audio_tokens"), count(media, "image_tokens")
    if not isinstance(media, dict):
        cached_audio = min(audio, max(0, cached - text))
    audio, image = max(0, audio - cached_audio), max(0, image - cached_image)
    spoken, thought = count(written, "audio_tokens"), count(written, "reasoning_tokens")
    return TokenUsage(
        input=max(0, everything - cached - audio - image),
        cache_read=cached,
        input_audio=audio,
        input_image=image,
        output=max(0, count(usage, "output_tokens") - spoken - thought),
        output_audio=spoken,
        reasoning=thought,
    )


def read_transcription(usage: object, model: str) -> Report | None:
    """Read what a transcription used: tokens or seconds. None if it does not say."""
    if not isinstance(usage, dict):
        return None
    heard = count(usage.get("input_token_details"), "audio_tokens")
    tokens = TokenUsage(
        input=max(0, count(usage, "input_tokens") - heard), input_audio=heard, output=count(usage, "output_tokens")
    )
    return Report(tokens, sound_of(usage.get("seconds")), model, "", is_answer=False)


def transcriber_of(session: object) -> str | None:
    """Name the model that a session has transcribe, if it says: in either generation's place."""
    if not isinstance(session, dict):
        return None
    audio = session.get("audio")
    heard = audio.get("input") if isinstance(audio, dict) else None
    for place in (heard.get("transcription") if isinstance(heard, dict) else None, session.get(_FORMER_PLACE)):
        model = place.get("model") if isinstance(place, dict) else None
        if isinstance(model, str):
            return model
    return None


_FORMER_PLACE = "input_audio_transcription"


DECIDING = frozenset(("session", "model", "audio", "input", "transcription", _FORMER_PLACE))
"""Members of an event that say, or lead to, which model a session has."""

MODELESS = frozenset(("tools", "tool_choice", "metadata"))
"""Members of a session that are the caller's own, whatever they are called within."""


class _Members(msgspec.Struct):
    """Any object."""


_members = msgspec.json.Decoder(_Members)


def models_asked_for(data: bytes) -> list[str]:
    """List the models that an event of a caller wants for its session, wherever in it. Raises InvalidBody for an event
    that a provider could read otherwise: one that is no JSON object, or says twice what decides."""
    try:
        if not data.isascii():
            data.decode()
        _members.decode(data)
        if b'session"' not in data.lower() and b"\\u00" not in data:
            return []
        event = json.loads(data, object_pairs_hook=_unambiguous)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidBody(f"The event cannot be read, and this key is for some models only: {error}") from None
    return list(_models_in(event.get("session")))


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members. What decides does so in capitals too, and once."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        lowered = name.lower()
        if lowered in DECIDING:
            if lowered in members:
                raise ValueError(f"it has {lowered!r} twice")
            name = lowered
        members[name] = value
    return members


def _models_in(session: Any) -> Iterator[str]:
    waiting = [session]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            model = value.get("model")
            if isinstance(model, str):
                yield model
            elif model is not None:
                raise InvalidBody("The event names a model that is no text.", param="session")
            waiting += [each for name, each in value.items() if name not in MODELESS]
        elif isinstance(value, list):
            waiting += value
