"""What did it cost? Prices per model, and the cost of a call in nano-dollars, in integers only.

A price is kept in pico-dollars per token (dollars per million tokens, times a million), which is exact to a millionth
of a dollar per million tokens. A cost is summed up in pico-dollars and rounded once, half up, to nano-dollars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ai_gateway.consumption import Consumption

BUCKETS = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "input_audio",
    "input_image",
    "output_audio",
    "output_image",
)
"""The kinds of tokens, by the names of the fields of `TokenUsage`."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs. Made by `read_price`."""

    def cost(self, consumption: Consumption) -> int:
        """Give the cost of what was used, in nano-dollars."""
        raise NotImplementedError


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A price and what it is for: patterns of a provider's alias and of a model's name, and a span in seconds since
    1970 (None: open)."""

    provider: str
    model: str
    price: Price
    valid_from: float | None = None
    valid_until: float | None = None
    is_synced: bool = False


Lookup = Callable[[str, str, float], Price | None]
"""Gives what a catalogue knows of a model: by the name of the provider's row in our catalogue, the model, and when."""


class PriceTable:
    """Every price that is known. Immutable but for what it remembers."""

    def __init__(self, rows: Sequence[PriceRow], catalogue: Lookup | None = None) -> None:
        self._rows = rows
        self._catalogue = catalogue

    def of(self, alias: str, row: str, model: str, at: float) -> Price | None:
        """Find what a model cost at a time, by its provider's alias and row of the catalogue. None: nobody knows."""
        return None


def read_price(columns: Mapping[str, Any]) -> Price:
    """Read a price as `Price.columns()` and `AI_GATEWAY["PRICES"]` write it. Raises ValueError saying what is wrong."""
    raise NotImplementedError
