"""How often the database is asked what pods say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from poolbudget.capacity.child import Answer
from poolbudget.capacity.consumers import Own
from poolbudget.capacity.sightings import Tagged
from poolbudget.cluster.api import Api
from poolbudget.runtime.index import BudgetKey
from poolbudget.runtime.loads import LOOK
from poolbudget.runtime.prober import Prober
from poolbudget.tag import Tag, budget_part

KEY = BudgetKey("shop", "orders")


def prober(changed: list[BudgetKey] | None = None) -> Prober:
    # Nothing here asks the API server.
    return Prober(cast(Api, None), (changed if changed is not None else []).append, lambda _: Own(), Path())


def said(revision: int, active: int = 0) -> Answer:
    tag = Tag("0a1b2c3d1111", "p1", budget_part("shop/orders"), 0, revision, 5)
    return Answer(tagged=(Tagged(tag, "", 5, active),))


async def test_pods_are_watched_closely_only_while_somebody_has_to_answer() -> None:
    made = prober()
    assert made._pause(KEY) is None, "in quiet only the probe's interval counts"
    made.attend(KEY, True, has_told=True)
    assert made._pause(KEY) == 0.1
    made._attention[KEY] -= 6
    assert made._pause(KEY) == 1.0, "some seconds later once a second"
    made.attend(KEY, True, has_told=False)
    assert made._pause(KEY) == 1.0, "the same still has to be said"
    made._see(KEY, said(2), 100.0)
    assert made._pause(KEY) == 0.1, "something was said: more may follow"
    made.attend(KEY, False, has_told=False)
    assert made._pause(KEY) is None


async def test_loads_are_measured_at_their_own_pace() -> None:
    made = prober()
    made.loads.measure(KEY, True)
    assert made._pause(KEY) == LOOK
    made.attend(KEY, True, has_told=True)
    assert made._pause(KEY) == 0.1


async def test_a_look_is_told_when_somebody_says_something_new() -> None:
    changed: list[BudgetKey] = []
    made = prober(changed)
    for revision, times in ((1, 1), (1, 1), (2, 2)):
        made._see(KEY, said(revision, active=revision), 100.0)
        assert len(changed) == times
    made._see(KEY, Answer(), 100.0)
    assert made.sighting(KEY) is not None, "what cannot be seen is not gone"
