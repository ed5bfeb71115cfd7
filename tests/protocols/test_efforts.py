"""Efforts, and the budgets that stand for them."""

from __future__ import annotations

import pytest

from ai_gateway.protocols.efforts import BUDGETS, EFFORTS, effort_of, nearest


@pytest.mark.parametrize(
    ("wanted", "offered", "given"),
    [
        ("medium", ("low", "medium", "high"), "medium"),
        ("max", ("low", "high"), "high"),
        ("medium", ("low", "high"), "low"),
        ("minimal", ("high", "low"), "low"),
        ("none", ("none", "low"), "low"),
        ("low", ("none",), None),
        ("low", (), None),
        ("enormous", ("low",), None),
    ],
)
def test_the_nearest_effort_is_rather_weaker(wanted: str, offered: tuple[str, ...], given: str | None) -> None:
    assert nearest(wanted, offered) == given


@pytest.mark.parametrize(
    ("budget", "effort"),
    [(1, "minimal"), (1499, "minimal"), (1500, "low"), (8192, "medium"), (16383, "medium"), (16384, "high")],
)
def test_a_budget_means_an_effort(budget: int, effort: str) -> None:
    assert effort_of(budget) == effort


def test_what_has_no_word_for_the_least_says_low() -> None:
    assert effort_of(1024, "low") == "low"


def test_a_stronger_effort_has_more_tokens() -> None:
    assert list(BUDGETS) == [effort for effort in EFFORTS if effort in BUDGETS]
    assert list(BUDGETS.values()) == sorted(set(BUDGETS.values()))
