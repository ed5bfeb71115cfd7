"""Ids are unique, sort by time, and are not the same in a forked process."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable

import pytest

from ai_gateway.ids import new_id, new_request_id
from tests.forking import forked

MAKERS = pytest.mark.parametrize("make", [new_id, new_request_id])


def test_ids_are_uuids_of_version_7() -> None:
    parsed = [uuid.UUID(new_id()) for _ in range(1000)]
    assert {(each.version, each.variant) for each in parsed} == {(7, uuid.RFC_4122)}


def test_the_rest_of_an_id_is_random() -> None:
    """Every bit that the format leaves free is 0 in some of a thousand and 1 in others."""
    made = [uuid.UUID(new_id()).int for _ in range(1000)]
    ever, always = 0, -1
    for each in made:
        ever, always = ever | each, always & each
    free = int("00000000-0000-0fff-3fff-ffffffffffff".replace("-", ""), 16)
    assert (ever & free, always & free) == (free, 0)


def test_request_ids_are_short_and_harmless() -> None:
    assert re.fullmatch(r"req_[0-9a-f]{24}", new_request_id())


@MAKERS
def test_none_is_given_twice(make: Callable[[], str]) -> None:
    assert len({make() for _ in range(2000)}) == 2000


@MAKERS
def test_they_sort_by_time(make: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one millisecond are in no order."""
    made = []
    for milliseconds in (0, 1, 1_700_000_000_000, 1_900_000_000_000, 1_900_000_000_001, 4_000_000_000_000):
        monkeypatch.setattr(time, "time_ns", lambda now=milliseconds: now * 1_000_000)
        made.append(make())
    assert made == sorted(made)


@MAKERS
def test_a_forked_process_gives_others(make: Callable[[], str]) -> None:
    """As under a server that loads the site before it forks its workers."""
    before = f"from ai_gateway.ids import {make.__name__} as make\nmake()"
    child, parent = forked(before, "print(make())", "print(make())")
    assert parent[-12:] != child[-12:]
