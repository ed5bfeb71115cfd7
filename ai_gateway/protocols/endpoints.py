"""What the answers of other endpoints tell: embeddings, images, sound, ranking. By the path that was asked.

Source: OpenAI's API reference (embeddings, images, audio, completions), Cohere's (`meta.billed_units`), Mistral's
(`usage_info` of OCR), Jina's and Voyage's (`usage.total_tokens`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from ai_gateway.calls import below_version
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.gemini.usage import read_usage as read_metadata
from ai_gateway.protocols.openai_chat.passing import ChatPassing
from ai_gateway.protocols.openai_responses.passing import ResponsePassing
from ai_gateway.protocols.passing import Passing, believed, count, decoded, sound_of

COUNTING = ("messages/count_tokens", "responses/input_tokens")
KEEPING = (
    *("files", "uploads", "batches", "messages/batches", "fine_tuning", "vector_stores", "cachedContents"),
    *("assistants", "skills"),
)
UNPAID = (*COUNTING, *KEEPING, "moderations", "models")
"""Paths, with all below them, that use nothing: they count, keep or judge."""

DEFERRED = ("batches", "messages/batches", "fine_tuning/jobs", "fine-tuning/jobs")
"""Paths below those where work is ordered that is done later. What it uses is in no answer that passes."""

UNPAID_BELOW = re.compile(r"responses/[^/]+(?:/(?:cancel|input_items))?")
"""What is asked of a response that is there: it was paid for when it was made."""


class _Answer(msgspec.Struct):
    """The members of all of them."""

    id: Any = None
    model: Any = None
    usage: Any = None
    usageMetadata: Any = None
    usage_info: Any = None
    meta: Any = None
    duration: Any = None
    data: list[msgspec.Raw] | None = None


class _Asked(msgspec.Struct):
    input: Any = None
    n: Any = None


_answer = msgspec.json.Decoder(_Answer)
_asked = msgspec.json.Decoder(_Asked)


class EndpointPassing(Passing):
    """Reads the answer of an endpoint. Made with the body of the request: some charge for what was asked."""

    __slots__ = ("asked",)

    marker = b'"usage"'
    can_be_estimated = False

    def __init__(self, asked: bytes = b"") -> None:
        super().__init__()
        self.asked = (decoded(_asked, asked) if asked else None) or _Asked()

    def event(self, data: bytes) -> None:
        """See Passing.event()."""
        answer = decoded(_answer, data)
        if answer is not None and answer.usage:
            self.read(answer)

    def answer(self, body: bytes) -> None:
        """See Passing.answer()."""
        answer = decoded(_answer, body)
        if answer is not None:
            self.name(answer.id, answer.model)
            self.read(answer)

    def read(self, answer: _Answer) -> None:
        """Read what was used. Here: tokens of the prompt and of the answer, by whichever names."""
        usage = answer.usage
        given = count(usage, "prompt_tokens") or count(usage, "input_tokens")
        written = count(usage, "completion_tokens") or count(usage, "output_tokens")
        if isinstance(usage, Mapping) and not given and not written:
            given = count(usage, "total_tokens")
        if usage:
            self.report(TokenUsage(input=given, output=written))

    def report(self, usage: TokenUsage) -> None:
        """Note what the provider reported."""
        self.usage, self.is_final = believed(usage), True


class EmbeddingPassing(EndpointPassing):
    """Embeddings. Google's answers say nothing, or what its others say; Cohere's have a bill."""

    __slots__ = ()

    can_be_estimated = True

    def read(self, answer: _Answer) -> None:
        """See EndpointPassing.read()."""
        billed = answer.meta.get("billed_units") if isinstance(answer.meta, dict) else None
        if isinstance(answer.usageMetadata, dict):
            usage = read_metadata(answer.usageMetadata)
            if usage is not None:
                self.report(usage)
        elif isinstance(billed, dict):
            self.report(TokenUsage(input=count(billed, "input_tokens"), input_image=count(billed, "image_tokens")))
        else:
            super().read(answer)


class ImagePassing(EndpointPassing):
    """Images: tokens of text and of images, or the number of images, of models that are paid by the piece."""

    __slots__ = ()

    def read(self, answer: _Answer) -> None:
        """See EndpointPassing.read()."""
        usage = answer.usage
        if isinstance(usage, dict) and usage:
            given, drawn = count(usage, "input_tokens"), count(usage, "output_tokens")
            seen = min(count(usage.get("input_tokens_details"), "image_tokens"), given)
            said = min(count(usage.get("output_tokens_details"), "text_tokens"), drawn)
            self.report(TokenUsage(input=given - seen, input_image=seen, output=said, output_image=drawn - said))
        else:
            asked = self.asked.n if isinstance(self.asked.n, int) else 1
            self.units = {"images": len(answer.data) if answer.data is not None else max(1, asked)}


class HearingPassing(EndpointPassing):
    """Transcriptions and translations of sound: tokens, or seconds."""

    __slots__ = ()

    def read(self, answer: _Answer) -> None:
        """See EndpointPassing.read()."""
        usage = answer.usage if isinstance(answer.usage, dict) else {}
        given, written = count(usage, "input_tokens"), count(usage, "output_tokens")
        if given or written:
            heard = min(count(usage.get("input_token_details"), "audio_tokens"), given)
            self.report(TokenUsage(input=given - heard, input_audio=heard, output=written))
            return
        self.units = sound_of(usage.get("seconds", answer.duration))  # Plain text says nothing of the sound it was.


class SpeakingPassing(EndpointPassing):
    """Speech: characters of the text that was asked for, or tokens, which a stream of events tells."""

    __slots__ = ()

    def __init__(self, asked: bytes = b"") -> None:
        super().__init__(asked)
        if isinstance(self.asked.input, str):
            self.units = {"characters": len(self.asked.input)}

    def read(self, answer: _Answer) -> None:
        """See EndpointPassing.read()."""
        usage = answer.usage
        if isinstance(usage, dict) and usage:
            self.units = {}
            self.report(TokenUsage(input=count(usage, "input_tokens"), output_audio=count(usage, "output_tokens")))


class RankingPassing(EndpointPassing):
    """Ranking: searches (Cohere), or tokens (Jina, Voyage)."""

    __slots__ = ()

    def read(self, answer: _Answer) -> None:
        """See EndpointPassing.read()."""
        billed = answer.meta.get("billed_units") if isinstance(answer.meta, dict) else None
        searches = count(billed, "search_units")
        if searches:
            self.units = {"searches": searches}
        else:
            super().read(answer)


class PagePassing(EndpointPassing):
    """Reading documents (Mistral's OCR): pages."""

    __slots__ = ()

    def read(self, answer: _Answer) -> None:
        """See EndpointPassing.read()."""
        pages = count(answer.usage_info, "pages_processed")
        if pages:
            self.units = {"pages": pages}


class ConversationPassing(EndpointPassing):
    """Conversations: Mistral's answer, and tell what that used; OpenAI's are only kept, which uses nothing."""

    __slots__ = ()

    def read(self, answer: _Answer) -> None:
        """See EndpointPassing.read()."""
        super().read(answer)
        if self.usage is None:
            self.report(TokenUsage())


ENDPOINTS: Mapping[str, Callable[[bytes], Passing]] = {
    "completions": lambda asked: ChatPassing(),
    "fim/completions": lambda asked: ChatPassing(),
    "agents/completions": lambda asked: ChatPassing(),
    "responses/compact": lambda asked: ResponsePassing(),
    "embeddings": EmbeddingPassing,
    "embed": EmbeddingPassing,
    "images/generations": ImagePassing,
    "images/edits": ImagePassing,
    "images/variations": ImagePassing,
    "audio/transcriptions": HearingPassing,
    "audio/translations": HearingPassing,
    "audio/speech": SpeakingPassing,
    "rerank": RankingPassing,
    "ocr": PagePassing,
}
"""By the path below `/v1/`, what makes the reader of an answer of a request with this body."""


FORMS = (
    *("audio/transcriptions", "audio/translations", "images/edits", "images/variations", "videos"),
    "images/generations",
)
"""Paths below the version that take a form which names the model."""


JUDGING = ("moderations", "classifications", "chat/moderations", "chat/classifications")


HEARING = ("audio/transcriptions", "audio/translations")


def takes_json(path: str) -> bool:
    """Whether what is posted to a path of the gateway's is JSON, or a form where `takes_form` says so."""
    below = below_version(path)
    if below in HEARING:
        return False  # Some servers take the sound itself.
    is_known = below in ENDPOINTS or below in COUNTING or below in DEFERRED or below in JUDGING
    return is_known or ":" in below or below.startswith("conversations")


def takes_form(path: str) -> bool:
    """Whether what is posted to a path of the gateway's may be a form that names the model."""
    return below_version(path) in FORMS


def passing_of(path: str) -> Callable[[bytes], Passing] | None:
    """Tell what reads the answers of a path of the gateway's; None if nobody knows what they tell."""
    if path.endswith((":embedContent", ":batchEmbedContents")):
        return EmbeddingPassing
    below = below_version(path)
    if below.startswith("conversations") and below[13:14] in ("", "/"):
        return ConversationPassing
    return ENDPOINTS.get(below)


@lru_cache(maxsize=1024)
def is_unpaid(path: str) -> bool:
    """Whether what is posted to a path of the gateway's uses nothing. Remembered, because most calls are for the same
    few."""
    below = below_version(path)
    if ":" in below:  # A method of Google's.
        return below.endswith(":countTokens")
    if below.rstrip("/") in DEFERRED:
        return False
    return _is_listed(below) or UNPAID_BELOW.fullmatch(below) is not None


def _is_listed(below: str) -> bool:
    return any(below == unpaid or below.startswith(unpaid + "/") for unpaid in UNPAID)
