"""The README says what is so: its commands, its tables and its examples."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from ai_gateway import conf
from ai_gateway.environment import VARIABLES
from ai_gateway.providers import CATALOG
from tests.variables import variable_names

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(README)
PROJECT_READS = re.compile(r"""(?:text|flag)\("([A-Z_]+)"|environ\.get\("([A-Z_]+)"\)""")


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def section(title: str) -> str:
    """Give the text below a heading, up to the next heading of any level."""
    return re.split(r"^#+ ", README.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> set[str]:
    """Collect what stands in backticks in the first column of the tables in a text."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def words_of(text: str) -> set[str]:
    return set(re.findall(r"`([^`\s]+)`", text))


def variables_of_the_project() -> set[str]:
    """Find the environment variables that the example project and `rungateway` read."""
    files = [
        ROOT / "example_project" / "settings.py",
        ROOT / "ai_gateway" / "management" / "commands" / "rungateway.py",
    ]
    return {name for file in files for found in PROJECT_READS.findall(file.read_text()) for name in found if name}


def test_first_screen__has_the_two_commands_that_ci_runs() -> None:
    screen = README.splitlines()[:24]
    commands = [line for line in screen if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert f'START_COMMAND="{commands[0]}"' in CI
    assert f'TEST_COMMAND="{commands[1]}"' in CI


def test_settings__every_key_is_in_the_table_and_no_other() -> None:
    assert first_cells(section("By settings")) == conf.KEYS


def test_variables__every_one_is_in_the_tables_and_no_other() -> None:
    documented = first_cells(section("By environment variables"))
    generic = {"<PROVIDER>_API_KEY", "<PROVIDER>_BASE_URL"}
    of_providers = {name for name in variable_names() if name not in VARIABLES}
    special = {name for name in of_providers if not name.endswith(("_API_KEY", "_BASE_URL"))}
    assert generic <= documented
    assert documented - generic == set(VARIABLES) | special | variables_of_the_project()


def test_providers__every_name_of_the_catalogue_is_listed() -> None:
    prefixes = {name.removesuffix("_API_KEY") for name in variable_names() if name.endswith("_API_KEY")}
    listed = README.split("`<PROVIDER>` is one of\n", 1)[1].split(".\n", 1)[0]
    assert words_of(listed) == prefixes
    assert prefixes == {alias.upper() for alias in CATALOG} - {"ECHO"}


def test_extras__every_one_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert first_cells(section("Extras")) == set(project["optional-dependencies"])


def test_uvicorn_command__has_the_patience_of_the_default_drain_timeout() -> None:
    command = next(text for text in blocks("console") if text.startswith("uvicorn "))
    assert shlex.split(command)[-1] == str(int(conf.Settings().DRAIN_TIMEOUT) + 1)


def test_ci__checks_the_deployment_with_the_documented_variables() -> None:
    documented = re.findall(r"\b([A-Z][A-Z_]+)=", next(t for t in blocks("console") if "check --deploy" in t))
    step = CI.split("Deployment check", 1)[1].split("--fail-level", 1)[0]
    assert set(documented) == set(re.findall(r"\b([A-Z][A-Z_]+)=", step))


@pytest.mark.parametrize("text", blocks("console"))
def test_console__is_one_command_after_another_and_its_json_parses(text: str) -> None:
    for line in text.splitlines():
        words = shlex.split(line)
        assert words
        if words[0] == "curl" and "-d" in words:
            body = words[words.index("-d") + 1]
            assert json.loads(body)["messages"]


def test_links__to_headings_and_files_lead_somewhere() -> None:
    headings = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in re.findall(r"^#+ (.+)$", README, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (ROOT / target.partition("#")[0]).exists()


def test_docs__every_page_is_in_the_list_and_in_the_site() -> None:
    pages = {file.stem for file in (ROOT / "docs").glob("*.md")} - {"README", "index"}
    listed = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    contents = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", listed)) == pages
    assert {line for line in contents.splitlines() if line in pages} == pages


def test_docs__every_image_is_there_and_shown() -> None:
    texts = [README, *(file.read_text(encoding="utf-8") for file in (ROOT / "docs").glob("*.md"))]
    shown = {name for text in texts for name in re.findall(r"images/([\w-]+\.png)", text)}
    there = {file.name: file.stat().st_size for file in (ROOT / "docs" / "images").glob("*.png")}
    assert shown == set(there)
    assert max(there.values()) < 200_000
