"""Does it work? A small but whole call to a model, and one to each credential of a provider, for people to look at.

The call is written in a format that the provider speaks, so that nothing is tried that no caller would send.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from asgiref.sync import async_to_sync

from ai_gateway import gateway, inprocess, listing
from ai_gateway.calls import Caller
from ai_gateway.credentials import Secret
from ai_gateway.inprocess import Answer
from ai_gateway.probe import Finding, probe, variants
from ai_gateway.providers import Provider
from ai_gateway.registry import Snapshot, secrets_of

LONGEST_SHOWN = 4000
"""Characters of an answer that are shown."""

MOST_LISTED = 500
"""Models of a provider that are listed."""

FORMATS = ("openai_chat", "anthropic_messages", "openai_responses", "gemini")
"""In the order of preference, if a provider speaks several."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One call, ready to be shown: what was asked, what came back, and who answered."""

    path: str
    answer: Answer
    hidden: tuple[Secret, ...] = ()
    """What is not shown, should a provider repeat it."""

    @property
    def ok(self) -> bool:
        """Whether it is an answer and no error."""
        return self.answer.status == 200

    @property
    def milliseconds(self) -> int:
        """How long it took."""
        return round(self.answer.seconds * 1000)

    @property
    def text(self) -> str:
        """What the model said, or the error's message."""
        document = self.answer.document
        found = " ".join(texts(document)) if self.ok else error_message(document)
        return masked(found, self.hidden)[:LONGEST_SHOWN] or self.raw

    @property
    def raw(self) -> str:
        """The answer as it came, JSON with line breaks."""
        document = self.answer.document
        if document is None:
            text = self.answer.body.decode("utf-8", "replace")
        else:
            text = json.dumps(document, indent=2, ensure_ascii=False)
        return masked(text, self.hidden)[:LONGEST_SHOWN]

    @property
    def provider(self) -> str:
        """Who answered, if anybody was asked."""
        return self.answer.headers.get("x-gateway-provider", "")

    @property
    def model(self) -> str:
        """The model that answered, by the provider's name for it."""
        return self.answer.headers.get("x-gateway-model", "")

    @property
    def attempts(self) -> str:
        """How many targets were asked until one answered."""
        return self.answer.headers.get("x-gateway-attempts", "")

    @property
    def request_id(self) -> str:
        """What the call is found by in the log."""
        return self.answer.headers.get("x-request-id", "")


def try_model(model: str, caller: Caller, providers: Sequence[Provider], prompt: str) -> Trial:
    """Ask a model something that one of these providers has, in a format that the first of them speaks. It costs what
    such a call costs."""
    path, body = request(format_of(providers[0]), model, prompt)
    hidden = tuple(secret for provider in providers for secret in secrets_of(provider))
    return Trial(path, inprocess.ask("POST", path, caller, body), hidden)


def masked(text: str, secrets: Iterable[Secret]) -> str:
    """Write a text without these secrets in it."""
    for secret in secrets:
        text = text.replace(secret.reveal(), "***")
    return text


def format_of(provider: Provider) -> str:
    """Choose a format of a provider, the most common one if it speaks none of these."""
    return next((name for name in FORMATS if name in provider.dialects), FORMATS[0])


def request(name: str, model: str, prompt: str) -> tuple[str, dict[str, Any]]:
    """Write a small request: its path and its body."""
    messages = [{"role": "user", "content": prompt}]
    if name == "anthropic_messages":
        return "/v1/messages", {"model": model, "max_tokens": 100, "messages": messages}
    if name == "openai_responses":
        return "/v1/responses", {"model": model, "input": prompt}
    if name == "gemini":
        contents = [{"role": "user", "parts": [{"text": prompt}]}]
        return f"/v1beta/models/{model}:generateContent", {"contents": contents}
    # Without a limit: the newer models refuse the older name of it, and the older ones the newer.
    return "/v1/chat/completions", {"model": model, "messages": messages}


def texts(document: Any) -> Iterator[str]:
    """Find what was said, in the answer of any format."""
    if isinstance(document, Mapping):
        for key in ("choices", "message", "output", "candidates", "content", "parts", "text"):
            value = document.get(key)
            if isinstance(value, str):
                yield value
            else:
                yield from texts(value)
    elif isinstance(document, list):
        for item in document:
            yield from texts(item)


def error_message(document: Any) -> str:
    """Find the message of an error, in any format."""
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error", document) if isinstance(document, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else error
    return str(message or "")


def list_models(provider: Provider, caller: Caller) -> list[str]:
    """Ask a provider for the names of its models, page by page, as many as a person can read. None if it does not
    tell."""
    pages, named = listing.Pages(provider), [(b"x-provider", provider.name.encode())]
    while not pages.is_over and len(pages.models) < MOST_LISTED:
        answer = inprocess.ask("GET", pages.path, caller, headers=named, query=pages.query.encode())
        try:
            pages.add(answer.body)
        except ValueError:
            break
    return [id.removeprefix(f"{provider.name}/") for id in pages.models][:MOST_LISTED]


def check_credentials(provider: Provider, snapshot: Snapshot) -> list[tuple[str, Finding]]:
    """Ask a provider for its models, once with each of its credentials, which costs nothing. By credential."""
    return async_to_sync(_check)(provider, snapshot)


def check_providers(aliases: Iterable[str], snapshot: Snapshot) -> list[tuple[str, str, Finding]]:
    """Check the credentials of several providers, all at once. Those that cannot be called are said to be so."""
    found: list[tuple[str, str, Finding]] = []
    asked: list[Provider] = []
    for alias in aliases:
        provider = snapshot.providers.get(alias)
        if provider is not None:
            asked.append(provider)
        else:
            found.append((alias, "", Finding(False, snapshot.broken.get(alias, "switched off"))))
    for provider, findings in zip(asked, async_to_sync(_check_all)(asked, snapshot), strict=True):
        found += [(provider.name, name, finding) for name, finding in findings]
    return sorted(found, key=lambda row: row[:2])


async def _check_all(providers: Sequence[Provider], snapshot: Snapshot) -> list[list[tuple[str, Finding]]]:
    return await asyncio.gather(*(_check(provider, snapshot) for provider in providers))


async def _check(provider: Provider, snapshot: Snapshot) -> list[tuple[str, Finding]]:
    each = list(variants(provider))
    transport = gateway.new_transport()
    try:
        findings = await asyncio.gather(*(probe(variant, snapshot, transport) for _, variant in each))
    finally:
        await transport.aclose()
    hidden = list(secrets_of(provider))
    shown = [replace(finding, answer=masked(finding.answer, hidden)) for finding in findings]
    return [(name, finding) for (name, _), finding in zip(each, shown, strict=True)]
