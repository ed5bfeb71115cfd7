"""Pages that are made of the source say what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ai_gateway import loops
from tests.docs import http_page
from tests.docs.generate import DOCS, NOTE, pages

SOURCE = Path(__file__).resolve().parents[2] / "ai_gateway"
OWN_HEADER = re.compile(r'b"(x-gateway-[a-z-]*[a-z])"')


@pytest.mark.parametrize("name", ["settings.md", "commands.md", "http.md", "signals.md"])
def test_a_page__is_what_the_source_says(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == NOTE + pages()[name](), "python -m tests.docs.generate"


def test_headers__every_one_of_the_gateways_own_is_on_the_page_and_known_to_browsers() -> None:
    used = {name for file in SOURCE.rglob("*.py") for name in OWN_HEADER.findall(file.read_text(encoding="utf-8"))}
    assert used | http_page.OWN <= http_page.documented_headers()
    assert used - {loops.HEADER.decode()} <= http_page.OWN  # What gateways tell each other no browser says.
