"""The ids of checks, and which of them some files name."""

from __future__ import annotations

import re
from pathlib import Path

ID = re.compile(r"ai_gateway\.[EW]\d{3}")


def ids_in(*paths: Path) -> set[str]:
    """The ids that these files name: `ai_gateway.E001` and its like."""
    return {found for each in paths for found in ID.findall(each.read_text(encoding="utf-8"))}
