"""`python -m tests.docs.generate`: write the pages that are made of the source anew. A test keeps them equal to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOTE = "<!-- Written by `python -m tests.docs.generate`. -->\n\n"


def pages() -> Mapping[str, Callable[[], str]]:
    """Give what writes each page, by the name of its file. Django has to be set up."""
    from tests.docs import commands_page, http_page, settings_page, signals_page

    return {
        "settings.md": settings_page.write,
        "commands.md": commands_page.write,
        "http.md": http_page.write,
        "signals.md": signals_page.write,
    }


def main() -> None:
    """Write them all."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    for name, write in pages().items():
        (DOCS / name).write_text(NOTE + write(), encoding="utf-8")


if __name__ == "__main__":
    main()
