"""The recorded exchanges of `tests/vectors/`, for the tests of every format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent / "vectors"


@dataclass(frozen=True)
class Vector:
    """One recorded exchange. `format` is the folder's name, which is that of the dialect."""

    format: str
    name: str
    meta: dict[str, Any] = field(repr=False)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return ROOT / self.format / self.name

    @property
    def status(self) -> int:
        """The status that the provider answered with."""
        return int(self.meta.get("status") or 200)

    @property
    def is_stream(self) -> bool:
        """Whether the answer is a stream of events."""
        return (self.folder / "response.sse").exists()

    @property
    def features(self) -> frozenset[str]:
        """What the case shows."""
        return frozenset(self.meta.get("features") or ())

    @property
    def path(self) -> str:
        """The path that was asked for."""
        return str(self.meta.get("endpoint_path") or "")

    @cached_property
    def request(self) -> Any:
        """The request body, or None where it was not kept or is no JSON."""
        file = self.folder / "request.json"
        return json.loads(file.read_bytes()) if file.exists() else None

    @cached_property
    def response(self) -> Any:
        """The answer's JSON, or None where it is none."""
        file = self.folder / "response.json"
        return json.loads(file.read_bytes()) if file.exists() else None

    @property
    def stream(self) -> bytes:
        """The bytes of the stream."""
        return (self.folder / "response.sse").read_bytes()

    def __str__(self) -> str:
        return self.name


def vectors(format: str) -> Iterator[Vector]:
    """Give the cases of one format, in the order of their names."""
    for meta in sorted((ROOT / format).glob("*/meta.json")):
        yield Vector(format, meta.parent.name, json.loads(meta.read_bytes()))
