"""Short traces that exceed usable without a rule, and do not with it: charges and planner together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from histories import ONE, told
from poolbudget.planning.charges import Assumptions, PodFacts, charged_pod, needed_after
from poolbudget.planning.history import Entry, History, arrived, settled, trimmed
from poolbudget.planning.inputs import (
    Inputs,
    PodStage,
    ReserveFor,
    RolloutLimit,
    Target,
    TargetBounds,
    TargetKey,
    Workload,
)
from poolbudget.planning.plan import plan

NOW = 2000.0
CAREFUL = Assumptions()
A, B = TargetKey("StatefulSet", "a"), TargetKey("StatefulSet", "b")


def facts(name: str, started: float = 1002.0) -> PodFacts:
    return PodFacts(name, name, PodStage.RUNNING, created=1000.0, started=started)


def target(
    key: TargetKey,
    pods: list[PodFacts],
    history: History,
    assumptions: Assumptions = CAREFUL,
    most: int | None = None,
) -> Target:
    bounds = TargetBounds(max_per_pool=most)
    charged = (charged_pod(item, history, bounds, assumptions, NOW, 12) for item in pods)
    return Target(key, bounds, Workload(len(pods), RolloutLimit(0)), tuple(charged))


def raised_to(usable: int, first: Target, second: Target) -> int:
    """What the second target may be told."""
    decided = plan(Inputs(usable, (first, second), ReserveFor.CURRENT_PODS))
    return decided.target(second.key).start_cap or 0


@pytest.mark.parametrize(
    ("history", "without"),
    [
        (
            told((1, 900.0), (2, 1990.0), (1, 1999.5)),
            replace(CAREFUL, kubelet_lag=0, status_lag=0, clock_skew=0),
        ),
        (told((1, 900.0), (2, 1985.0), (1, 1992.0)), replace(CAREFUL, status_lag=0)),
        (told((1, 900.0), (2, 1985.0), (1, 1998.5)), replace(CAREFUL, kubelet_lag=0, status_lag=0)),
    ],
    ids=["a late view", "a restart told late", "a kubelet that lags"],
)
def test_a_restart_reads_what_was_lowered_for_anothers_sake(history: History, without: Assumptions) -> None:
    """Usable 6: b's restart may have read 2, or read it now; with 1 counted, a is told 5."""
    b_may_read = 2
    for assumptions, fits in ((CAREFUL, True), (without, False)):
        b = target(B, [facts("b")], history, assumptions, most=1)
        a = raised_to(6, b, target(A, [facts("a")], told((4, 900.0)), assumptions))
        assert (a + b_may_read <= 6) is fits


def test_history_that_is_trimmed_by_age_forgets_what_a_pod_holds() -> None:
    """Usable 12: two pods hold 4 each from long ago; with that dropped, 2 each, a third takes the rest."""
    history = told((4, 900.0), (2, 1500.0))
    old = [facts("a0"), facts("a1")]
    by_need = trimmed(history, needed_after(old, CAREFUL, NOW))
    by_age = History((replace(history.entries[-1], since=0.0),))
    for kept, fits in ((by_need, True), (by_age, False)):
        holding = target(A, old, kept, most=2)
        third = raised_to(12, holding, target(B, [facts("b", 1900.0)], told((1, 900.0))))
        assert (third + 4 + 4 <= 12) is fits


def test_an_entry_that_ends_when_its_successor_is_sent_forgets_what_was_read_meanwhile() -> None:
    """Usable 6: lowering 4 to 1 was sent at 1900 and arrived at 1910; b started at 1907 and read 4."""
    sent = History((Entry(1, 4, ONE, 900.0), Entry(2, 1, ONE, 1900.0)))
    started = facts("b", started=1907.0)
    for history, fits in ((arrived(sent, 1911.0), True), (settled(sent, 1900.0), False)):
        b = target(B, [started], history, most=1)
        a = raised_to(6, b, target(A, [facts("a")], told((1, 900.0))))
        assert (a + 4 <= 6) is fits


def test_a_pod_that_is_released_at_its_deletion_still_holds() -> None:
    """Usable 12: a terminating pod holds 6, and what the others are told has to leave that."""
    ending = replace(facts("b"), deleted=1950.0, stage=PodStage.TERMINATING)
    for pods, fits in (([ending], True), ([], False)):
        b = replace(target(B, pods, told((6, 900.0)), most=1), workload=Workload(0, RolloutLimit(0)))
        a = raised_to(12, b, target(A, [facts("a")], told((1, 900.0))))
        assert (a + 6 <= 12) is fits
