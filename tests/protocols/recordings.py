"""Recorded answers of providers; `data/README.md` says where each comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

DATA = Path(__file__).parent / "data"


class RecordedError(NamedTuple):
    """An error answer: the dialect it is written in, whose it is, its HTTP status and its JSON body."""

    dialect: str
    provider: str
    status: int
    body: Any


def streams() -> dict[str, tuple[str, bytes]]:
    """Give every recorded stream by the name of its file: the name of its dialect, and its bytes."""
    return {path.stem: (path.stem.partition("-")[0], path.read_bytes()) for path in sorted(DATA.glob("*.sse"))}


def errors() -> list[RecordedError]:
    """Give every recorded error answer."""
    entries = json.loads((DATA / "errors.json").read_text(encoding="utf-8"))
    return [RecordedError(entry["dialect"], entry["provider"], entry["status"], entry["body"]) for entry in entries]
