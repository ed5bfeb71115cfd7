"""What the clients have to read an answer as, where they want a class of pydantic's and not its schema."""

from __future__ import annotations

from pydantic import BaseModel


class Fruit(BaseModel):
    """A fruit and how many of it."""

    fruit: str
    count: int
