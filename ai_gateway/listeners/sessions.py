"""Hearing a session: every event that a provider sends is read, for each of a voice's many is small."""

from __future__ import annotations

from math import ceil

from ai_gateway import estimates
from ai_gateway.calls import Message
from ai_gateway.consumption import Consumption, Listener
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.realtime import (
    AUDIO_BYTES_PER_TOKEN,
    SPEECH_MS_PER_TOKEN,
    Came,
    Report,
    SessionReader,
    is_sound,
)


class SessionListener(Listener):
    """Hears one session. `consumption` tells of the answer that is under way; `report` is what the last event said."""

    __slots__ = ("has_content", "reader", "report", "written")

    def __init__(self) -> None:
        self.reader = SessionReader()
        self.report: Report | None = None
        self.has_content = False
        self.written = 0
        """About how many tokens the caller has written since the last answer ended."""

    def hear_caller(self, message: Message) -> None:
        """Take an event of the caller's that was sent on."""
        if not is_sound(message):
            data = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message
            self.written += estimates.likely_input_tokens(data)

    def hear(self, data: bytes) -> bytes:
        """See Listener.hear(). Takes the text of one event."""
        report = self.reader.read(data)
        if report is not None and report.is_answer:
            if any(report.untold):
                report = report._replace(tokens=estimated(report.untold, self.written))
            self.written = 0
        self.report = report
        self.has_content = self.has_content or self.reader.text > 0 or self.reader.audio > 0
        return data

    def tokens_so_far(self) -> int:
        """See Listener.tokens_so_far()."""
        tokens = estimated(self._came())
        return tokens.output + tokens.output_audio

    def consumption(self) -> Consumption | None:
        """See Listener.consumption(). Of an answer that ended before it was done nobody says what it was made of: at
        least of what its caller has said since the one before."""
        return Consumption(tokens=estimated(self._came(), self.written)) if self.reader.is_answering else None

    def _came(self) -> Came:
        return Came(self.reader.text, self.reader.audio, self.reader.speech)


def estimated(came: Came, written: int = 0) -> TokenUsage:
    """Estimate what an answer used, by what came of it, and by the tokens that its caller has written."""
    return TokenUsage(
        input=written,
        input_audio=ceil(came.speech / SPEECH_MS_PER_TOKEN),
        output=estimates.text_tokens(came.text),
        output_audio=ceil(came.audio / AUDIO_BYTES_PER_TOKEN),
        is_estimated=True,
    )
