"""Charges: each rule, with the trace that breaks a design without it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histories import ONE, told
from poolbudget.planning.charges import (
    Assumptions,
    PodFacts,
    charge,
    is_released,
    may_start_again,
    needed_after,
    next_change,
    oldest_pod,
)
from poolbudget.planning.history import (
    MOST_ENTRIES,
    UNKNOWN,
    Entry,
    History,
    arrived,
    bounded,
    extended,
    first_entry,
    nothing_yet,
    settled,
    trimmed,
)
from poolbudget.planning.inputs import Charge, PodCost, PodStage, TargetBounds
from poolbudget.planning.ledger import Ledger, next_revision

ASSUMED = Assumptions()
WORST = 155


def pod(**facts: float | int | bool | PodStage | None) -> PodFacts:
    """A pod that was created at 1000 and reported to have started at 1002."""
    base = PodFacts("u", "api-1", PodStage.RUNNING, created=1000.0, started=1002.0)
    return replace(base, **facts)  # type: ignore[arg-type]


def charged(
    facts: PodFacts, history: History, now: float = 2000.0, assumptions: Assumptions = ASSUMED
) -> Charge:
    return charge(facts, history, TargetBounds(), assumptions, now, WORST)


def test_a_pod_is_charged_what_it_read_at_its_start_and_what_a_restart_would_read() -> None:
    lowered = charged(pod(), told((20, 900.0), (5, 1500.0)))
    assert (lowered.connections, lowered.certain) == (20, 5)
    assert lowered.basis == "started 00:16:42 with 20"
    raised = charged(pod(), told((5, 900.0), (20, 1500.0)))
    assert (raised.connections, raised.certain) == (20, 5)
    assert raised.basis == "may restart with 20"


def test_the_sizes_are_read_before_the_start_that_is_reported() -> None:
    """From a kubelet's view that may be late, by clocks that may differ, a moment before the start."""
    early = told((20, 900.0), (5, 999.5))
    assert charged(pod(started=1002.0), early).connections == 20
    assert charged(pod(started=1004.0), early).connections == 5


def test_a_reported_start_is_rounded_down() -> None:
    """Started at 1002.9, said to be 1002: a value of 1003.5 by another clock can be the one it read."""
    assert charged(pod(started=1002.0), told((5, 900.0), (20, 1003.5), (6, 1004.5))).connections == 20
    assert charged(pod(started=1002.0), told((5, 900.0), (20, 1004.5), (6, 1005.5))).connections == 6


def test_a_restart_may_read_what_a_late_kubelet_still_sees() -> None:
    """B is told 1, 2, 1, and A is raised at once: B restarts with a 1 s old view and reads 2."""
    history = told((1, 900.0), (2, 1990.0), (1, 1999.5))
    assert charged(pod(), history, now=2000.0).connections == 2
    without = Assumptions(kubelet_lag=0.0, status_lag=0.0, clock_skew=0.0)
    assert charged(pod(), history, now=2000.0, assumptions=without).connections == 1


def test_a_restart_is_reported_late() -> None:
    """B restarted at 1991 and read 2; its status says so only at 2001."""
    history = told((1, 900.0), (2, 1990.0), (1, 1992.0))
    assert charged(pod(), history, now=2000.0).connections == 2
    assert charged(pod(), history, now=2005.0).connections == 1
    without = replace(ASSUMED, status_lag=0.0)
    assert charged(pod(), history, now=2000.0, assumptions=without).connections == 1


def test_a_pod_without_a_reported_start_may_have_read_everything_since_its_creation() -> None:
    waiting = pod(started=None, stage=PodStage.STARTING)
    history = told((30, 900.0), (20, 1500.0), (5, 1800.0))
    assert charged(waiting, history).connections == 30
    assert charged(replace(waiting, created=1600.0), history).connections == 20
    assert charged(waiting, history).certain == 0


def test_a_pod_without_a_node_holds_nothing_and_will_cost_what_it_is_told() -> None:
    found = charged(pod(started=None, has_node=False), told((20, 900.0)))
    assert (found.connections, found.at(20)) == (0, 20)


@pytest.mark.parametrize(
    "history",
    [History(), told((5, 1500.0)), told((5, 1001.0))],
    ids=["lost", "begins after the start", "begins too late to be sure"],
)
def test_what_is_not_known_is_the_worst(history: History) -> None:
    found = charged(pod(), history)
    assert (found.connections, found.certain) == (WORST, 0)
    assert "unknown" in found.basis


def test_a_container_that_waits_for_its_first_config_map_has_read_nothing() -> None:
    waiting = pod(started=None, stage=PodStage.STARTING)
    assert charged(waiting, nothing_yet()).connections == 0
    assert charged(waiting, first_entry(1, 20, ONE, 1500.0)).connections == 20


def test_one_that_ran_before_there_was_a_config_map_is_unknown() -> None:
    assert charged(pod(), first_entry(1, 20, ONE, 1500.0)).connections == WORST


def test_room_is_kept_for_a_pod_that_does_not_read_the_config_map() -> None:
    """As for one that starts anew, so that the plan does not chase what it published itself."""
    found = charged(pod(reads=False), told((20, 900.0)))
    assert (found.connections, found.certain, found.at(20)) == (0, 0, 20)


def test_a_lost_pod_keeps_what_it_may_have_read_just_before() -> None:
    """It restarted at 1890 and read 40, nobody was told, and nobody ever will be."""
    history = told((5, 900.0), (40, 1800.0), (5, 1905.0))
    lost = pod(lost=1893.0, stage=PodStage.LOST)
    for now in (1900.0, 1950.0, 2192.0):
        assert charged(lost, history, now=now).connections == 40
    assert [entry.cap for entry in trimmed(history, needed_after([lost], ASSUMED, 2192.0)).entries][-2:] == [
        40,
        5,
    ]


def test_what_waits_for_a_node_has_read_nothing_before() -> None:
    history = told((30, 900.0), (10, 1500.0))
    waiting = pod(started=None, scheduled=1600.0, stage=PodStage.STARTING)
    assert charged(waiting, history).connections == 10


def test_one_that_runs_with_a_volume_from_before_is_unknown() -> None:
    reader = pod(started=None, has_run=True)
    assert charged(reader, first_entry(1, 20, ONE, 1500.0)).connections == WORST


def test_what_is_not_a_size_may_mean_anything() -> None:
    edited = History((*told((20, 900.0)).entries, Entry(1, UNKNOWN, ONE, 1990.0)))
    assert charged(pod(), edited).connections == WORST
    assert charged(pod(deleted=1900.0), edited).connections == 20


def test_the_workers_of_an_old_template_outlive_the_trim() -> None:
    """The old pods' containers restart, so nobody needs the old entry any more for what it said."""
    four, two = PodCost(4, 0), PodCost(2, 0)
    history = History((Entry(1, 10, four, 900.0, 1500.0), Entry(2, 10, two, 1500.0)))
    old = pod(started=1900.0)
    kept = trimmed(history, needed_after([old], ASSUMED, 2000.0), oldest_pod([old], ASSUMED))
    bounds = TargetBounds(workers=2)
    assert charge(old, kept, bounds, ASSUMED, 2000.0, WORST).connections == 40
    assert len(trimmed(history, needed_after([old], ASSUMED, 2000.0)).entries) == 1


def test_a_terminating_pod_is_charged_until_its_end_is_confirmed() -> None:
    ending = pod(deleted=1900.0, stage=PodStage.TERMINATING)
    found = charged(ending, told((20, 900.0), (5, 1500.0)))
    assert found.connections == 20
    assert found.basis == "terminating with 20"
    assert found.next is None


def test_a_terminating_pod_starts_nothing_once_the_kubelet_knows() -> None:
    ending = pod(deleted=1900.0)
    assert may_start_again(ending, ASSUMED, 1911.9)
    assert not may_start_again(ending, ASSUMED, 1912.0)
    raised = told((5, 900.0), (20, 1950.0))
    assert charged(ending, raised).connections == 5


def test_a_lost_pod_is_charged_for_the_quarantine() -> None:
    lost = pod(lost=1900.0, stage=PodStage.LOST)
    assert charged(lost, told((20, 900.0))).connections == 20
    assert charged(lost, told((20, 900.0))).certain == 0
    assert not is_released(lost, ASSUMED, 2199.9)
    assert is_released(lost, ASSUMED, 2200.0)
    assert not is_released(pod(), ASSUMED, 1e9)


def test_evidence_beats_inference() -> None:
    history = told((30, 900.0), (20, 1001.0), (5, 1500.0))
    assert charged(pod(), history).connections == 30
    said = charged(pod(reported=2), history)
    assert (said.connections, said.basis) == (20, "reported revision 2 with 20")
    # One that nobody has ever published proves nothing.
    assert charged(pod(reported=99), history).connections == 30


def test_a_pod_keeps_the_workers_of_its_time() -> None:
    """Of 4 workers 2 are left: a pod of before has four processes until it is gone, whatever it reads."""
    history = History(
        (Entry(1, 10, PodCost(4, 1), 900.0, 1500.0), Entry(2, 10, PodCost(2, 1), 1500.0)),
    )
    before = charge(pod(), history, TargetBounds(workers=2, extra_connections=1), ASSUMED, 2000.0, WORST)
    assert (before.connections, before.at(15)) == (41, 61)
    after = pod(created=1600.0, started=1602.0)
    assert charge(after, history, TargetBounds(workers=2), ASSUMED, 2000.0, WORST).connections == 21


def test_more_workers_are_assumed_of_every_pod() -> None:
    """From 2 workers to 4: an administrator may say so only after the rollout."""
    history = told((10, 900.0), cost=PodCost(2, 0))
    assert charge(pod(), history, TargetBounds(workers=4), ASSUMED, 2000.0, WORST).connections == 40


def test_an_entry_ends_when_the_next_one_has_arrived_not_when_it_was_sent() -> None:
    sent = extended(told((20, 900.0)), 2, 5, ONE, now=1500.0)
    assert sent.entries[0].until is None
    assert charged(pod(created=1600.0, started=1602.0), sent).connections == 20
    late = arrived(sent, 1510.0)
    assert late.entries[0].until == 1510.0
    assert charged(pod(created=1508.0, started=1509.0), late).connections == 20
    assert arrived(late, 1600.0) == late


def test_entries_that_somebody_needs_stay() -> None:
    """p0 read 4; with 4 dropped from the history it would be charged 2, and a newcomer take the rest."""
    history = told((4, 900.0), (2, 1500.0))
    assert needed_after([pod()], ASSUMED, 2000.0) == 1002.0 - 4.0
    kept = trimmed(history, needed_after([pod()], ASSUMED, 2000.0))
    assert charged(pod(), kept).connections == 4
    nobody = needed_after([], ASSUMED, 2000.0)
    assert nobody == 2000.0 - 13.0
    assert [entry.cap for entry in trimmed(history, nobody).entries] == [2]


@given(
    caps=st.lists(st.integers(1, 50), min_size=1, max_size=60),
    starts=st.lists(st.floats(1000.0, 1700.0), min_size=1, max_size=5),
    most=st.integers(1, MOST_ENTRIES),
)
def test_trimming_and_bounding_never_lower_a_charge(caps: list[int], starts: list[float], most: int) -> None:
    history = told(*((cap, 900.0 + 10.0 * index) for index, cap in enumerate(caps)))
    pods = [pod(created=start - 1.0, started=start) for start in starts]
    smaller = bounded(trimmed(history, needed_after(pods, ASSUMED, 2000.0)), most)
    assert len(smaller.entries) <= most
    for facts in pods:
        assert charged(facts, smaller).connections >= charged(facts, history).connections


@given(
    caps=st.lists(st.integers(1, 50), min_size=2, max_size=10, unique=True),
    read_at=st.floats(0.0, 100.0),
    lag=st.floats(0.0, 1.0),
    creation=st.floats(0.0, 1.0),
    skew=st.floats(0.0, 1.0),
)
def test_what_was_really_read_is_never_more_than_the_charge(
    caps: list[int], read_at: float, lag: float, creation: float, skew: float
) -> None:
    """Any value, read at any time from a view of any allowed age, reported by a clock of any allowed skew."""
    history = told(*((cap, 1000.0 + 7.3 * index) for index, cap in enumerate(caps)))
    seen_at = 1000.0 + read_at
    truth = [entry for entry in history.entries if entry.since <= max(1000.0, seen_at - lag)][-1].cap
    started = float(int(seen_at + creation + skew))
    facts = pod(created=float(int(seen_at)), started=max(started, 1001.0 + lag))
    complete = History((Entry(0, 0, PodCost(0, 0), 0.0, 1000.0), *history.entries))
    assert charged(facts, complete, now=5000.0).connections >= truth


def test_charges_fall_by_the_mere_passing_of_time() -> None:
    history = told((20, 900.0), (5, 1995.0))
    assert next_change([], [history], ASSUMED, 2000.0) == 1995.0 + 12.0
    assert next_change([pod(deleted=1993.0)], [], ASSUMED, 2000.0) == 1993.0 + 12.0
    assert next_change([pod()], [told((20, 900.0))], ASSUMED, 2000.0) is None


def test_settling_closes_all_but_the_present_entry() -> None:
    edited = History((*told((20, 900.0)).entries, Entry(1, 99, ONE, 900.0)))
    closed = settled(edited, 1500.0)
    assert [entry.until for entry in closed.entries] == [1500.0, None]


def test_revisions_only_grow_also_when_everything_was_deleted() -> None:
    assert next_revision(Ledger(), [], 1_800_000_000.0) == 1_800_000_001
    assert next_revision(Ledger(claim=7), [told((5, 1.0), (6, 2.0))], 3.0) == 8
    assert next_revision(Ledger(claim=7), [History((Entry(12, 5, ONE, 1.0),))], 3.0) == 13
