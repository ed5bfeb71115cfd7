"""What stands in a code block of the README or of a page runs, as it stands."""

from __future__ import annotations

import configparser
import json
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs import python
from tests.docs.blocks import BLOCKS, Block, of_page
from tests.docs.console import Terminal, commands_of, matches
from tests.docs.gateway import KEY, DocumentedGateway

PYTHON = of_page("python")
CONSOLE = of_page("console")

PARSERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "ini": lambda text: configparser.ConfigParser().read_string(text),
}
PARSED = [block for block in BLOCKS if block.language in PARSERS and block.is_executed]


@pytest.mark.django_db
@pytest.mark.parametrize("page", PYTHON)
def test_python__runs(page: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # Where dataclasses look for the names of their annotations.
    namespace = vars(module)
    try:
        for block in PYTHON[page]:
            text = block.text
            if "127.0.0.1:3000" in text:
                text = request.getfixturevalue("gateway").localized(text)
                monkeypatch.setenv("GATEWAY_KEY", KEY)
            python.run(block, text, namespace)
    finally:
        namespace.clear()  # What listens to signals ends with it.


@pytest.mark.parametrize("page", CONSOLE)
def test_console__runs_and_prints_what_the_page_says(page: str, gateway: DocumentedGateway, tmp_path: Path) -> None:
    terminal = Terminal(gateway, tmp_path)
    for block in CONSOLE[page]:
        for command in commands_of(block.text):
            status, printed = terminal.type(command.typed)
            assert status == 0, f"{block.place}: {command.typed}\n{printed}"
            if command.printed:
                assert matches(command.printed, printed), f"{block.place}: {command.typed}\n{printed}"


@pytest.mark.parametrize("block", PARSED, ids=lambda block: block.place)
def test_data__can_be_read(block: Block) -> None:
    PARSERS[block.language](block.text)


def test_every_block__is_of_a_language_that_is_tested() -> None:
    for block in BLOCKS:
        assert block.language in {"python", "console", "javascript", "text", "{toctree}", *PARSERS}, block.place


def test_every_block_that_is_not_executed__says_why() -> None:
    for block in BLOCKS:
        assert block.is_executed or len(block.said) > 15, block.place


def test_most_blocks_are_executed() -> None:
    skipped = [block.place for block in BLOCKS if not block.is_executed]
    assert len(skipped) < len(BLOCKS) / 2, skipped
