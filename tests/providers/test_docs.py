"""The table in docs/providers.md is the catalogue, written for people.

After a change of the catalogue, write it anew with `python -m tests.providers.test_docs`.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from ai_gateway.providers import CATALOG, Auth, Provider
from ai_gateway.providers.options import NOT_OPTIONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "providers.md"
BEGIN = "<!-- The table is written by `python -m tests.providers.test_docs`. -->\n"
END = "<!-- The end of the table. -->\n"

AUTH = {
    Auth.BEARER: "`Authorization: Bearer`",
    Auth.X_API_KEY: "`x-api-key`",
    Auth.API_KEY: "`api-key`",
    Auth.X_GOOG_API_KEY: "`x-goog-api-key`",
    Auth.NONE: "none",
}

DIALECTS = {
    "openai_chat": "chat",
    "openai_responses": "responses",
    "anthropic_messages": "messages",
    "gemini": "gemini",
    "bedrock_converse": "converse",
}

ADDRESSES = {
    "azure": "`https://{resource}.openai.azure.com`",
    "bedrock": "`https://bedrock-runtime.{region}.amazonaws.com`",
    "custom": "yours",
    "echo": "none: it answers itself",
}
"""What stands for an address that the operator completes."""


def write_table() -> str:
    """Write the catalogue as a table in Markdown."""
    rows = [
        ("Name", "Provider", "Base URL", "Credential", "Speaks", "Endpoints below `/v1/`"),
        ("---",) * 6,
        *(write_row(row) for row in CATALOG.values()),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write_row(row: Provider) -> tuple[str, ...]:
    """Write the cells of one provider."""
    return (
        f"`{row.name}`",
        row.label,
        ADDRESSES.get(row.name, f"`{row.base_url}`"),
        AUTH[row.auth],
        ", ".join(name for dialect, name in DIALECTS.items() if dialect in row.dialects),
        ", ".join(row.endpoints),
    )


def split(page: str) -> tuple[str, str, str]:
    """Split the page into what is before the table, the table, and what is behind it."""
    before, _, rest = page.partition(BEGIN)
    table, _, after = rest.partition(END)
    return before, table, after


def test_the_table_is_the_catalogue() -> None:
    assert split(PAGE.read_text(encoding="utf-8"))[1] == write_table()


def test_the_page_names_every_option() -> None:
    page = PAGE.read_text(encoding="utf-8")
    options = {field.name for row in CATALOG.values() for field in fields(row)} - set(NOT_OPTIONS)
    assert not [name for name in sorted(options) if f"`{name}`" not in page]


if __name__ == "__main__":
    before, _, after = split(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(before + BEGIN + write_table() + END + after, encoding="utf-8")
