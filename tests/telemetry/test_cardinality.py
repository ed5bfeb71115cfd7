"""Which names become labels: a bounded number, and none that a caller made up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import override_settings

from ai_gateway.telemetry import cardinality
from ai_gateway.telemetry.cardinality import Names
from tests.ledger.entries import entry


@pytest.fixture(autouse=True)
def routes() -> Iterator[None]:
    with override_settings(AI_GATEWAY={"ROUTES": {"fast": ["openai/gpt-5-mini"]}}):
        yield


def test_a_model_that_a_route_leads_to_is_known() -> None:
    assert Names().of("openai", "gpt-5-mini") == ("openai", "gpt-5-mini")


def test_a_model_that_a_caller_made_up_is_another_until_its_provider_has_answered_for_it() -> None:
    names = Names()
    made_up = {"provider": "openai", "served_model": "gpt-99"}
    assert names.of_call(entry(**made_up, status=404, first_byte_ms=5)) == ("openai", "other")
    assert names.of_call(entry(**made_up, status=200)) == ("openai", "other")  # Nobody has answered.
    assert names.of_call(entry(**made_up, status=200, first_byte_ms=5)) == ("openai", "gpt-99")
    assert names.of_call(entry(**made_up, status=503, first_byte_ms=5)) == ("openai", "gpt-99")


def test_a_provider_that_there_is_not_is_another() -> None:
    assert Names().of("made-up", "model", has_answered=True) == ("other", "other")
    assert Names().of("", "") == ("", "")


def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cardinality, "MAX_MODELS", 3)
    names = Names()
    found = {names.of("echo", f"model-{number}", has_answered=True) for number in range(100)}
    assert found == {("echo", "model-0"), ("echo", "model-1"), ("echo", "model-2"), ("echo", "other")}
    assert names.of("echo", "model-1") == ("echo", "model-1")


def test_a_new_route_is_known_when_it_is_in_force() -> None:
    names = Names()
    assert names.of("groq", "llama") == ("groq", "other")
    with override_settings(AI_GATEWAY={"ROUTES": {"fast": ["groq/llama"]}}):
        assert names.of("groq", "llama") == ("groq", "llama")
