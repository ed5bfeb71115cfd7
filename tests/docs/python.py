"""Blocks of the language `python`: run in order, with one namespace for each page; `await` may stand outside functions.

What a block assigns that Django would read from a site's files is given to Django: settings, to the system checks and
to the loader of apps; `urlpatterns`, to the checks of urls.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import types
from typing import Any

import pytest
from django.apps import AppConfig
from django.core.checks import CheckMessage, run_checks
from django.test import override_settings

from tests.docs.blocks import Block
from tests.urls import urlpatterns

REFERENCE = re.compile(r'"env:(\w+)"')


def run(block: Block, text: str, namespace: dict[str, Any]) -> None:
    """Run a block, and look at what it gives to Django."""
    if block.before:
        execute(block.before, block.place, namespace)
    namespace.pop("AI_GATEWAY", None)
    namespace.pop("INSTALLED_APPS", None)
    namespace.pop("urlpatterns", None)
    execute(text, block.place, namespace)
    if "AI_GATEWAY" in namespace:
        assert_settings(namespace["AI_GATEWAY"], block)
    if "INSTALLED_APPS" in namespace:
        for name in namespace["INSTALLED_APPS"]:
            AppConfig.create(name)
    if "urlpatterns" in namespace:
        assert_urls(namespace["urlpatterns"], block)


def execute(text: str, place: str, namespace: dict[str, Any]) -> None:
    """Run Python, in which `await` may stand outside functions."""
    result = eval(compile(text, place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), namespace)
    if inspect.iscoroutine(result):
        asyncio.run(result)


def assert_settings(value: dict[str, Any], block: Block) -> None:
    """Fail if the system checks find something wrong with settings; what they refer to is there."""
    with pytest.MonkeyPatch.context() as patch, override_settings(AI_GATEWAY=value):
        for name in REFERENCE.findall(block.text):
            patch.setenv(name, "a-secret-that-is-long-enough-0123456789")
        assert_nothing_found(block)


def assert_urls(patterns: list[Any], block: Block) -> None:
    """Fail if the system checks find something wrong with urls, beside those that a site has."""
    module = types.ModuleType("urls_of_the_page")
    module.urlpatterns = [*patterns, *urlpatterns]  # type: ignore[attr-defined]
    with override_settings(ROOT_URLCONF=module):
        assert_nothing_found(block)


def assert_nothing_found(block: Block) -> None:
    """Fail if the system checks find an error."""
    found = [message for message in run_checks() if message.is_serious() and not is_about_files(message)]
    assert not found, f"{block.place}: {found}"


def is_about_files(message: CheckMessage) -> bool:
    """Whether a check misses a file with a secret, which a machine of tests does not have."""
    return "/run/secrets/" in str(message.msg)
