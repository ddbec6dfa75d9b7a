"""Models of the Deployment controller and the kubelet; the autoscaler's steps come from `happenings`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

from poolbudget.simulation.engine import Simulation
from poolbudget.simulation.pools import Pools
from poolbudget.simulation.world import EPOCH, SimulatedPod, SimulatedTarget, World

CONTROLLER_LATENCY = (0.005, 0.1)
STATUS_LATENCY = (0.05, 1.5)
CONFIRMATION = (0.05, 1.0)
RESTART = (0.2, 3.0)
CREATION = (0.02, 0.9)


@dataclass(frozen=True, slots=True)
class Lags:
    """How late things are, at most, in seconds: the operator's assumptions hold inside of them."""

    kubelet: float = 0.95
    status: float = 9.0
    skew: float = 0.95


class Kubernetes:
    """Deployments, pods and kubelets. `changed` hears of each change that the API server announces."""

    def __init__(
        self,
        simulation: Simulation,
        world: World,
        may_read: Callable[[SimulatedPod], float | None],
        changed: Callable[[str, SimulatedPod | None], None],
        lags: Lags | None = None,
    ) -> None:
        """`may_read` says as of when a new container reads at the earliest, None for not yet."""
        self.simulation = simulation
        self.world = world
        self._may_read = may_read
        self._changed = changed
        self.lags = Lags() if lags is None else lags
        self._skews: dict[str, float] = {}
        self.pools = Pools(simulation, world, self._restart)
        world.told = self._told

    # Deployments

    def begin(self, target: SimulatedTarget) -> None:
        """The Deployment is created."""
        self._soon(target)

    def scale(self, target: SimulatedTarget, replicas: int) -> None:
        """Change spec.replicas, as the autoscaler or an administrator does."""
        if replicas == target.desired:
            return
        self.simulation.note(f"{target.model.name}: replicas {target.desired} -> {replicas}")
        target.desired = replicas
        self._announce(target)

    def roll_out(self, target: SimulatedTarget) -> None:
        """Change the pod template."""
        self.simulation.note(f"{target.model.name}: rollout")
        target.template += 1
        self._announce(target)

    def _announce(self, target: SimulatedTarget) -> None:
        self._changed(target.model.name, None)
        self._soon(target)

    def _soon(self, target: SimulatedTarget) -> None:
        self.simulation.after(self.simulation.between(CONTROLLER_LATENCY), lambda: self._sync(target))

    def _sync(self, target: SimulatedTarget) -> None:
        """The Deployment controller's turn: surge up, then take old pods down as new ones are ready."""
        pods = self.world.pods_of(target.model.name)
        live = [pod for pod in pods if pod.is_live]
        old = [pod for pod in live if pod.template != target.template]
        new = [pod for pod in live if pod.template == target.template]
        workload = target.workload
        if target.model.recreate and old:
            for pod in old:
                self.delete(pod)
            return
        if target.model.recreate and any(pod.template != target.template for pod in pods):
            return
        surge = workload.max_surge.rounded_up(target.desired) if old else 0
        unavailable = workload.max_unavailable.rounded_down(target.desired)
        if old and not surge and not unavailable:
            unavailable = 1
        wanted = min(target.desired - len(new), target.desired + surge - len(live))
        for index in range(max(0, wanted)):
            self._create(target, index)
        self._take_down(target, old, new, unavailable)

    def _take_down(
        self, target: SimulatedTarget, old: list[SimulatedPod], new: list[SimulatedPod], unavailable: int
    ) -> None:
        if not old:
            surplus = sorted(new, key=lambda pod: (pod.is_ready, -pod.created))
            for pod in surplus[: max(0, len(new) - target.desired)]:
                self.delete(pod)
            return
        ready = sum(pod.is_ready for pod in old) + sum(pod.is_ready for pod in new)
        unready = [pod for pod in old if not pod.is_ready]
        spare = ready - (target.desired - unavailable)
        removable = unready + [pod for pod in old if pod.is_ready][: max(0, spare)]
        too_many = len(old) + len(new) - target.desired
        for pod in removable[: max(0, too_many, spare)]:
            self.delete(pod)

    # Pods

    def _create(self, target: SimulatedTarget, index: int) -> None:
        target.created_pods += 1
        name = f"{target.model.name}-{target.created_pods}"
        pod = SimulatedPod(
            uid=name,
            name=name,
            target=target.model.name,
            template=target.template,
            cost=target.cost,
            created=self.simulation.now,
            follows=target.model.in_place,
        )
        self._skews[pod.uid] = self.simulation.between((0.0, self.lags.skew))
        self.world.pods[pod.uid] = pod
        self._tell(pod)
        wait = self.simulation.between(target.model.starting)
        self.simulation.after(min(0.05, wait / 2) * (index + 1) / (index + 2), lambda: self._bind(pod))
        self.simulation.after(wait, lambda: self._start(pod))

    def _bind(self, pod: SimulatedPod) -> None:
        if pod.exists and not pod.ended:
            pod.has_node = True
            self._tell(pod)

    def _start(self, pod: SimulatedPod) -> None:
        """A container starts: it reads the sizes, or waits for the ConfigMap as kubelets do."""
        knows_of_deletion = (
            pod.deletion is not None and self.simulation.now - pod.deletion > self.lags.kubelet
        )
        if not pod.exists or pod.stopped or knows_of_deletion:
            return
        earliest = self._may_read(pod)
        lag = self.simulation.between((0.0, self.lags.kubelet))
        now = self.simulation.now
        if earliest is None:
            self.simulation.after(0.05, lambda: self._start(pod))
            return
        cap = self.world.cap_as_seen(pod.target, max(now - lag, min(earliest, now)))
        if cap is None:
            self.simulation.after(1.0, lambda: self._start(pod))
            return
        pod.reads += 1
        pod.last_cap = cap
        self.world.smallest = cap if self.world.smallest is None else min(cap, self.world.smallest)
        self.simulation.note(f"{pod.name}: a container reads {cap}")
        if pod.follows:
            self.pools.begin(pod, cap)
        else:
            self.world.hold(pod, pod.cost.at(cap))
        true_start = now + self.simulation.between(CREATION)
        started = float(math.floor(EPOCH + true_start + self._skews[pod.uid]))
        late = min(self.lags.status, self.simulation.between(STATUS_LATENCY))
        if self.simulation.chance(0.05):
            late = self.simulation.between((0.0, self.lags.status))
        self.simulation.after(true_start - now + late, lambda: self._report_start(pod, started))
        ready = self.simulation.between(self.world.targets[pod.target].model.ready)
        self.simulation.after(true_start - now + late + ready, lambda: self._become_ready(pod))

    def _report_start(self, pod: SimulatedPod, started: float) -> None:
        if pod.exists and not pod.ended:
            pod.reported_start = max(started, pod.reported_start or 0.0)
            self._tell(pod)

    def _become_ready(self, pod: SimulatedPod) -> None:
        if pod.is_live and not pod.is_ready:
            pod.is_ready = True
            self._soon(self.world.targets[pod.target])

    def crash(self, pod: SimulatedPod) -> None:
        """A container ends; the kubelet starts it again, with what is published then."""
        is_up = bool(pod.pools) if pod.follows else pod.holds > 0
        if pod.reads and not pod.ended and pod.deletion is None and is_up:
            self.simulation.note(f"{pod.name}: a container crashes")
            pod.is_ready = False
            self._leave(pod)
            if pod.remains:
                return
            self.simulation.after(self.simulation.between(RESTART), lambda: self._start(pod))

    def _leave(self, pod: SimulatedPod) -> None:
        """The processes of a pod are gone; connections of theirs may be left."""
        if pod.follows:
            self.pools.end(pod)
        else:
            self.world.hold(pod, 0)

    def _restart(self, pod: SimulatedPod) -> None:
        """What a killed process has left is gone: its successor begins."""
        if not pod.pools and not pod.stopped and pod.exists and not pod.ended:
            self.simulation.after(self.simulation.between(RESTART), lambda: self._start(pod))

    def _told(self, pod: SimulatedPod) -> None:
        self.pools.told(pod)
        self._changed(pod.target, pod)

    def delete(self, pod: SimulatedPod) -> None:
        """Ask for a pod's deletion; its containers run on until they end."""
        if not pod.is_live:
            return
        self.simulation.note(f"{pod.name}: deletion is asked for")
        pod.deletion = self.simulation.now
        pod.is_ready = False
        self._tell(pod)
        target = self.world.targets[pod.target]
        self._soon(target)
        wait = self.simulation.between(target.model.terminating) if pod.reads else 0.1
        self.simulation.after(wait, lambda: self._end(pod))

    def force_delete(self, pod: SimulatedPod, lives_on: float) -> None:
        """The object goes at once; the containers live on for a while, and nobody confirms their end."""
        self.simulation.note(f"{pod.name}: deleted by force, lives on for {lives_on:.0f} s")
        pod.exists = False
        self._changed(pod.target, pod)
        self._soon(self.world.targets[pod.target])
        pod.stopped = True
        self.simulation.after(lives_on, functools.partial(self._leave, pod))

    def _end(self, pod: SimulatedPod) -> None:
        pod.stopped = True
        self._leave(pod)
        self.simulation.after(self.simulation.between(CONFIRMATION), lambda: self._confirm(pod))

    def _confirm(self, pod: SimulatedPod) -> None:
        if not pod.exists:
            return
        pod.ended = True
        self._tell(pod)
        pod.exists = False
        self.simulation.note(f"{pod.name}: its end is confirmed")
        self._changed(pod.target, pod)
        del self.world.pods[pod.uid]
        target = self.world.targets[pod.target]
        if target.model.recreate:
            self._soon(target)

    def _tell(self, pod: SimulatedPod) -> None:
        pod.version = self.world.next_version()
        self._changed(pod.target, pod)
