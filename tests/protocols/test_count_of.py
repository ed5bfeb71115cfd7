"""Reading the number in the answer of a provider's counter of tokens."""

from __future__ import annotations

import pytest

from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.protocols.counting import count_of


def test_the_number_is_read() -> None:
    assert count_of({"input_tokens": 0}, "input_tokens") == 0
    assert count_of({"totalTokens": 11, "other": 1}, "totalTokens") == 11


@pytest.mark.parametrize("value", [None, -1, True, "11", 1.5, []])
def test_what_is_no_number_of_tokens_is_no_answer(value: object) -> None:
    with pytest.raises(UpstreamProtocolError):
        count_of({"input_tokens": value}, "input_tokens")
