"""Checks of limits, of the store that counts them, and of the journal."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ai_gateway import journal
from ai_gateway.checks.usage import journal_directory
from tests.checks.site import ROOT, Site


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"amount": 60, "scope": "team"}, "scope is 'team'"),
        ({"amount": 60, "colour": "red"}, "unknown key 'colour'"),
        ({"scope": "key"}, "amount is None"),
        ({"amount": 1, "measure": "cost"}, "money is counted by the hour or longer"),
        ({"amount": 1, "time_zone": "Mars/Olympus"}, "is not a time zone"),
        ({"amount": "10000000", "measure": "cost", "window": "month"}, "must be at most 9000000"),
    ],
)
def test_a_limit_that_cannot_be_kept(site: Site, entry: dict[str, Any], problem: str) -> None:
    site.gateway(LIMITS=[{"amount": 60}, entry])
    assert site.ids() == {"E101"}
    (message,) = site.messages()
    assert 'LIMITS"][1]' in message.msg
    assert problem in message.msg


def test_two_limits_of_one_name_would_share_their_counters(site: Site) -> None:
    site.gateway(LIMITS=[{"name": "mine", "amount": 1}, {"name": "yours", "amount": 1}, {"name": "mine", "amount": 2}])
    assert site.ids() == {"E102"}


@pytest.mark.parametrize(
    ("subject", "ids"),
    [("team-b", {"W107"}), ("12", {"W107"}), ("team-a", set()), ("team-*", set()), (12, set()), ("", set())],
)
def test_a_limit_of_a_key_that_is_not_there(site: Site, subject: object, ids: set[str]) -> None:
    limit = {"scope": "key", "subject": subject, "measure": "requests", "window": "day", "amount": 5}
    site.gateway(LIMITS=[limit])
    assert site.ids() == ids
    if ids:
        assert "by its number" in site.hint()


@pytest.mark.parametrize("backend", ["redi", "not.there.Store", "ai_gateway.limits.NotThere", "pathlib.Path"])
def test_a_store_of_limits_that_is_not_there(site: Site, backend: str) -> None:
    site.gateway(LIMIT_STORE={"BACKEND": backend})
    assert site.ids() == {"E103"}


def test_a_store_of_limits__the_one_that_was_meant(site: Site) -> None:
    site.gateway(LIMIT_STORE={"BACKEND": "redi"})
    assert '"redis"' in site.hint()


@pytest.mark.parametrize("prefix", ["", "}a"])
def test_a_store_of_limits_in_a_cluster_of_redis_whose_keys_nothing_keeps_together(site: Site, prefix: str) -> None:
    site.gateway(LIMIT_STORE={"BACKEND": "redis", "OPTIONS": {"prefix": prefix, "cluster": True}})
    assert site.ids() == {"E163"}
    site.gateway(LIMIT_STORE={"BACKEND": "redis", "OPTIONS": {"prefix": prefix}})
    assert site.ids() == set()


def test_a_store_of_limits__whose_package_is_not_installed(site: Site) -> None:
    site.monkeypatch.setitem(sys.modules, "ai_gateway.limits.redis", None)
    site.gateway(LIMIT_STORE={"BACKEND": "redis"}, PEERS={})
    assert site.ids() == {"E103"}
    assert "pip install 'django-ai-gateway[redis]'" in site.hint()


def test_a_store_of_limits_of_a_third_party(site: Site) -> None:
    site.gateway(LIMIT_STORE={"BACKEND": "ai_gateway.limits.memory.MemoryStore"})
    assert site.ids() == set()


@pytest.mark.parametrize(("workers", "ids"), [("4", {"W104"}), ("1", set()), ("many", set())])
def test_several_workers_that_each_count_for_themselves(site: Site, workers: str, ids: set[str]) -> None:
    site.monkeypatch.setenv("WEB_CONCURRENCY", workers)
    site.gateway(LIMITS=[{"amount": 60}])
    assert site.ids(deploy=True) == ids
    site.gateway(LIMITS=[])
    assert site.ids(deploy=True) == set()


def test_a_journal_among_temporary_files(site: Site) -> None:
    site.gateway(USAGE_JOURNAL=f"{tempfile.gettempdir()}/journal")
    assert site.ids(deploy=True) == {"W105"}
    assert site.ids() == set()
    site.gateway(USAGE=False)
    assert site.ids(deploy=True) == set()


def test_a_journal_of_a_site_that_is_among_temporary_files_itself(site: Site, tmp_path: Path) -> None:
    site.settings.BASE_DIR = tmp_path
    assert site.ids(deploy=True) == set()
    site.gateway(USAGE_JOURNAL=f"{tempfile.gettempdir()}/journal")
    assert site.ids(deploy=True) == {"W105"}


def test_a_journal_of_a_site_without_a_directory_of_its_own(site: Site) -> None:
    del site.settings.BASE_DIR
    assert site.ids(deploy=True) == {"W105"}
    assert journal_directory() == journal.directory().resolve()


def test_a_journal_that_cannot_be_written(site: Site) -> None:
    site.gateway(USAGE_JOURNAL=str(ROOT / "manage.py" / "journal"))
    assert site.ids(deploy=True) == {"W106"}
