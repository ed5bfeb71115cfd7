"""What the pages name exists: commands, checks, metrics, variables, files and settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ai_gateway import conf, errors
from ai_gateway.keys import KEY_PREFIX
from ai_gateway.management import commands
from ai_gateway.models import VirtualKey
from tests.variables import variable_names

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
COMMANDS = {file.stem for file in Path(commands.__path__[0]).glob("*.py")}
CODES = {getattr(error, "code", "") for error in vars(errors).values()}


def named(pattern: str) -> list[tuple[str, str]]:
    """Find what the pages name, with the page."""
    return [(page, name) for page, text in TEXTS.items() for name in sorted(set(re.findall(pattern, text)))]


def test_every_command_exists() -> None:
    for page, name in named(r"(?:`|manage\.py )(gateway_\w+)"):
        assert name in COMMANDS | CODES, f"{page}: {name}"


def test_every_check_is_in_the_table_of_checks() -> None:
    table = set(re.findall(r"^\| `(ai_gateway\.[EW]\d{3})`", TEXTS["docs/checks.md"], re.M))
    for page, name in named(r"ai_gateway\.[EW]\d{3}"):
        assert name in table, f"{page}: {name}"


def test_every_metric_is_in_the_table_of_metrics() -> None:
    table = set(re.findall(r"^\| `(ai_gateway_\w+)`", TEXTS["docs/telemetry.md"], re.M))
    for page, name in named(r"`(ai_gateway_[a-z_]+(?:_total|_seconds|_state|_flight|_waiting|_connections))"):
        assert name in table, f"{page}: {name}"


def test_every_file_of_the_project_exists() -> None:
    for page, name in named(r"`((?:tests|ai_gateway|example_project|docs)/[\w/.-]+?\.(?:py|md|toml|yaml))[`:]"):
        if page == "docs/comparison.md":  # Those of others.
            continue
        assert (ROOT / name).is_file(), f"{page}: {name}"


def test_every_module_that_the_architecture_names_exists() -> None:
    for name in re.findall(r"`([\w/]+\.py)`", TEXTS["docs/architecture.md"]):
        assert (ROOT / "ai_gateway" / name).is_file() or (ROOT / name).is_file(), name
    for name in re.findall(r"`(\w+/)`", TEXTS["docs/architecture.md"]):
        assert (ROOT / "ai_gateway" / name).is_dir(), name


def test_every_setting_that_an_example_begins_with_exists() -> None:
    for page, name in named(r'AI_GATEWAY = \{\n    "(\w+)"'):
        assert name in conf.KEYS, f"{page}: {name}"


def test_every_variable_of_the_environment_file_is_one_that_is_read() -> None:
    (block,) = re.findall(r"^```text\n(SECRET_KEY=.*?)^```$", TEXTS["docs/tutorial-standalone.md"], re.M | re.S)
    documented = set(re.findall(r"`([A-Z][A-Z_]+)`", TEXTS["README.md"]))
    for name in re.findall(r"^(\w+)=", block, re.M):
        assert name in {*variable_names(), *documented, "AI_GATEWAY_ENCRYPTION_KEYS"}, name


def test_every_key_that_people_are_told_to_make_begins_as_those_do_that_never_go_to_a_provider() -> None:
    found = named(r"GATEWAY_API_KEYS=[\w-]+=(\S+)")
    assert len(found) > 1
    for page, key in found:
        assert key.startswith(KEY_PREFIX.decode()), f"{page}: {key}"


@pytest.mark.parametrize("codename", ["issue_own_keys", "issue_keys"])
def test_every_permission_that_people_are_told_to_give_exists(codename: str) -> None:
    assert codename in {name for name, _ in VirtualKey._meta.permissions}
    assert f"`{codename}`" in TEXTS["docs/admin.md"]
