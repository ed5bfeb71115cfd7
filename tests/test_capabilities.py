"""What is known of models: the built-in table, what the settings lay over it, and the page about it."""

from __future__ import annotations

import ast
import inspect
import json
import tomllib
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import registry
from ai_gateway.capabilities import CapabilityTable, built_in, read_rule
from ai_gateway.protocols import PROTOCOLS, capabilities
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.providers import CATALOG

ROWS: list[dict[str, Any]] = tomllib.loads(files("ai_gateway").joinpath("capabilities.toml").read_text())["row"]
COLUMNS = Capabilities.__struct_fields__
PAGE = Path(__file__).parent.parent / "docs" / "capabilities.md"
BEGIN, END = "<!-- columns: begin -->\n", "<!-- columns: end -->\n"


def of(name: str) -> Capabilities:
    row, _, model = name.partition("/")
    return CapabilityTable().of(row, row, model)


def test_every_row_says_where_it_is_from_and_says_something() -> None:
    assert len(built_in()) >= len(ROWS) > 20
    for row in ROWS:
        assert row["source"]
        assert row["match"]
        assert set(row) - {"source", "match"}


def test_every_row_that_names_a_provider_names_one_of_the_catalogue() -> None:
    for row in ROWS:
        for pattern in row["match"]:
            assert pattern.startswith("*") or pattern.partition("/")[0] in CATALOG, pattern


def test_formats_are_those_that_can_be_translated() -> None:
    for row in ROWS:
        assert set(row.get("formats", ())) <= set(PROTOCOLS)


def docstrings() -> dict[str, str]:
    """Read the docstring below each column."""
    body = ast.parse(inspect.getsource(capabilities)).body
    [struct] = [node for node in body if isinstance(node, ast.ClassDef) and node.name == "Capabilities"]
    return {
        node.target.id: after.value.value
        for node, after in pairwise(struct.body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }


def test_every_column_has_a_docstring() -> None:
    assert set(docstrings()) == set(COLUMNS)


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("openai/gpt-4o", "reasoning", "none"),
        ("openai/gpt-5-mini", "sampling", "never"),
        ("openai/gpt-5.1", "sampling", "without_reasoning"),
        ("openai/gpt-5.4-mini", "tools_need_responses", True),
        ("openai/gpt-5.2", "tools_need_responses", False),
        ("openai/o3-mini", "parallel_flag", False),
        ("anthropic/claude-3-5-sonnet-20241022", "structured_outputs", False),
        ("anthropic/claude-3-5-sonnet-20241022", "reasoning", "none"),
        ("anthropic/claude-3-7-sonnet-latest", "reasoning", "budget"),
        ("anthropic/claude-sonnet-4-20250514", "structured_outputs", False),
        ("anthropic/claude-sonnet-4-20250514", "reasoning", "budget"),
        ("anthropic/claude-haiku-4-5-20251001", "structured_outputs", True),
        ("anthropic/claude-opus-4-5", "efforts", ("low", "medium", "high")),
        ("anthropic/claude-opus-4-6", "reasoning", "adaptive"),
        ("anthropic/claude-opus-4-6", "sampling", "any"),
        ("anthropic/claude-opus-4-7", "sampling", "never"),
        ("anthropic/claude-fable-5", "forced_tool_choice", "never"),
        ("openrouter/anthropic/claude-sonnet-4.5", "both_samplings", False),
        ("bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0", "reasoning", "budget"),
        ("bedrock/meta.llama3-1-8b-instruct-v1:0", "user_first", True),
        ("bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0", "user_first", False),
        ("bedrock/eu.anthropic.claude-opus-5-5-v1:0", "parallel_flag", True),
        ("bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0", "parallel_flag", True),
        ("bedrock/anthropic.claude-opus-4-1-20250805-v1:0", "parallel_flag", False),
        ("bedrock/anthropic.claude-sonnet-4-20250514-v1:0", "parallel_flag", False),
        ("bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0", "parallel_flag", False),
        ("bedrock/amazon.nova-pro-v1:0", "parallel_flag", False),
        ("gemini/gemini-2.5-pro", "can_disable_reasoning", False),
        ("gemini/gemini-2.5-flash", "can_disable_reasoning", True),
        ("gemini/gemini-3-pro-preview", "efforts", ("low", "medium", "high")),
        ("gemini/gemini-3-flash-preview", "reasoning", "level"),
        ("mistral/mistral-large", "tool_id_length", 9),
        ("deepseek/deepseek-reasoner", "reasoning_history", "reasoning_content"),
    ],
)
def test_what_is_known(name: str, column: str, value: object) -> None:
    assert getattr(of(name), column) == value


def test_a_model_that_nobody_knows_has_the_defaults() -> None:
    assert CapabilityTable().of("somewhere", "no-row", "some-model") == Capabilities()


def test_an_alias_has_the_rows_of_what_it_is_made_of() -> None:
    assert CapabilityTable().of("team-mistral", "mistral", "x").tool_id_length == 9


def test_an_override_wins_column_by_column() -> None:
    table = CapabilityTable([read_rule("Team-Mistral/Big*", {"images": False})])
    overridden = table.of("team-mistral", "mistral", "big-1")
    assert (overridden.images, overridden.tool_id_length) == (False, 9)
    assert table.of("mistral", "mistral", "big-1").images


@pytest.mark.parametrize(
    "columns",
    [
        {"wings": True},
        {"images": "no"},
        {"max_output_tokens": "many"},
        {"reasoning": "a lot"},
        {"efforts": ["huge"]},
        {"formats": ["openai_chats"]},
    ],
)
def test_a_row_that_cannot_be_read_says_why(columns: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"CAPABILITIES\['a/\*'\]"):
        read_rule("a/*", columns)


def test_a_row_of_the_settings_that_cannot_be_read_takes_nothing_down(caplog: pytest.LogCaptureFixture) -> None:
    rows = {"chat/*": {"images": False}, "broken/*": {"wings": True}}
    with override_settings(AI_GATEWAY={"CAPABILITIES": rows}):
        table = registry.snapshot().capabilities
    assert not table.of("chat", "custom", "m").images
    assert "broken" in caplog.text


def test_the_page_is_what_the_columns_say() -> None:
    """Write it anew with `python -m tests.test_capabilities`."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    assert rest.partition(END)[0] == write_columns()


def write_columns() -> str:
    """Write the table of columns from their docstrings and defaults."""
    lines = ["", "| column | default | meaning |", "|---|---|---|"]
    for name, docstring in docstrings().items():
        default = json.dumps(getattr(Capabilities(), name))
        lines.append(f"| `{name}` | `{default}` | {' '.join(docstring.split())} |")
    return "\n".join([*lines, "", ""])


if __name__ == "__main__":
    head, _, tail = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(head + BEGIN + write_columns() + END + tail.partition(END)[2], encoding="utf-8")
