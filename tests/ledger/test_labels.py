"""What is summed up by label: who is told apart, what is folded, and that the ledger writes it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ai_gateway import labels, ledger_store
from ai_gateway.labels import Bound, roll_up
from ai_gateway.models import UsageLabelDaily
from ai_gateway.rollups import Days, Rollup
from tests.ledger.made import DAY, NOON, made


def summed(*entries: Any, bound: Bound | None = None) -> list[Rollup]:
    return roll_up(entries, Days("UTC"), bound or Bound())


def test_calls_without_labels_leave_nothing() -> None:
    assert summed(made(), made(tags=[])) == []


def test_each_label_of_a_call_is_counted() -> None:
    found = summed(made(tags=["red", "blue"], session="s1", agent="a1", project="p1", end_user="e1", cost_nanos=7))
    assert sorted(each.who[:2] for each in found) == [
        ("agent", "a1"),
        ("end_user", "e1"),
        ("project", "p1"),
        ("session", "s1"),
        ("tag", "blue"),
        ("tag", "red"),
    ]
    assert {each.sums for each in found} == {(1, 0, 0, 120, 7)}


def test_errors_and_what_has_no_price_are_told() -> None:
    (found,) = summed(made(session="s", outcome="failed", cost_nanos=None), made(session="s", cost_nanos=5))
    assert found.sums == (2, 1, 1, 240, 5)


def test_keys_users_and_days_are_told_apart() -> None:
    found = summed(
        *(made(session="s", key_id=key, user_id=user) for key, user in ((1, 1), (2, 1), (2, 2))),
        made(session="s", key_id=1, user_id=1, started_at=NOON + DAY),
    )
    assert len(found) == 4
    assert [each[:2] for each in found] == sorted(each[:2] for each in found)


def test_a_key_and_its_text_are_one_row() -> None:
    assert [each.sums[0] for each in summed(made(session="s", key_id=7), made(session="s", key_id="7"))] == [2]


def test_above_the_bound_values_are_folded_and_sums_stay_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MOST_VALUES", 3)
    bound = Bound()
    entries = [made(session=f"s{number % 10}", project="p") for number in range(50)]
    for _ in range(2):  # A batch that is tried again is folded in the same way.
        found = Counter({each.who[:2]: each.sums[0] for each in summed(*entries, bound=bound)})
        assert found == {
            ("project", "p"): 50,
            ("session", ""): 35,
            **{("session", f"s{number}"): 5 for number in range(3)},
        }


def test_a_call_with_two_folded_tags_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MOST_VALUES", 0)
    (found,) = summed(made(tags=["a", "b"]))
    assert (found.who[:2], found.sums[0]) == (("tag", ""), 1)


def test_a_few_days_are_remembered() -> None:
    bound = Bound()
    summed(*(made(session="s", started_at=NOON + number * DAY) for number in range(10)), bound=bound)
    assert len(bound._days) == labels.MOST_DAYS


@pytest.mark.usefixtures("database")
def test_the_ledger_adds_them_up() -> None:
    for _ in range(2):
        ledger_store.write([made(session="s", user_id=1), made(tags=["red"], user_id=1), made()])
    rows = UsageLabelDaily.objects.order_by("kind").values_list("kind", "value", "requests", "tokens")
    assert list(rows) == [("session", "s", 2, 240), ("tag", "red", 2, 240)]
