"""The operator's process in a simulation: its cache, its queue, its pace; it crashes and starts again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from poolbudget.pace import (
    GROW_PACE,
    Pace,
    RaisePace,
    may_grow_at_once,
    pause_after_conflict,
    seconds_to_look_again,
)
from poolbudget.planning.charges import Assumptions, PodFacts
from poolbudget.planning.in_place import Grant
from poolbudget.planning.inputs import PodStage
from poolbudget.planning.plan import Fit, Plan, plan
from poolbudget.reconcile import Conflict, Surroundings, reconcile, target_of
from poolbudget.simulation.engine import Network, NoAnswer, Simulation, Task
from poolbudget.simulation.pools import DatabaseView, look_at_database
from poolbudget.simulation.scenario import Faults
from poolbudget.simulation.surroundings import SimulatedSurroundings
from poolbudget.simulation.view import Following, View
from poolbudget.simulation.world import EPOCH, SimulatedPod, World

RESYNC = 60.0
GATHER = 0.1
_RETRY = 0.2
_LOOKS = (0.1, 1.0)
"""Seconds between two looks at what pods say of themselves."""

_KEY = "budget"


class SimulatedOperator:
    """One process of the operator. `planned` hears of each plan that is written, `told` of each verdict."""

    def __init__(
        self,
        simulation: Simulation,
        world: World,
        faults: Faults,
        planned: Callable[[View, Plan], None],
        told: Callable[[Fit], None],
        assumptions: Assumptions | None = None,
        surround: Callable[[SimulatedSurroundings], Surroundings[View]] = lambda made: made,
    ) -> None:
        """`surround` may put something between the steps and the API server: tests switch guards off."""
        self._simulation = simulation
        self._world = world
        self.faults = faults
        self._planned = planned
        self._told = told
        self._assumptions = Assumptions() if assumptions is None else assumptions
        self._surround = surround
        self._skew = simulation.between((0.0, 0.95))
        self._pods: dict[str, PodFacts] = {}
        self._grants: dict[str, Grant | None] = {}
        self._ended: dict[str, tuple[Grant, float]] = {}
        self._acknowledged: dict[str, int] = {}
        self._database: DatabaseView | None = None
        self._attends, self._looks = True, False
        self._task: Task | None = None
        self._life = 0
        self._is_up = False
        self._is_marked = False
        self._last_turn = -GATHER
        self._raises: RaisePace[str] = RaisePace()
        self._grows: Pace[str] = Pace(*GROW_PACE)
        self._stalled_until = 0.0
        self._conflicts = 0
        self._held_until = 0.0
        self.resync = RESYNC

    @property
    def has_lost(self) -> bool:
        """Whether any pod has vanished for this process without a confirmed end."""
        return any(facts.lost is not None for facts in self._pods.values())

    def start(self) -> None:
        """List everything and work on it."""
        if self._is_up:
            return
        self._life += 1
        self._is_up, self._is_marked, self._task = True, False, None
        self._raises = RaisePace()
        self._grows = Pace(*GROW_PACE)
        self._pods, self._grants, self._ended, self._acknowledged = {}, {}, {}, {}
        self._database, self._attends, self._looks = None, True, False
        self._relist()
        self._resync(self._life)
        if any(target.model.in_place for target in self._world.targets.values()):
            self._look_at_database(self._life)

    def crash(self) -> None:
        """SIGKILL: what is in memory is gone, what is under way to the API server arrives all the same."""
        if not self._is_up:
            return
        self._simulation.note("the operator is killed")
        self._is_up = False
        if self._task is not None:
            self._task.kill()
            self._task = None

    def _crash_and_return(self, life: int) -> None:
        if life == self._life and self._is_up:
            self.crash()
            self._simulation.after(self._simulation.between(self.faults.restart), self.start)

    def stall(self, seconds: float) -> None:
        """The process is stopped for a while."""
        self._simulation.note(f"the operator is stopped for {seconds:.1f} s")
        self._stalled_until = self._simulation.now + seconds

    def hear(self, pod: SimulatedPod | None) -> None:
        """The API server announces a change: of a pod, or of a workload or the PoolBudget (None)."""
        if not self._is_up:
            return
        if self._simulation.chance(self.faults.dropped_events):
            self._simulation.after(self._simulation.between((1.0, 8.0)), self._relist)
            return
        facts = None if pod is None else pod.facts(self._world.clock)
        grant = None if pod is None else pod.grant
        exists = pod is None or pod.exists
        delay = self._simulation.between(self.faults.latency)
        life = self._life
        self._simulation.after(delay, lambda: self._receive(life, pod, facts, grant, exists))
        if self._simulation.chance(self.faults.dropped_events):
            self._simulation.after(3 * delay, self.mark)

    def mark(self, *, urgent: bool = False) -> None:
        """Something may have changed: reconcile soon."""
        if not self._is_up or self._is_marked:
            return
        self._is_marked = True
        wait = 0.0 if urgent else max(0.0, self._last_turn + GATHER - self._simulation.now)
        wait = max(wait, self._stalled_until - self._simulation.now, self._held_until - self._simulation.now)
        life = self._life
        self._simulation.after(wait, lambda: self._turn(life))

    def _receive(
        self,
        life: int,
        pod: SimulatedPod | None,
        facts: PodFacts | None,
        grant: Grant | None,
        exists: bool,
    ) -> None:
        if life != self._life or not self._is_up:
            return
        if pod is not None:
            if pod.follows:
                # A watch tells of one object's changes in their order.
                self._grants[pod.uid] = _later(self._grants.get(pod.uid), grant)
            if exists and facts is not None:
                self._pods[pod.uid] = facts
            else:
                self._forget(pod, facts)
        self.mark(urgent=pod is None)

    def _forget(self, pod: SimulatedPod, facts: PodFacts | None) -> None:
        """The object is gone; if nobody has confirmed the end of what ran, the pod is lost."""
        if facts is None or not facts.has_node:
            self._pods.pop(pod.uid, None)
            grant = self._grants.pop(pod.uid, None)
            if grant is not None:
                self._ended.setdefault(pod.uid, (grant, self._clock()))
        else:
            self._lose(facts)

    def _lose(self, facts: PodFacts) -> None:
        lost = replace(facts, stage=PodStage.LOST, lost=self._clock())
        self._pods[facts.uid] = lost
        self._simulation.after(self._assumptions.quarantine + 0.1, self.mark)

    def _relist(self) -> None:
        if not self._is_up:
            return
        found = self._world.facts()
        for uid, facts in list(self._pods.items()):
            if uid not in found and facts.lost is None:
                if facts.has_node:
                    self._lose(facts)
                else:
                    del self._pods[uid]
        self._pods.update(found)
        self._grants.update(self._world.grants())
        self.mark()

    def _resync(self, life: int) -> None:
        if life == self._life and self._is_up:
            self.mark()
            self._simulation.after(self.resync, lambda: self._resync(life))

    def _turn(self, life: int) -> None:
        if life != self._life or not self._is_up:
            return
        if self._task is not None:
            self._simulation.after(0.02, lambda: self._turn(life))
            return
        self._is_marked = False
        self._last_turn = self._simulation.now
        made = SimulatedSurroundings(
            self._simulation,
            self._world,
            self._clock,
            lambda: self._pods,
            self._following,
            self._assumptions,
            lambda seen, decided: self._in_force(seen, decided, made),
            self._told,
        )
        done: list[BaseException | None] = []
        turn = reconcile(
            self._surround(made),
            self._due,
        )
        task = Task(
            self._simulation,
            turn,
            self._network,
            lambda error: self._done(life, error, done),
            lambda: self._crash_and_return(life),
        )
        if not done:
            self._task = task

    def _done(self, life: int, error: BaseException | None, done: list[BaseException | None]) -> None:
        done.append(error)
        if life != self._life:
            return
        self._task = None
        self._conflicts = self._conflicts + 1 if isinstance(error, Conflict) else 0
        if isinstance(error, Conflict):
            pause = pause_after_conflict(self._conflicts, self._simulation.random.random())
            self._held_until = self._simulation.now + pause
            self._simulation.after(pause, lambda: self.mark(urgent=True))
        elif isinstance(error, NoAnswer):
            self._simulation.after(_RETRY, self.mark)
        elif error is not None:
            raise error

    def _following(self) -> Following:
        return Following(dict(self._grants), dict(self._ended), dict(self._acknowledged), self._database)

    def _look_at_database(self, life: int) -> None:
        """Again and again, now and then late; what was applied by all pools once is remembered."""
        if life != self._life or not self._is_up:
            return
        self._looks = True
        before, now = self._database, look_at_database(self._world, self._clock(), self._shown)
        self._database = now
        if before is None or before.essence != now.essence:
            self.mark(urgent=True)
        if not self._attends:
            self._looks = False
            return
        pause = 5.0 if self._simulation.chance(0.03) else self._simulation.between(_LOOKS)
        self._simulation.after(pause, lambda: self._look_at_database(life))

    def _shown(self, most: int) -> int:
        return self._simulation.random.randint(1, most)

    def _attend(self, seen: View, decided: Plan) -> None:
        """Look at the database only while somebody is expected to say something, or to be gone from it."""
        pods = (pod for target in seen.inputs.targets for pod in target.pods)
        self._attends = any(
            share.changes or share.waits_to_grow or not share.is_acknowledged for share in decided.shares
        ) or any(pod.stage is PodStage.ENDED for pod in pods)
        if self._attends and not self._looks:
            self._looks = True
            self._look_at_database(self._life)

    def _remember(self, seen: View) -> None:
        for target in seen.inputs.targets:
            for pod in target.pods:
                grant = seen.following.grants.get(pod.uid)
                revision = None if pod.share is None else pod.share.applied.revision
                if grant is not None and revision is not None and revision <= grant.revision:
                    self._acknowledged[pod.uid] = revision
        database = self._database
        for uid, (_, since) in list(self._ended.items()):
            if database is not None and database.time > since and uid not in database.pools:
                del self._ended[uid]

    def _in_force(self, seen: View, decided: Plan, made: SimulatedSurroundings) -> None:
        self._remember(seen)
        self._attend(seen, decided)
        if made.overdue_in is not None:
            self._simulation.after(made.overdue_in, self.mark)
        if not any(share.waits_to_grow for share in decided.shares):
            self._grows.forget(_KEY)
        if seen.changes_at is not None:
            self._simulation.after(seen.changes_at - self._clock() + 0.01, self.mark)
        again = seconds_to_look_again(decided, self._unread(seen), self._assumptions)
        if again is None:
            self._raises.forget(_KEY)
        else:
            self._simulation.after(again, self.mark)
        self._planned(seen, decided)

    def _due(self, seen: View, decided: Plan, wanted: frozenset[str]) -> frozenset[str]:
        pods = frozenset(name for name in wanted if target_of(name) is not None)
        unread, now, due = self._unread(seen), self._simulation.now, frozenset[str]()
        if wanted - pods:
            due |= self._after(wanted - pods, self._raises.seconds_until_due(_KEY, decided, unread, now))
        if pods:
            at_once = may_grow_at_once(seen.inputs, decided, plan(seen.inputs))
            wait = 0.0 if at_once else self._grows.seconds_until_due(_KEY, None, now)
            due |= self._after(pods, max(unread, wait))
        return due

    def _after(self, names: frozenset[str], wait: float) -> frozenset[str]:
        if wait <= 0:
            return names
        self._simulation.after(wait, self.mark)
        return frozenset()

    def _unread(self, seen: View) -> float:
        return seen.readable_by_all - self._clock()

    def _clock(self) -> float:
        return EPOCH + self._simulation.now + self._skew

    def _network(self) -> Network:
        faults = self.faults
        stall = max(0.0, self._stalled_until - self._simulation.now)
        latency = (faults.latency[0], faults.latency[1] + stall)
        return Network(latency, faults.lost_reply, faults.lost, faults.late, crash=faults.crash_per_write)


def _later(one: Grant | None, other: Grant | None) -> Grant | None:
    """The one that was written last."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda grant: (grant.revision, grant.touched))
