"""Hearing a session: every event that a provider sends is read, for each of a voice's many is small."""

from __future__ import annotations

from math import ceil

from ai_gateway import estimates
from ai_gateway.consumption import Consumption, Listener
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.realtime import AUDIO_BYTES_PER_TOKEN, Report, SessionReader


class SessionListener(Listener):
    """Hears one session. `consumption` tells of the answer that is under way; `report` is what the last event said."""

    __slots__ = ("has_content", "reader", "report")

    def __init__(self) -> None:
        self.reader = SessionReader()
        self.report: Report | None = None
        self.has_content = False

    def hear(self, data: bytes) -> bytes:
        """See Listener.hear(). Takes the text of one event."""
        report = self.reader.read(data)
        if report is not None and any(report.untold):
            report = report._replace(tokens=estimated(*report.untold))
        self.report = report
        self.has_content = self.has_content or self.reader.text > 0 or self.reader.audio > 0
        return data

    def tokens_so_far(self) -> int:
        """See Listener.tokens_so_far()."""
        tokens = estimated(self.reader.text, self.reader.audio)
        return tokens.output + tokens.output_audio

    def consumption(self) -> Consumption | None:
        """See Listener.consumption(). Of an answer that ended before it was done nobody says what it heard."""
        if not self.reader.is_answering:
            return None
        return Consumption(tokens=estimated(self.reader.text, self.reader.audio))


def estimated(text: int, audio: int) -> TokenUsage:
    """Estimate what an answer used of which so many bytes of text and of sound came."""
    return TokenUsage(
        output=estimates.text_tokens(text), output_audio=ceil(audio / AUDIO_BYTES_PER_TOKEN), is_estimated=True
    )
