"""Who is well enough to be asked first?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_gateway import breakers
from ai_gateway.breakers import REMEMBERED, SLOTS, BreakerPolicy, Recent
from ai_gateway.calls import Target
from tests.factories import states

POLICY = BreakerPolicy()
CONSECUTIVE, VOLUME, OPEN, LONGEST = POLICY.consecutive, POLICY.volume, POLICY.open, POLICY.longest
A, B, C = (Target(name, "m") for name in "abc")


class Clock:
    """The time, as the test says it is."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(breakers, "time", made)
    return made


def fail(target: Target, times: int = CONSECUTIVE) -> None:
    for _ in range(times):
        breakers.note(target, POLICY, is_good=False)


def test_who_never_failed_stays_in_place() -> None:
    assert breakers.ordered([A, B, C]) == [A, B, C]
    assert states() == {}


def test_some_failures_in_a_row_open_a_breaker() -> None:
    fail(A, CONSECUTIVE - 1)
    assert breakers.ordered([A, B]) == [A, B]
    fail(A, 1)
    assert breakers.ordered([A, B]) == [B, A]
    assert states() == {"a/m": "open"}


def test_a_success_in_between_begins_the_row_anew() -> None:
    fail(A, CONSECUTIVE - 1)
    breakers.note(A, POLICY, is_good=True)
    fail(A, CONSECUTIVE - 1)
    assert breakers.ordered([A, B]) == [A, B]


def test_half_of_many_failures_open_it_too() -> None:
    for _ in range(VOLUME // 2):
        breakers.note(A, POLICY, is_good=False)
        breakers.note(A, POLICY, is_good=True)
    assert breakers.ordered([A, B]) == [A, B]
    breakers.note(A, POLICY, is_good=False)
    assert breakers.ordered([A, B]) == [B, A]


def test_old_failures_do_not_count(clock: Clock) -> None:
    for _ in range(VOLUME):
        fail(A, 1)
        breakers.note(A, POLICY, is_good=True)
        clock.now += 2
    assert breakers.ordered([A, B]) == [A, B]


def test_the_last_one_is_asked_in_any_case() -> None:
    for target in (A, B):
        fail(target)
    assert breakers.ordered([A, B]) == [A, B]
    assert breakers.ordered([A]) == [A]


def test_after_a_while_one_call_finds_out(clock: Clock) -> None:
    fail(A)
    clock.now += OPEN
    assert states() == {"a/m": "half-open"}
    assert breakers.ordered([A, B]) == [A, B]
    breakers.begin(A)
    assert breakers.ordered([A, B]) == [B, A]
    breakers.note(A, POLICY, is_good=True)
    assert breakers.ordered([A, B]) == [A, B]
    assert states() == {}


def test_a_probe_that_fails_opens_it_for_longer(clock: Clock) -> None:
    fail(A)
    waits = []
    for _ in range(12):
        began = clock.now
        while states()["a/m"] == "open":
            clock.now += 1
        waits.append(clock.now - began)
        breakers.begin(A)
        fail(A, 1)
    assert waits == [min(OPEN * number, LONGEST) for number in range(1, 13)]


def test_a_probe_whose_caller_left_is_given_back(clock: Clock) -> None:
    fail(A)
    clock.now += OPEN
    assert breakers.begin(A)
    breakers.end_probe(A)
    assert breakers.ordered([A, B]) == [A, B]


def test_there_is_one_probe_at_a_time(clock: Clock) -> None:
    assert not breakers.begin(A)
    fail(A)
    assert not breakers.begin(A)
    clock.now += OPEN
    assert [breakers.begin(A), breakers.begin(A)] == [True, False]


def test_how_the_targets_stand_is_told(clock: Clock) -> None:
    fail(A)
    fail(B, 1)
    clock.now += 10
    found = {"state": "open", "failures": CONSECUTIVE, "opened": 1, "seconds_left": OPEN - 10}
    found |= {"reason": f"{CONSECUTIVE} failures in a row", "heard_from": ""}
    assert breakers.findings() == {"a/m": found}
    clock.now += OPEN
    assert breakers.findings() == {"a/m": {**found, "state": "half-open", "seconds_left": 0.0}}


def test_a_provider_gets_the_rest_that_it_asks_for(clock: Clock) -> None:
    breakers.rest(A, 7, POLICY)
    assert breakers.ordered([A, B]) == [B, A]
    assert states() == {"a/m": "resting"}
    clock.now += 7
    assert breakers.ordered([A, B]) == [A, B]


def test_the_names_that_callers_make_up_do_not_grow_without_bound() -> None:
    for number in range(REMEMBERED + 10):
        fail(Target("a", str(number)))
    assert len(states()) == REMEMBERED


def test_the_names_that_callers_make_up_do_not_put_out_what_is_known_of_a_target_that_is_down(clock: Clock) -> None:
    fail(A)
    for number in range(2 * REMEMBERED):
        fail(Target("a", str(number)), 1)
    assert breakers.is_open(A)
    assert len(breakers._breakers) == REMEMBERED
    clock.now += OPEN
    assert breakers.begin(A)
    breakers.note(A, POLICY, is_good=True)
    for number in range(REMEMBERED):
        fail(Target("b", str(number)), 1)
    assert A not in breakers._breakers  # What is well again is forgotten like any other.


def test_the_operator_says_when_a_breaker_opens_and_for_how_long(clock: Clock) -> None:
    breakers.note(A, BreakerPolicy(consecutive=1, open=2), is_good=False)
    assert breakers.is_open(A)
    clock.now += 2
    assert not breakers.is_open(A)


def test_the_operator_says_which_share_of_how_many_calls(clock: Clock) -> None:
    policy = BreakerPolicy(volume=4, percent=25, consecutive=9)
    for _ in range(3):
        breakers.note(A, policy, is_good=False)
        assert not breakers.is_open(A)
    breakers.note(A, policy, is_good=False)
    assert breakers.is_open(A)


class TestRecent:
    """What is counted of late."""

    def test_calls_are_forgotten_when_they_are_old(self) -> None:
        recent = Recent()
        for second in range(100):
            recent.add(1000.0 + second, 10, is_good=second % 2 == 0)
        assert (recent.total, recent.failed) == (10, 5)

    def test_after_a_pause_it_begins_anew(self) -> None:
        recent = Recent()
        for now in (1000.0, 1000.5, 1e6):
            recent.add(now, 10, is_good=False)
        assert (recent.total, recent.failed) == (1, 1)

    def test_another_window_begins_anew(self) -> None:
        recent = Recent()
        recent.add(1000.0, 1, is_good=False)
        recent.add(1000.0, 60, is_good=True)
        assert (recent.total, recent.failed) == (1, 0)

    @given(
        st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=60),
        st.sampled_from([0.5, 1.0, 10.0, 60.0]),
    )
    def test_it_counts_what_the_list_of_all_calls_says(self, calls: list[tuple[float, bool]], window: float) -> None:
        recent, now, seen = Recent(), 1000.0, []
        for pause, is_good in calls:
            now += pause
            seen.append((int(now * SLOTS / window), is_good))
            recent.add(now, window, is_good=is_good)
            young = [good for slot, good in seen if slot > seen[-1][0] - SLOTS]
            assert (recent.total, recent.failed) == (len(young), young.count(False))


class TestEvents:
    @pytest.fixture
    def events(self) -> list[tuple[str, str, float]]:
        heard: list[tuple[str, str, float]] = []
        breakers.listeners.append(lambda event: heard.append((event.what, event.reason, event.seconds)))
        return heard

    def test_what_happens_is_told_with_the_reason(self, events: list[tuple[str, str, float]], clock: Clock) -> None:
        fail(A)
        fail(A)  # It is open already.
        clock.now += OPEN
        breakers.begin(A)
        fail(A, 1)
        clock.now += 2 * OPEN
        breakers.begin(A)
        breakers.note(A, POLICY, is_good=True)
        breakers.note(A, POLICY, is_good=True)
        assert events == [
            ("opened", f"{CONSECUTIVE} failures in a row", OPEN),
            ("half-open", "a call finds out", 0.0),
            ("opened", "the probe failed", 2 * OPEN),
            ("half-open", "a call finds out", 0.0),
            ("closed", "a call did well", 0.0),
        ]

    def test_the_share_of_failures_is_a_reason(self, events: list[tuple[str, str, float]]) -> None:
        for number in range(VOLUME + 1):
            breakers.note(A, POLICY, is_good=number % 2 == 1)
        assert [reason for what, reason, _ in events if what == "opened"] == ["11 of 21 calls failed within 10 s"]

    def test_somebody_says_that_it_is_well(self, events: list[tuple[str, str, float]]) -> None:
        fail(A)
        breakers.rest(A, 7, POLICY)
        breakers.close(A, "closed by ada")
        assert events[-1] == ("closed", "closed by ada", 0.0)
        assert states() == {}
        fail(A, CONSECUTIVE - 1)
        assert states() == {}


def test_a_listener_that_fails_keeps_nobody_else_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def raising(_: object) -> None:
        raise RuntimeError("can't start new thread")

    breakers.listeners += [raising, lambda event: heard.append(event.what)]
    fail(A)
    assert heard == ["opened"]
    assert states() == {"a/m": "open"}
    assert "could not be told: (Event(target=Target(provider='a', model='m'" in caplog.text
