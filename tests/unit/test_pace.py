"""Holding back what keeps changing."""

from poolbudget.pace import Pace, pause_after_conflict


def test_a_stable_wish_is_due_after_its_time() -> None:
    pace: Pace[str] = Pace(5, 30)
    assert pace.seconds_until_due("a", "x", now=100) == 5
    assert pace.seconds_until_due("a", "x", now=104) == 1
    assert pace.seconds_until_due("a", "x", now=105) == 0


def test_a_changing_wish_starts_anew_but_not_for_ever() -> None:
    pace: Pace[str] = Pace(5, 30)
    assert pace.seconds_until_due("a", 0, now=0) == 5
    for second in range(4, 28, 4):
        assert pace.seconds_until_due("a", second, now=second) == 5
    assert pace.seconds_until_due("a", 28, now=28) == 2
    assert pace.seconds_until_due("a", 30, now=30) == 0


def test_keys_are_apart_and_forgotten_ones_start_anew() -> None:
    pace: Pace[str] = Pace(5, 30)
    pace.seconds_until_due("a", "x", now=0)
    assert pace.seconds_until_due("b", "x", now=4) == 5
    pace.forget("a")
    assert pace.seconds_until_due("a", "x", now=4) == 5


def test_pauses_after_conflicts_grow_and_differ() -> None:
    assert pause_after_conflict(1, 0.5) == 0.0
    assert pause_after_conflict(2, 1.0) == 0.2
    assert pause_after_conflict(2, 0.0) == 0.1
    assert pause_after_conflict(10_000, 1.0) == 10.0
