"""The typed view of `settings.AI_GATEWAY`."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ai_gateway import conf
from ai_gateway.calls import Timeouts

if TYPE_CHECKING:
    from pytest_django import Settings

PROPERTIES = {name: value for name, value in vars(conf.Settings).items() if isinstance(value, property)}


def test_the_keys_are_the_properties() -> None:
    assert frozenset(PROPERTIES) == conf.KEYS


@pytest.mark.parametrize("name", sorted(PROPERTIES))
def test_every_key_is_documented(name: str) -> None:
    assert inspect.getdoc(PROPERTIES[name])


@pytest.mark.parametrize("name", sorted(PROPERTIES))
def test_every_key_has_a_default(settings: Settings, name: str) -> None:
    settings.AI_GATEWAY = {}
    default = getattr(conf.settings, name)
    assert default is not None or name in ("METRICS_TOKEN", "BODY_LOGGING", "RESPONSE_CACHE")
    del settings.AI_GATEWAY
    assert getattr(conf.settings, name) == default


READ = {"TIMEOUTS", "RETRIES", "QUEUE", "BREAKERS", "BODY_LOGGING", "RESPONSE_CACHE"}
"""Keys whose values are made into something."""


@pytest.mark.parametrize("name", sorted(conf.KEYS - READ))
def test_every_key_is_read_under_its_own_name(settings: Settings, name: str) -> None:
    value: Any = object()
    settings.AI_GATEWAY = {name: value}
    assert getattr(conf.settings, name) is value


def test_timeouts_are_typed_and_those_that_are_not_given_keep_their_default(settings: Settings) -> None:
    settings.AI_GATEWAY = {"TIMEOUTS": {"connect": 1.5}}
    assert Timeouts(connect=1.5) == conf.settings.TIMEOUTS


def test_a_change_of_the_settings_is_seen_at_once(settings: Settings) -> None:
    settings.AI_GATEWAY = {"DEFAULT_PROVIDER": "groq"}
    assert conf.settings.DEFAULT_PROVIDER == "groq"
    settings.AI_GATEWAY = {"DEFAULT_PROVIDER": "echo"}
    assert conf.settings.DEFAULT_PROVIDER == "echo"


def test_defaults_are_those_of_a_careful_gateway(settings: Settings) -> None:
    settings.AI_GATEWAY = {}
    assert conf.settings.ALLOW_PRIVATE_UPSTREAMS is False
    assert conf.settings.KEYS == {}
    assert conf.settings.MAX_BODY_BYTES == 32 * 1024 * 1024
    assert conf.settings.DEFAULT_PROVIDER == "openai"


def names_the_setting(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "AI_GATEWAY"
    return isinstance(node, ast.Call) and any(
        isinstance(each, ast.Constant) and each.value == "AI_GATEWAY" for each in node.args
    )


def test_no_other_module_looks_into_the_setting() -> None:
    package = Path(conf.__file__).parent
    readers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(map(names_the_setting, ast.walk(ast.parse(path.read_text(encoding="utf-8")))))
    }
    # The checks must see what is wrong with it; a command and the kit for tests may put values in.
    assert {reader for reader in readers if not reader.startswith(("checks/", "management/", "test/"))} == {"conf.py"}
