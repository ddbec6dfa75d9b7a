"""After the faults: the operator settles, stays quiet, and has forgotten how it came here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from poolbudget.planning.charges import Assumptions
from poolbudget.planning.inputs import Inputs, PoolSizes
from poolbudget.planning.plan import Plan, plan
from poolbudget.simulation.engine import Simulation
from poolbudget.simulation.happenings import Happenings
from poolbudget.simulation.operator import SimulatedOperator
from poolbudget.simulation.oracles import jain
from poolbudget.simulation.pools import look_at_database
from poolbudget.simulation.view import Following, Found, Spec, view
from poolbudget.simulation.world import World

SETTLING = 150.0
"""Seconds of simulated time in which everything has to be as it should after the last fault."""

QUIET = 36_000.0
"""Seconds in which nothing may be written."""

_QUIET_RESYNC = 600.0
_WRITES_OF_ONE, _WRITES_OF_TWO = 30, 100
"""Of any one object, whatever happens; two operators at once disturb each other."""

_CHANGES_PER_CONFIG_MAP_WRITE = 4
_CHANGES_PER_STATUS_WRITE = 2
_CHANGES_PER_SHARE = 0.5
"""Every pod's share changes with every other pod: it shrinks once and grows once."""


class Aftermath:
    """The oracles that need a quiet world; each yields its complaints."""

    def __init__(
        self,
        simulation: Simulation,
        world: World,
        happenings: Happenings,
        operators: list[SimulatedOperator],
        assumptions: Assumptions,
        afresh: Callable[[], dict[str, PoolSizes]],
    ) -> None:
        """`afresh` plays another run that begins where this one ends."""
        self._simulation = simulation
        self._world = world
        self._happenings = happenings
        self._operators = operators
        self._assumptions = assumptions
        self._afresh = afresh
        self.converged_after: float | None = None
        self.share_in_use: float | None = None
        self.fairness: float | None = None

    def complaints(self) -> Iterator[str]:
        """Let the faults end, and say whatever is not as it should be then."""
        self._happenings.stop()
        yield from self._count_writes()
        yield from self._settle("after the faults")
        yield from self._stay_quiet()
        self._happenings.crash_all()
        yield from self._settle("after all containers have started anew")
        yield from self._compare_with_a_fresh_start()

    def _count_writes(self) -> Iterator[str]:
        """A handful of writes for each thing that happened, to any one object."""
        world = self._world
        pods = sum(target.created_pods for target in world.targets.values())
        changes = self._happenings.changes + self._happenings.restarts + 2 * pods
        least = _WRITES_OF_ONE if len(self._operators) == 1 else _WRITES_OF_TWO
        follows = any(target.model.in_place for target in world.targets.values())
        for name, writes in world.writes.items():
            per_write = _CHANGES_PER_SHARE if name.startswith("pod ") else _CHANGES_PER_CONFIG_MAP_WRITE
            if writes > least + changes / per_write:
                yield f"{name} was written {writes} times for {changes} changes"
        per_write = _CHANGES_PER_SHARE if follows else _CHANGES_PER_STATUS_WRITE
        if world.status_writes > least + changes / per_write:
            yield f"the status was written {world.status_writes} times for {changes} changes"

    def _settle(self, when: str) -> Iterator[str]:
        began, settled_since = self._simulation.now, None
        patience = SETTLING
        while self._simulation.now < began + patience:
            self._simulation.run(self._simulation.now + 1.0)
            if self._has_lost():
                # Noticed late, too: what a watch has lost is found by the next list.
                patience = SETTLING + self._assumptions.quarantine
            if not self._is_settled():
                settled_since = None
            elif settled_since is None:
                settled_since = self._simulation.now
        if settled_since is None:
            now = {name: str(item.sizes) for name, item in self._world.config_maps.items()}
            yield f"{when}: not settled after {patience:.0f} s: {now}, {self._world.ledger}"
        elif self.converged_after is None:
            self.converged_after = settled_since - began

    def _has_lost(self) -> bool:
        return bool(self._world.ledger.lost) or any(operator.has_lost for operator in self._operators)

    def _is_settled(self) -> bool:
        """Whether nothing is under way and what is published is what the planner gives for the truth."""
        ledger, decided = self._world.ledger, plan(self._truth())
        bound = {item.model.name for item in self._world.targets.values() if item.is_bound}
        published = {name: item.sizes for name, item in self._world.config_maps.items() if name in bound}
        wanted = {item.key.name: item.sizes for item in decided.targets if item.sizes is not None}
        return wanted == published and not ledger.outstanding and not ledger.lost

    def _truth(self) -> Inputs:
        """The planner's inputs from what the API server holds now."""
        world = self._world
        found = Found(
            Spec(world.ledger, world.ledger_version, world.usable, tuple(world.targets.values())),
            world.config_maps,
            {item.model.name: item.workload for item in world.targets.values()},
            world.facts(),
            self._assumptions,
            world.clock() + 1.0,
            Following(grants=world.grants(), database=look_at_database(world, world.clock() + 1.0)),
        )
        return view(found, world.scenario.reserve_for, self._simulation.now, is_complete=True).inputs

    def _stay_quiet(self) -> Iterator[str]:
        before = (self._world.config_map_writes, self._world.status_writes)
        for operator in self._operators:
            operator.resync = _QUIET_RESYNC
        self._simulation.run(self._simulation.now + QUIET)
        after = (self._world.config_map_writes, self._world.status_writes)
        if after != before:
            yield f"{after[0] - before[0]} ConfigMap and {after[1] - before[1]} status writes in a quiet time"

    def _compare_with_a_fresh_start(self) -> Iterator[str]:
        """Any path to this state has to end where applying it afresh would."""
        inputs = self._truth()
        decided = plan(inputs)
        fresh = self._afresh()
        if self._world.open > self._world.usable:
            yield f"in quiet {self._world.open} of {self._world.usable} may be open"
        for item in decided.targets:
            name = item.key.name
            if name in fresh and self._world.config_maps[name].sizes != fresh[name]:
                yield f"{name}: {self._world.config_maps[name].sizes}, afresh it would be {fresh[name]}"
        self.share_in_use = _share_in_use(inputs, decided)
        holding = [pod for pod in self._world.pods.values() if pod.holds and pod.last_cap is not None]
        shares = [(pod.last_cap or 0) / self._world.targets[pod.target].bounds.weight for pod in holding]
        self.fairness = jain(shares)


def _share_in_use(inputs: Inputs, decided: Plan) -> float:
    """What is allocated and reserved, as a part of the largest sum that one cap per target allows.

    That sum is found by trying all caps, not by the planner's own arithmetic. Where pods follow shares of
    their own, which may differ by one, it is all of usable.
    """
    usable = inputs.usable or 0
    told = reserve = 0
    choices: list[set[int]] = []
    for target, item in zip(inputs.targets, decided.targets, strict=True):
        if target.is_in_place:
            kept = item.coming.starting * target.bounds.cost(target.bounds.start_per_pool)
            reserve += item.allocated + kept
            continue
        if item.sizes is None:
            reserve += item.allocated
            continue
        cost, floor = target.bounds.cost, target.bounds.floor
        reserve += item.coming.reserved * cost(floor)
        told += item.allocated + item.coming.starting * cost(item.sizes.cap)
        pods = item.pods + item.coming.starting
        most = target.bounds.max_per_pool or usable
        choices.append({pods * cost(cap) for cap in range(floor, most + 1) if pods * cost(cap) <= usable})
    if any(target.is_in_place for target in inputs.targets):
        return (told + reserve) / max(1, usable)
    return (told + reserve) / max(1, _largest_sum(choices, usable - reserve) + reserve)


def _largest_sum(choices: list[set[int]], limit: int) -> int:
    """The largest sum of one number out of each set that is no more than the limit; 0 for none."""
    reachable = {0}
    for numbers in choices:
        reachable = {total + number for total in reachable for number in numbers if total + number <= limit}
    return max(reachable, default=0)
