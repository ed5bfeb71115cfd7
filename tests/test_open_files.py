"""The limit of open files: raised as far as the system lets a process."""

from __future__ import annotations

import logging
import resource

import pytest

from ai_gateway import open_files


class Limit:
    """The system's limit, and whether it may be raised."""

    def __init__(self, soft: int, hard: int, *, is_fixed: bool = False) -> None:
        self.limits = (soft, hard)
        self.is_fixed = is_fixed

    def get(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.limits

    def set(self, which: int, limits: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        if self.is_fixed:
            raise OSError("not permitted")
        self.limits = limits


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Limit:
    made: Limit = request.param
    monkeypatch.setattr(resource, "getrlimit", made.get)
    monkeypatch.setattr(resource, "setrlimit", made.set)
    return made


@pytest.mark.parametrize(
    ("system", "limits"),
    [
        (Limit(1024, 500_000), (500_000, 500_000)),
        (Limit(4096, 4096), (4096, 4096)),
        (Limit(256, resource.RLIM_INFINITY), (10_240, resource.RLIM_INFINITY)),
        (Limit(50_000, resource.RLIM_INFINITY), (50_000, resource.RLIM_INFINITY)),
    ],
    indirect=["system"],
)
def test_the_limit_is_raised_to_the_hard_one(system: Limit, limits: tuple[int, int]) -> None:
    open_files.allow_as_many_as_possible()
    assert system.limits == limits


@pytest.mark.parametrize("system", [Limit(1024, 500_000, is_fixed=True)], indirect=True)
def test_a_limit_that_cannot_be_raised_is_told(system: Limit, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ai_gateway"):
        open_files.allow_as_many_as_possible()
    assert "stays at 1024" in caplog.text


@pytest.mark.parametrize(
    ("system", "is_enough"),
    [(Limit(1, 3000), True), (Limit(1, 2999), False), (Limit(1, resource.RLIM_INFINITY), True)],
    indirect=["system"],
)
def test_each_call_takes_two_files(system: Limit, is_enough: bool) -> None:
    assert open_files.are_enough_for(1000) is is_enough


def test_where_there_is_no_limit_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "resource", None)
    open_files.allow_as_many_as_possible()
    assert open_files.are_enough_for(1_000_000)
