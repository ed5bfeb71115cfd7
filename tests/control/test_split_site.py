"""Where the tables are in another database than `default`, what is done together is done there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ai_gateway import crypto
from tests.gateway_process import site_environment
from tests.site_shell import SiteShell

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "providers": {"groq": {}},
    "routes": {"fast": {"targets": ["groq/llama"]}},
}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteShell]:
    folder = tmp_path_factory.mktemp("split")
    engine = "django.db.backends.sqlite3"
    site = {
        "DATABASES": {
            "default": {"ENGINE": engine, "NAME": str(folder / "default.sqlite3")},
            "main": {"ENGINE": engine, "NAME": str(folder / "main.sqlite3")},
        },
        "DATABASE_ROUTERS": ["tests.control.split_site.Router"],
    }
    keys = {"AI_GATEWAY_ENCRYPTION_KEYS": crypto.generate_key()}
    shell = SiteShell({**site_environment("direct", {}, site), **keys})
    shell.run("call_command('migrate', database='main', verbosity=0); result = None")
    yield shell
    shell.close()


@pytest.fixture
def document(tmp_path: Path) -> Path:
    return tmp_path / "gateway.json"


def routes(shell: SiteShell) -> list[str]:
    found: list[str] = shell.run("result = list(Route.objects.values_list('name', flat=True))")
    return found


def test_a_dry_run_changes_nothing(shell: SiteShell, document: Path) -> None:
    document.write_text(json.dumps(DOCUMENT))
    assert "nothing was changed" in shell.command("gateway_import", str(document), "--dry-run")
    assert routes(shell) == []


def test_a_document_that_is_wrong_changes_nothing(shell: SiteShell, document: Path) -> None:
    wrong = {**DOCUMENT, "routes": {**DOCUMENT["routes"], "zz": {"targets": [5]}}}
    document.write_text(json.dumps(wrong))
    with pytest.raises(AssertionError, match="Nothing was changed"):
        shell.command("gateway_import", str(document))
    assert routes(shell) == []


def test_a_key_is_not_kept_without_its_limits(shell: SiteShell) -> None:
    shell.run("User.objects.create_user('ann'); result = None")
    with pytest.raises(AssertionError):
        shell.command("gateway_key", "create", "--user", "ann", "--name", "ci", "--budget", "20/month", "--rpm", "-1")
    assert shell.run("result = VirtualKey.objects.count()") == 0
    shell.command("gateway_key", "create", "--user", "ann", "--name", "ci", "--budget", "20/month")
    assert shell.run("result = VirtualKey.objects.get().limits.count()") == 1
