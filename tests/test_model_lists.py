"""Lists of models in the vendors' shapes, and their pages."""

from __future__ import annotations

import pytest

from ai_gateway.errors import BadRequest
from ai_gateway.model_lists import EMBEDS, GENERATES, SHAPES, Model, methods_of, read_query

MODELS = [Model(id=id, owner="us", label=id.upper()) for id in ("a", "us/b", "us/c", "us/d")]


def page(family: str, query: str) -> tuple[str, object]:
    """Give the ids of a page, and what it says of others."""
    document = SHAPES[family].write_list(MODELS, read_query(query.encode()))
    if family == "gemini":
        ids = [model["name"].removeprefix("models/") for model in document["models"]]
        return " ".join(ids), document.get("nextPageToken")
    ids = [model["id"] for model in document["data"]]
    assert (document["first_id"], document["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
    return " ".join(ids), document["has_more"]


@pytest.mark.parametrize(
    ("query", "ids", "more"),
    [
        ("", "a us/b us/c us/d", None),
        ("pageSize=0", "a us/b us/c us/d", None),
        ("pageSize=2", "a us/b", "us/b"),
        ("pageSize=2&pageToken=us%2Fb", "us/c us/d", None),
        ("pageToken=us/c", "us/d", None),
        ("pageToken=us/d", "", None),
        ("pageSize=9&key=x", "a us/b us/c us/d", None),
    ],
)
def test_googles_pages(query: str, ids: str, more: str | None) -> None:
    assert page("gemini", query) == (ids, more)


@pytest.mark.parametrize(
    ("query", "ids", "more"),
    [
        ("", "a us/b us/c us/d", False),
        ("limit=2", "a us/b", True),
        ("limit=2&after_id=us%2Fb", "us/c us/d", False),
        ("limit=2&before_id=us/d", "us/b us/c", True),
        ("before_id=us/c", "a us/b", False),
        ("limit=2&before_id=us/c", "a us/b", False),
        ("after_id=us/d", "", False),
    ],
)
def test_anthropics_pages(query: str, ids: str, more: bool) -> None:
    assert page("anthropic", query) == (ids, more)


def test_openais_list_has_no_pages() -> None:
    document = SHAPES["openai"].write_list(MODELS, {"limit": "1"})
    assert [model["id"] for model in document["data"]] == ["a", "us/b", "us/c", "us/d"]


@pytest.mark.parametrize(
    ("family", "query"),
    [
        ("gemini", "pageSize=-1"),
        ("gemini", "pageSize=many"),
        ("gemini", "pageSize=9999999999"),
        ("gemini", "pageToken=us/gone"),
        ("anthropic", "limit=%C2%B2"),
        ("anthropic", "before_id=gone"),
    ],
)
def test_a_page_that_there_cannot_be_is_refused(family: str, query: str) -> None:
    with pytest.raises(BadRequest) as caught:
        page(family, query)
    assert caught.value.param == query.partition("=")[0]


def test_google_is_told_what_is_known() -> None:
    unknown = SHAPES["gemini"].write(MODELS[1])
    assert unknown == {"name": "models/us/b", "displayName": "US/B", "supportedGenerationMethods": GENERATES}
    known = Model(id="x", owner="us", label="X", input_limit=10, output_limit=5, methods=("predict",))
    assert SHAPES["gemini"].write(known) == {
        "name": "models/x",
        "displayName": "X",
        "inputTokenLimit": 10,
        "outputTokenLimit": 5,
        "supportedGenerationMethods": ("predict",),
    }


@pytest.mark.parametrize(
    ("id", "methods"), [("openai/text-embedding-3-small", EMBEDS), ("us/Embed-v4", EMBEDS), ("openai/gpt-5", GENERATES)]
)
def test_what_a_model_can_be_asked_for(id: str, methods: tuple[str, ...]) -> None:
    assert methods_of(Model(id=id, owner="us", label=id)) == methods
