"""The steps of a reconcile, carried out on the simulated API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from poolbudget.planning import charges
from poolbudget.planning.charges import Assumptions, PodFacts
from poolbudget.planning.history import next_history
from poolbudget.planning.inputs import PoolSizes, Target, TargetKey, Workload
from poolbudget.planning.ledger import Ledger, next_revision
from poolbudget.planning.plan import Fit, Plan
from poolbudget.planning.sizes import split_cap
from poolbudget.planning.telling import Telling, to_repeat, to_tell, to_touch
from poolbudget.reconcile import MOST_AGE, Conflict, pods_of, target_of
from poolbudget.simulation.engine import Request, Simulation
from poolbudget.simulation.view import PERCENT, Following, Found, Spec, View, view
from poolbudget.simulation.world import World, WriteRefused


class SimulatedSurroundings:
    """One reconcile on the simulated API server. `cached` gives the pods that the watch has told of."""

    def __init__(
        self,
        simulation: Simulation,
        world: World,
        clock: Callable[[], float],
        cached: Callable[[], dict[str, PodFacts]],
        following: Callable[[], Following],
        assumptions: Assumptions,
        planned: Callable[[View, Plan], None],
        reported: Callable[[Fit], None],
        most_age: float = MOST_AGE,
    ) -> None:
        self._simulation = simulation
        self._world = world
        self._clock = clock
        self._cached = cached
        self._following = following
        self.overdue_in: float | None = None
        self._assumptions = assumptions
        self._planned = planned
        self._reported = reported
        self._most_age = most_age

    async def look(self) -> View:
        """Read the ledger, then everything else; pods come from the cache."""
        return await self._look(is_complete=False)

    async def look_again(self) -> View:
        """Read everything anew, pods too."""
        return await self._look(is_complete=True)

    async def lower(self, seen: View, decided: Plan) -> bool:
        """Write every ConfigMap that the plan changes without raising it."""
        has_lowered = False
        for change in _changes(seen, decided):
            if not change.raises:
                await self._write(seen, change.name, change.sizes)
                has_lowered |= change.lowers
        for telling in self._tellings(seen, decided):
            if not telling.raises:
                await self._tell(seen, telling)
        await self._write_once_more(seen, decided)
        return has_lowered

    def raised(self, seen: View, decided: Plan) -> frozenset[str]:
        """The ConfigMaps that the plan raises above what they say."""
        maps = (change.name for change in _changes(seen, decided) if change.raises)
        pods = (pods_of(item.target) for item in self._tellings(seen, decided) if item.raises)
        return frozenset([*maps, *pods])

    async def claim(self, seen: View, names: frozenset[str]) -> View:
        """Write a claim into the ledger."""
        number = _next_revision(seen, self._clock())
        ledger = Ledger(number, tuple(sorted(names)), seen.lost)
        version = await self._ask(lambda: self._world.write_ledger(seen.ledger_version, ledger))
        return replace(seen, ledger=ledger, ledger_version=version)

    async def touch(self, claimed: View, names: frozenset[str]) -> None:
        """Write ConfigMaps anew, raising nothing."""
        keys = sorted(key for key in map(target_of, names) if key is not None)
        if keys:
            await self._touch_pods(claimed, keys[0])
        for name in sorted(name for name in names if target_of(name) is None):
            live = claimed.config_maps.get(name)
            if live is not None:
                await self._touch(name, live.version)
            else:
                floor = _target(claimed, name).bounds.floor
                await self._write(claimed, name, split_cap(floor, PERCENT))

    async def _touch(self, name: str, version: int) -> None:
        await self._ask(lambda: self._world.touch(name, version))

    async def check(self, seen: View) -> None:
        """Raise Conflict if the ledger is no longer the one that was seen."""
        if await Request(lambda: self._world.ledger_version) != seen.ledger_version:
            raise Conflict("the ledger was written meanwhile")

    async def raise_(self, seen: View, decided: Plan) -> bool:
        """Write the ConfigMaps that the plan raises."""
        if self._simulation.now - seen.looked_at > self._most_age:
            raise Conflict("too old")
        for change in _changes(seen, decided):
            if change.raises:
                await self._write(seen, change.name, change.sizes)
        for telling in self._tellings(seen, decided):
            if telling.raises:
                await self._tell(seen, telling)
        return True

    async def report(self, seen: View, decided: Plan) -> None:
        """The plan is in force: write the status, if it says anything new."""
        self._planned(seen, decided)
        if seen.inputs.usable is not None:
            self._reported(decided.fit(seen.inputs.usable))
        ledger = Ledger(seen.ledger.claim, (), seen.lost)
        if ledger != seen.ledger:
            await self._ask(lambda: self._world.write_ledger(seen.ledger_version, ledger))

    async def _write(self, seen: View, name: str, sizes: PoolSizes) -> None:
        live = seen.config_maps.get(name)
        now = self._clock()
        history = next_history(
            None if live is None else seen.histories[name],
            name not in self._world.published,
            _next_revision(seen, now),
            sizes.cap,
            _target(seen, name).bounds.pod_cost,
            now,
            charges.needed_after(seen.facts, self._assumptions, now) if seen.is_complete else None,
            seen.oldest_pod,
        )
        expected = None if live is None else live.version
        await self._ask(lambda: self._world.write_config_map(name, expected, sizes, history))

    async def _ask(self, action: Callable[[], int]) -> int:
        try:
            version: int = await Request(action, is_write=True)
            return version
        except WriteRefused as error:
            raise Conflict(str(error)) from error

    async def _look(self, *, is_complete: bool) -> View:
        """The ledger first: whoever writes it meanwhile makes all of this worthless."""
        looked_at, now = self._simulation.now, self._clock()
        spec = await Request(self.read_spec)
        config_maps = await Request(lambda: dict(self._world.config_maps))
        workloads = await Request(self.read_workloads)
        facts, following = dict(self._cached()), self._following()
        if is_complete:
            facts.update(await Request(self.read_pods))
            grants = await Request(self._world.grants)
            following = replace(following, grants={**following.grants, **grants})
        found = Found(spec, config_maps, workloads, facts, self._assumptions, now, following)
        return self.view_of(found, looked_at, is_complete=is_complete)

    def view_of(self, found: Found, looked_at: float, *, is_complete: bool) -> View:
        """What was read, with charges."""
        return view(found, self._world.scenario.reserve_for, looked_at, is_complete=is_complete)

    def _tellings(self, seen: View, decided: Plan) -> list[Telling]:
        """The pods whose annotations differ from the plan."""
        now = self._clock()
        return to_tell(seen.inputs.targets, decided, seen.following.told, _next_revision(seen, now), now)

    async def _write_once_more(self, seen: View, decided: Plan) -> None:
        """Annotations that nobody has obeyed for a while."""
        database = seen.following.database
        late, self.overdue_in = to_repeat(
            seen.inputs.targets,
            decided,
            seen.following.told,
            None if database is None else database.time,
            self._clock(),
        )
        for telling in late:
            await self._tell(seen, telling)

    async def _touch_pods(self, claimed: View, key: TargetKey) -> None:
        """Tell every pod of a target what it was told already."""
        now, following = self._clock(), claimed.following
        charges = {pod.uid: pod.charge for target in claimed.inputs.targets for pod in target.pods}
        revision = _next_revision(claimed, now)
        for telling in to_touch(key, following.grants, charges, following.told, revision, now):
            await self._tell(claimed, telling)

    async def _tell(self, seen: View, telling: Telling) -> None:
        def write() -> int:
            pod = self._world.pods.get(telling.uid)
            if pod is None:
                return 0  # gone: nobody is told anything
            return self._world.tell(pod, seen.following.told.get(telling.uid), telling.grant)

        await self._ask(write)

    def read_workloads(self) -> dict[str, Workload]:
        """Every target's wishes."""
        return {name: target.workload for name, target in self._world.targets.items()}

    def read_spec(self) -> Spec:
        """The PoolBudget, with the ledger in it."""
        world = self._world
        targets = tuple(replace(item) for item in world.targets.values())
        return Spec(world.ledger, world.ledger_version, world.usable, targets)

    def read_pods(self) -> dict[str, PodFacts]:
        """The pods, as the API server has them."""
        return self._world.facts()


def _next_revision(seen: View, now: float) -> int:
    told = max((grant.revision for grant in seen.following.told.values()), default=0)
    return next_revision(seen.ledger, seen.histories.values(), now, told)


def _target(seen: View, name: str) -> Target:
    return next(item for item in seen.inputs.targets if item.key.name == name)


@dataclass(frozen=True, slots=True)
class _Change:
    """A ConfigMap that has to be written, and what it says now (None: it is not there)."""

    name: str
    sizes: PoolSizes
    now: PoolSizes | None

    @property
    def raises(self) -> bool:
        """Whether a starting container could get more, or something for the first time."""
        return self.now is None or self.sizes.cap > self.now.cap

    @property
    def lowers(self) -> bool:
        """Whether a starting container gets less."""
        return self.now is not None and self.sizes.cap < self.now.cap


def _changes(seen: View, decided: Plan) -> Iterator[_Change]:
    """The ConfigMaps that differ from the plan, in size or in what a pod costs that reads it."""
    for target, item in zip(seen.inputs.targets, decided.targets, strict=True):
        if item.sizes is None:
            continue
        name = target.key.name
        live = seen.config_maps.get(name)
        current = seen.histories[name].current if live is not None else None
        if current is None or (current.cap, current.cost) != (item.sizes.cap, target.bounds.pod_cost):
            yield _Change(name, item.sizes, None if live is None else live.sizes)
