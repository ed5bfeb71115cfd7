"""What a provider is told of users and sessions."""

from __future__ import annotations

import pytest

from ai_gateway.protocols.identifiers import identifier, is_personal


@pytest.mark.parametrize("name", ["user-1", "12345", "a" * 64, "ünïcode"])
def test_a_name_is_told_as_it_is(name: str) -> None:
    assert identifier(name, 64) == name


@pytest.mark.parametrize(
    "name", ["me@example.com", "+49 (89) 123-456", "0891234567", "089/123.456", "a" * 65, "\ud800" * 65]
)
def test_what_is_personal_or_too_long_is_hashed(name: str) -> None:
    told = identifier(name, 64)
    assert len(told) == 64
    assert told == identifier(name, 64)
    assert name not in told
    assert identifier(name, 64, "user_") == f"user_{told}"


def test_a_number_with_words_is_not_personal() -> None:
    assert not is_personal("account 12345678")
