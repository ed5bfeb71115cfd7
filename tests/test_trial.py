"""The models of a provider, for people who try one."""

from __future__ import annotations

import pytest
from django.test import override_settings

from ai_gateway import gateway, registry, trial
from ai_gateway.calls import Caller
from tests.factories import Answer, Scripted

HOLDER = Caller(key_name="team")


class Lasting(Scripted):
    """Goes on with its script in the next event loop."""

    async def aclose(self) -> None:
        """Keep the rest."""


def listed(alias: str, *bodies: str, status: int = 200) -> tuple[list[str], list[str]]:
    """List the models of a provider that gives these pages; give also what it was asked."""
    with override_settings(AI_GATEWAY={"PROVIDERS": {alias: {"OPTIONS": {"api_key": "sk-x"}}}}):
        transport = Lasting(*(Answer(body.encode(), status=status) for body in bodies))
        with gateway.asking_through(lambda: transport):
            found = trial.list_models(registry.snapshot().providers[alias], HOLDER)
    return found, [request.target.decode() for request in transport.requests]


def test_the_pages_of_anthropics_list_are_read_to_the_last() -> None:
    first = '{"data": [{"id": "a"}, {"id": "b"}], "has_more": true, "last_id": "b"}'
    found, asked = listed("anthropic", first, '{"data": [{"id": "c"}], "has_more": false, "last_id": "c"}')
    assert found == ["a", "b", "c"]
    assert asked == ["/v1/models?limit=1000", "/v1/models?limit=1000&after_id=b"]


def test_the_pages_of_googles_list_are_read_to_the_last__by_the_names_that_calls_use() -> None:
    first = '{"models": [{"name": "models/a"}], "nextPageToken": "next"}'
    found, asked = listed("gemini", first, '{"models": [{"name": "models/b"}]}')
    assert found == ["a", "b"]
    assert asked[1] == "/v1beta/models?pageSize=1000&pageToken=next"


def test_no_more_is_read_than_a_person_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MOST_LISTED", 3)
    pages = [
        f'{{"data": [{{"id": "m{number}"}}, {{"id": "n{number}"}}], "has_more": true, "last_id": "n{number}"}}'
        for number in range(9)
    ]
    found, asked = listed("anthropic", *pages)
    assert found == ["m0", "n0", "m1"]
    assert len(asked) == 2


@pytest.mark.parametrize(("body", "status"), [("nonsense", 200), ('{"error": {"message": "no"}}', 401)])
def test_a_provider_that_does_not_tell_has_none(body: str, status: int) -> None:
    assert listed("anthropic", body, status=status)[0] == []
