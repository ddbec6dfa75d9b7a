"""All interleavings of two operators in a small world, and that each guard of their steps is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from poolbudget.planning.plan import Plan
from poolbudget.simulation.exhaustive import Explorer
from poolbudget.simulation.small_world import Scope
from poolbudget.simulation.surroundings import SimulatedSurroundings
from poolbudget.simulation.view import View

# Two workloads of two pods, two operators, one crash; one pod ends, and one may come.
SCOPE = Scope(usable=9, published=2, reconciles=1, crashes=1, creations=1, deletions=1)


class Without:
    """The steps with one of them switched off."""

    def __init__(self, made: SimulatedSurroundings) -> None:
        self._made = made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)


class WithoutClaim(Without):
    async def claim(self, seen: View, _: frozenset[str]) -> View:
        return seen

    async def check(self, _: View) -> None:
        return None


class WithoutCheck(Without):
    async def check(self, _: View) -> None:
        return None


class WithoutTouch(Without):
    async def touch(self, *_: object) -> None:
        return None


class OldPlan(Without):
    """What was seen before the claim is planned by after it."""

    async def look(self) -> View:
        return await self._made.look()

    async def claim(self, seen: View, names: frozenset[str]) -> View:
        self._claimed = await self._made.claim(seen, names)
        return self._claimed

    async def look_again(self) -> View:
        return self._claimed


class ClaimOnlyForMore(Without):
    """Only if the sum of what is published grows."""

    async def claim(self, seen: View, names: frozenset[str]) -> View:
        self._is_claimed = len(names) > 1
        return await self._made.claim(seen, names) if self._is_claimed else seen

    async def check(self, seen: View) -> None:
        if getattr(self, "_is_claimed", True):
            await self._made.check(seen)

    def raised(self, seen: View, decided: Plan) -> frozenset[str]:
        return self._made.raised(seen, decided)


def test_no_interleaving_exceeds_usable(capsys: pytest.CaptureFixture[str]) -> None:
    explored = Explorer(SCOPE).explore()
    with capsys.disabled():
        print(f"\n{explored.states} states of 2 workloads x 2 pods x 2 operators x 1 crash")
    assert explored.trace is None
    assert explored.states > 10_000


@pytest.mark.parametrize(
    "guard", [WithoutClaim, WithoutCheck, WithoutTouch, OldPlan, ClaimOnlyForMore], ids=lambda it: it.__name__
)
def test_each_step_is_needed(guard: Callable[[SimulatedSurroundings], Any]) -> None:
    explored = Explorer(SCOPE, guard).explore()
    assert explored.trace is not None, f"{explored.states} states, and none exceeds usable"
    assert "2 -> 4" in explored.trace[-1] or "2 -> 4" in "".join(explored.trace)


def test_resource_versions_are_needed() -> None:
    assert Explorer(SCOPE, fence=False).explore().trace is not None
