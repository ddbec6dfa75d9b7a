"""The steps of a reconcile, in the order that keeps the bound. Nothing here reads or writes by itself.

The operator walks them on the API server, the simulator and the tests on models of one. The order
matters at every line; docs/safety.md has the traces that break another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from poolbudget.planning.inputs import Inputs, TargetKey
from poolbudget.planning.ledger import Ledger
from poolbudget.planning.plan import Plan, plan

MOST_AGE = 1.0
"""Seconds after which a look is too old to raise anything by it: a process may have been stopped."""


class Conflict(Exception):
    """Somebody else wrote, or too much time has passed: nothing that was planned counts any more."""


class Seen(Protocol):
    """What one look gave."""

    @property
    def inputs(self) -> Inputs:
        """What the planner is told."""

    @property
    def ledger(self) -> Ledger:
        """The ledger as it was before everything else was read."""


View = TypeVar("View", bound=Seen)


class Surroundings(Protocol[View]):
    """What a reconcile does to the world. Each step may raise; the next reconcile starts afresh.

    A write is refused with Conflict if its object has changed since it was seen.
    """

    async def look(self) -> View:
        """Read the ledger, then everything else; pods may come from a cache."""

    async def lower(self, seen: View, decided: Plan) -> bool:
        """Write all that the plan changes without raising it, and wait for the replies.

        Returns whether any ConfigMap is smaller now: kubelets may still give the larger one.
        """

    def raised(self, seen: View, decided: Plan) -> frozenset[str]:
        """What the plan raises above what it says: ConfigMaps by name, and pods by their target."""

    async def claim(self, seen: View, names: frozenset[str]) -> View:
        """Write a claim on what is to be raised into the ledger, if that is still the one that was seen."""

    async def touch(self, claimed: View, names: frozenset[str]) -> None:
        """Write the same anew, raising nothing, so that a write that is under way is refused."""

    async def look_again(self) -> View:
        """Read everything anew, pods too."""

    async def check(self, seen: View) -> None:
        """Raise Conflict if the ledger is no longer the one that was seen."""

    async def raise_(self, seen: View, decided: Plan) -> bool:
        """Write what the plan raises; returns False where that is not to be done.

        Raises Conflict if the look is too old by now.
        """

    async def report(self, seen: View, decided: Plan) -> None:
        """The plan is in force: write the status, with a ledger that claims nothing any more."""


_PODS = "pods of "


def pods_of(key: TargetKey) -> str:
    """What stands in a claim for the pods of a target; a ConfigMap's name has no spaces."""
    return f"{_PODS}{key}"


def target_of(name: str) -> TargetKey | None:
    """The target whose pods a part of a claim stands for; None for a ConfigMap."""
    if not name.startswith(_PODS):
        return None
    kind, _, workload = name.removeprefix(_PODS).partition("/")
    return TargetKey(kind, workload)


def permitted(inputs: Inputs, names: frozenset[str]) -> Inputs:
    """What the planner may raise: ConfigMaps, pods' shares, both or nothing."""
    for_pods = frozenset(name for name in names if target_of(name) is not None)
    return replace(inputs, may_raise=bool(names - for_pods), may_grow=bool(for_pods))


async def reconcile(
    surroundings: Surroundings[View],
    due: Callable[[View, Plan, frozenset[str]], frozenset[str]],
) -> None:
    """One turn: look -> plan -> lower -> and, where something may grow, claim -> look again -> raise.

    Lowering needs no permission and is done at once. `due` says which of what could be raised has waited
    for long enough, and whether every kubelet sees what was lowered last: nothing is raised in the turn
    that lowers a ConfigMap. What an earlier claim has left behind is settled in any case.
    """
    seen = await surroundings.look()
    decided = plan(permitted(seen.inputs, frozenset()))
    has_lowered = await surroundings.lower(seen, decided)
    wanted = surroundings.raised(seen, plan(seen.inputs))
    if wanted:
        wanted = frozenset() if has_lowered else wanted & due(seen, decided, wanted)
    if wanted or seen.ledger.outstanding:
        seen, decided = await _raise(surroundings, seen, wanted)
    else:
        # A claim that came meanwhile may have missed pods that were counted here.
        await surroundings.check(seen)
    await surroundings.report(seen, decided)


async def _raise(surroundings: Surroundings[View], first: View, wanted: frozenset[str]) -> tuple[View, Plan]:
    """Raise under a claim; returns what was seen under it, and the plan that was carried out."""
    left_behind = frozenset(first.ledger.outstanding)
    names = wanted | left_behind
    claimed = await surroundings.claim(first, names)
    if left_behind:
        # By what they say now: something may have been lowered in this very turn.
        await surroundings.touch(await surroundings.look_again(), left_behind)
    seen = await surroundings.look_again()
    await surroundings.check(claimed)
    cautious = plan(permitted(seen.inputs, frozenset()))
    has_lowered = await surroundings.lower(seen, cautious)
    if has_lowered or not wanted:
        return seen, cautious
    decided = plan(permitted(seen.inputs, wanted))
    if not surroundings.raised(seen, decided) <= names:
        raise Conflict("more could be raised by now than was claimed")
    has_raised = await surroundings.raise_(seen, decided)
    return seen, decided if has_raised else cautious
