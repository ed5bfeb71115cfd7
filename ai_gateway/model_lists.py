"""A list of models as OpenAI, Anthropic and Google write it, whole or by pages.

A caller who names no size gets all of it at once: not every client asks for a second page. Where a page ends is told by
the id of its last model.

Sources: "Models" in OpenAI's, Anthropic's and Google's API references.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

from ai_gateway.errors import BadRequest

EPOCH = "1970-01-01T00:00:00Z"
"""What Anthropic's list says where no date is known."""

GENERATES = ("generateContent", "countTokens")
EMBEDS = ("embedContent", "batchEmbedContents")
"""What Google's list calls the methods of a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One entry: the id to call it by, who has it, its name for people, and when it was made (Unix time, 0:
    unknown)."""

    id: str
    owner: str
    label: str
    created: int = 0
    created_at: str = EPOCH
    input_limit: int = 0
    """How many tokens it takes. 0: nobody knows."""
    output_limit: int = 0
    """How many tokens it gives. 0: nobody knows."""
    methods: tuple[str, ...] = ()
    """The methods of Google's that the provider says it has. None: see `methods_of`."""


class Shape(Protocol):
    """How a vendor writes one model, and a list of them."""

    def write(self, model: Model) -> dict[str, Any]:
        """Write one entry."""
        ...

    def write_list(self, models: Sequence[Model], query: Mapping[str, str]) -> dict[str, Any]:
        """Write the page that the query asks for. Raises BadRequest for one that there cannot be."""
        ...


class OpenAI:
    """OpenAI's list has no pages."""

    def write(self, model: Model) -> dict[str, Any]:
        """See Shape.write()."""
        return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owner}

    def write_list(self, models: Sequence[Model], query: Mapping[str, str]) -> dict[str, Any]:
        """See Shape.write_list()."""
        return {"object": "list", "data": [self.write(model) for model in models]}


class Anthropic:
    """Anthropic's list can be read from either end."""

    def write(self, model: Model) -> dict[str, Any]:
        """See Shape.write()."""
        return {"type": "model", "id": model.id, "display_name": model.label, "created_at": model.created_at}

    def write_list(self, models: Sequence[Model], query: Mapping[str, str]) -> dict[str, Any]:
        """See Shape.write_list()."""
        size = _size(query, "limit")
        if "before_id" in query:
            before = models[: _place(models, query, "before_id")]
            page, has_more = before[-size:] if size else before, 0 < size < len(before)
        else:
            page, has_more = _page(models, query, "after_id", size)
        first, last = (page[0].id, page[-1].id) if page else (None, None)
        return {"data": [self.write(model) for model in page], "has_more": has_more, "first_id": first, "last_id": last}


class Google:
    """Google's names of models begin with `models/`, and its list says what they can be asked for."""

    def write(self, model: Model) -> dict[str, Any]:
        """See Shape.write()."""
        entry = {
            "name": f"models/{model.id}",
            "displayName": model.label,
            "inputTokenLimit": model.input_limit,
            "outputTokenLimit": model.output_limit,
            "supportedGenerationMethods": methods_of(model),
        }
        return {name: value for name, value in entry.items() if value}

    def write_list(self, models: Sequence[Model], query: Mapping[str, str]) -> dict[str, Any]:
        """See Shape.write_list()."""
        page, has_more = _page(models, query, "pageToken", _size(query, "pageSize"))
        document: dict[str, Any] = {"models": [self.write(model) for model in page]}
        return {**document, "nextPageToken": page[-1].id} if has_more else document


SHAPES: Mapping[str, Shape] = {"openai": OpenAI(), "anthropic": Anthropic(), "gemini": Google()}
"""The vendors' shapes, by the family of a call's dialect."""


def read_query(query: bytes) -> dict[str, str]:
    """Read a query string; of what comes twice, the last."""
    return dict(parse_qsl(query.decode("latin-1")))


def methods_of(model: Model) -> tuple[str, ...]:
    """Tell what a model can be asked for. Lists of other vendors do not say it, but names of models that embed do."""
    return model.methods or (EMBEDS if "embed" in model.id.lower() else GENERATES)


def _page(models: Sequence[Model], query: Mapping[str, str], name: str, size: int) -> tuple[Sequence[Model], bool]:
    """Give the page behind the model that the query names, and whether there is more behind it."""
    rest = models[_place(models, query, name) + 1 :] if query.get(name) else models
    return (rest[:size], size < len(rest)) if size else (rest, False)


def _place(models: Sequence[Model], query: Mapping[str, str], name: str) -> int:
    for place, model in enumerate(models):
        if model.id == query[name]:
            return place
    raise BadRequest(f"{name} names no model of this list.", param=name)


def _size(query: Mapping[str, str], name: str) -> int:
    """Read how many models a page shall have. 0: all."""
    text = query.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"{name} must be a number.", param=name)
    return int(text)
