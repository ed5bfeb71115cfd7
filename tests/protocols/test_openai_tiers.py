"""OpenAI's service tiers."""

from __future__ import annotations

from typing import get_args

from openai.types.chat import ChatCompletion

from ai_gateway.protocols.openai_tiers import TIERS, WORDS


def test_the_clients_know_every_tier_that_is_told_or_asked_for() -> None:
    known = {
        word for each in get_args(ChatCompletion.model_fields["service_tier"].annotation) for word in get_args(each)
    }
    assert set(WORDS.values()) == TIERS
    assert known <= TIERS


def test_others_words_for_the_usual_tier() -> None:
    assert WORDS["standard"] == WORDS["standard_only"] == "default"
