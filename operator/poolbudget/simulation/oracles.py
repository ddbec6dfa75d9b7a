"""What must hold, checked after every event; and the assumptions, kept by whoever plays the world."""

from __future__ import annotations

from dataclasses import dataclass, field

from poolbudget.planning.plan import Plan
from poolbudget.simulation.engine import Simulation
from poolbudget.simulation.view import View
from poolbudget.simulation.world import SimulatedPod, World


@dataclass(frozen=True, slots=True)
class Course:
    """From this time on (seconds): what pods could open, what was usable, and how many pods there were."""

    at: float
    open: int
    usable: int
    pods: int


@dataclass(slots=True)
class Bound:
    """The sum of what all pods really may open, against usable, at every moment."""

    simulation: Simulation
    world: World
    overruns: int = 0
    worst: float = 0.0
    time_over: float = 0.0
    course: list[Course] = field(default_factory=list)
    _since: float = 0.0
    _was_over: bool = False
    _last: tuple[int, int, int] = (-1, -1, -1)

    def check(self) -> None:
        """After an event."""
        world, now = self.world, self.simulation.now
        if self._was_over:
            self.time_over += now - self._since
        self._since = now
        is_over = world.open > world.usable
        self.worst = max(self.worst, world.open / max(1, world.usable))
        if is_over and not self._was_over:
            self.overruns += 1
            self.simulation.note(f"OVER: {world.open} of {world.usable} may be open")
        self._was_over = is_over
        present = (world.open, world.usable, sum(1 for pod in world.pods.values() if pod.exists))
        if present != self._last:
            self._last = present
            self.course.append(Course(now, *present))


class Promptness:
    """The assumption about who starts when (docs/safety.md), kept by making containers wait.

    A container starts once a plan that counts its pod can be read; before, only as many start as the
    last plan has kept room for at the published size: none with CurrentPods, one step of the autoscaler
    with NextStep, all with MaxReplicas.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._counted: dict[str, float] = {}
        self._granted: dict[str, set[str]] = {}
        self._credit: dict[str, int] = {}

    def planned(self, seen: View, decided: Plan) -> None:
        """A plan can be read from now on."""
        now = self._simulation.now
        for uid in seen.counted:
            self._counted.setdefault(uid, now)
        for target in decided.targets:
            name = target.key.name
            granted = self._granted.setdefault(name, set())
            granted -= seen.counted
            # Who was let in meanwhile may have read the former size: no further one beside it.
            self._credit[name] = 0 if granted else target.coming.starting

    def may_read(self, pod: SimulatedPod) -> float | None:
        """As of when a container reads at the earliest; None for not yet."""
        if pod.uid in self._counted:
            return self._counted[pod.uid] if not pod.reads else 0.0
        granted = self._granted.setdefault(pod.target, set())
        if pod.uid in granted:
            return 0.0
        if self._credit.get(pod.target, 0) > 0:
            self._credit[pod.target] -= 1
            granted.add(pod.uid)
            return 0.0
        return None


def jain(shares: list[float]) -> float:
    """Jain's fairness index: 1 for equal shares, 1/n if one has all (Jain, Chiu, Hawe 1984)."""
    squares = sum(share * share for share in shares)
    return 1.0 if not squares else sum(shares) ** 2 / (len(shares) * squares)
