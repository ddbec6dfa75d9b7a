"""A model of pods that follow their shares: files that change late, pools that drain, what a database shows.

Nothing here hangs on latencies or clocks: a refresh may be lost, a pool may take long to drain, and what it
says of itself may be seen late or not at all. A process that is killed leaves its connections behind for a
while; its successor opens none before they are gone. (The real one opens a single one, to look: see
docs/safety.md.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

from poolbudget.planning.in_place import Grant
from poolbudget.planning.inputs import Applied, PodCost
from poolbudget.simulation.engine import Simulation
from poolbudget.simulation.world import Pool, SimulatedPod, World

REFRESH = (0.05, 1.0)
APPLYING = (0.0, 0.5)
DRAINING = (0.01, 4.0)
SEEN = (0.0, 1.5)
LINGERING = (0.1, 5.0)
_AGAIN = 2.0


@dataclass(slots=True)
class Chances:
    """How often something goes wrong.

    A refresh of the file is lost, or shows what was there before; what a pool says is not seen.
    """

    lost_refresh: float = 0.05
    older_refresh: float = 0.05
    lost_acknowledgement: float = 0.1


class Pools:
    """The pools of all pods that follow their shares."""

    def __init__(
        self,
        simulation: Simulation,
        world: World,
        ended: Callable[[SimulatedPod], None],
        chances: Chances | None = None,
    ) -> None:
        """`ended` hears when the last connection of a pod's former process is gone."""
        self._simulation = simulation
        self._world = world
        self._ended = ended
        self._chances = Chances() if chances is None else chances

    def begin(self, pod: SimulatedPod, cap: int) -> None:
        """A container starts: from its file if its pod was told anything, else with what it has read."""
        seen, pod.frozen = pod.file, False
        revision, cap = (0, cap) if seen is None else (seen.revision, seen.sizes.cap)
        pod.pools = [Pool(revision, cap, cap, (revision, cap)) for _ in range(pod.cost.pools)]
        pod.last_cap = cap
        self._world.count(pod)

    def told(self, pod: SimulatedPod) -> None:
        """The annotation was written: the kubelet refreshes the file a while later, unless it misses that."""
        if self._simulation.chance(self._chances.lost_refresh):
            return
        self._simulation.after(self._simulation.between(REFRESH), lambda: self._refresh(pod))

    def end(self, pod: SimulatedPod) -> None:
        """The processes are gone at once; what the server still works on is not."""
        left = [pool for pool in pod.pools if pool.open]
        pod.pools = []
        pod.remains += left
        self._world.count(pod)
        if left:
            self._simulation.after(self._simulation.between(LINGERING), lambda: self._gone(pod, left))

    def _gone(self, pod: SimulatedPod, left: list[Pool]) -> None:
        pod.remains = [pool for pool in pod.remains if pool not in left]
        self._world.count(pod)
        if not pod.remains:
            self._ended(pod)

    def _refresh(self, pod: SimulatedPod) -> None:
        grant = pod.grant
        if grant is None or (pod.file is not None and pod.file.revision >= grant.revision):
            return
        before, pod.file = pod.file, grant
        self._show(pod, grant)
        if before is not None and self._simulation.chance(self._chances.older_refresh):
            # A kubelet that was restarted may have an older view of its pods for a while.
            self._simulation.after(self._simulation.between(REFRESH), lambda: self._show(pod, before))

    def _show(self, pod: SimulatedPod, grant: Grant) -> None:
        for pool in pod.pools:
            self._simulation.after(
                self._simulation.between(APPLYING), functools.partial(self._obey, pod, pool, grant)
            )

    def _obey(self, pod: SimulatedPod, pool: Pool, grant: Grant) -> None:
        if pod.frozen or pool not in pod.pools or grant.revision <= pool.revision:
            return
        pool.revision, pool.cap = grant.revision, grant.sizes.cap
        pod.last_cap = min(item.cap for item in pod.pools)
        if pool.cap >= pool.open:
            pool.open = pool.cap
            self._say(pod, pool)
        else:
            self._simulation.after(
                self._simulation.between(DRAINING), lambda: self._drained(pod, pool, grant.revision)
            )
        self._world.count(pod)

    def _drained(self, pod: SimulatedPod, pool: Pool, revision: int) -> None:
        if pod.frozen or pool not in pod.pools or pool.revision != revision:
            return
        pool.open = pool.cap
        self._world.count(pod)
        self._say(pod, pool)

    def _say(self, pod: SimulatedPod, pool: Pool) -> None:
        said = pool.revision, pool.cap
        if self._simulation.chance(self._chances.lost_acknowledgement):
            self._simulation.after(_AGAIN, lambda: self._say_again(pod, pool, said))
            return
        self._simulation.after(self._simulation.between(SEEN), lambda: self._be_seen(pool, said))

    def _say_again(self, pod: SimulatedPod, pool: Pool, said: tuple[int, int]) -> None:
        if pool in pod.pools and pool.revision == said[0]:
            self._say(pod, pool)

    @staticmethod
    def _be_seen(pool: Pool, said: tuple[int, int]) -> None:
        """Older ones may be seen after newer ones, and stay beside them."""
        pool.said = max(pool.said, said)


@dataclass(frozen=True, slots=True)
class DatabaseView:
    """What one look at the database gave, at `time` by the operator's clock; pools by the pods' uids."""

    time: float
    pools: dict[str, tuple[tuple[int, int, int], ...]] = field(default_factory=dict)

    @property
    def essence(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """Who says what; how many connections say it changes all the time."""
        return {uid: tuple((revision, cap) for revision, cap, _ in rows) for uid, rows in self.pools.items()}

    def applied(self, uid: str, cost: PodCost, known: int | None) -> Applied:
        """What a pod says; `known` is the revision that it was seen to have applied before."""
        rows = self.pools.get(uid, ())
        seen = min(revision for revision, _, _ in rows) if len(rows) >= cost.pools else None
        revisions = [revision for revision in (seen, known) if revision is not None]
        return Applied(
            max(revisions, default=None),
            max((cap for _, cap, _ in rows), default=0),
            sum(open_ for _, _, open_ in rows),
        )


def look_at_database(
    world: World, time: float, shown: Callable[[int], int] = lambda most: most
) -> DatabaseView:
    """Everything that is open, by what it says of itself.

    `shown` gives how many connections of the most that a pool may have are there: it need not use them all.
    """
    found = {}
    for pod in world.connected.values():
        rows = [(*pool.said, shown(pool.open)) for pool in pod.pools if pool.open]
        rows += [(*pool.said, pool.open) for pool in pod.remains]
        if rows:
            found[pod.uid] = tuple(rows)
    return DatabaseView(time, found)
