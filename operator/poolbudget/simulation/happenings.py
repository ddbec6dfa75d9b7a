"""What happens in a run: a scenario's actions, churn at random, and accidents of the operators."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

from poolbudget.planning.expected import next_step
from poolbudget.simulation.engine import Simulation
from poolbudget.simulation.kubernetes import Kubernetes
from poolbudget.simulation.operator import SimulatedOperator
from poolbudget.simulation.scenario import Action, Churn, Faults, Scenario
from poolbudget.simulation.world import SimulatedTarget, World

BEFORE_ROLLOUT = 5.0
"""Seconds from the edit of `workers` to the rollout that makes it true."""


class Happenings:
    """Schedules everything that a scenario asks for, until it is told to stop."""

    def __init__(
        self,
        simulation: Simulation,
        world: World,
        kubernetes: Kubernetes,
        operators: Sequence[SimulatedOperator],
    ) -> None:
        self._simulation = simulation
        self._world = world
        self._kubernetes = kubernetes
        self._operators = operators
        self._scenario: Scenario = world.scenario
        self._go_on = True
        self.restarts = 0
        self.changes = 0

    def begin(self) -> None:
        """Schedule the actions, and the first of everything that happens at random."""
        for action in self._scenario.actions:
            self._simulation.after(action.at, functools.partial(self._act, action))
        if self._scenario.churn is not None:
            self._simulation.after(self._scenario.churn.every, self._churn)
        if self._operators:
            self._simulation.after(1.0, self._accident)

    def stop(self) -> None:
        """No more accidents: every operator is up, every request is answered."""
        self._go_on = False
        for operator in self._operators:
            operator.faults = Faults()
            operator.start()

    def crash_all(self) -> None:
        """Every container starts anew."""
        for pod in list(self._world.pods.values()):
            self._kubernetes.crash(pod)

    def _act(self, action: Action) -> None:
        name = action.target or next(iter(self._world.targets))
        target = self._world.targets[name]
        act: dict[str, Callable[[SimulatedTarget, Action], None]] = {
            "scale": lambda target, action: self._kubernetes.scale(target, action.to or 0),
            "rollout": lambda target, _: self._kubernetes.roll_out(target),
            "crash": self._crash,
            "freeze": self._freeze,
            "delete": self._delete,
            "forceDelete": self._force_delete,
            "kill": lambda *_: self._kill(),
            "start": lambda *_: self._start(),
            "usable": lambda _, action: self._change_usable(action.to or 1),
            "workers": lambda target, action: self._change_workers(target, action.to or 1),
            "removeTarget": lambda target, _: self._remove(target),
        }
        self.changes += 1
        act[action.do](target, action)

    def _crash(self, target: SimulatedTarget, action: Action) -> None:
        for pod in self._world.live_pods_of(target.model.name)[: action.to]:
            self._kubernetes.crash(pod)
            self.restarts += 1

    def _freeze(self, target: SimulatedTarget, action: Action) -> None:
        """The processes are stopped, as by SIGSTOP, until their containers start anew."""
        for pod in self._world.live_pods_of(target.model.name)[: action.to]:
            self._simulation.note(f"{pod.name}: its process is stopped")
            pod.frozen = True

    def _delete(self, target: SimulatedTarget, action: Action) -> None:
        for pod in self._world.live_pods_of(target.model.name)[: action.to]:
            self._kubernetes.delete(pod)

    def _force_delete(self, target: SimulatedTarget, action: Action) -> None:
        for pod in self._world.live_pods_of(target.model.name)[: action.to]:
            self._kubernetes.force_delete(pod, action.seconds or 60.0)

    def _kill(self) -> None:
        for operator in self._operators:
            operator.crash()

    def _start(self) -> None:
        for operator in self._operators:
            operator.start()

    def _remove(self, target: SimulatedTarget) -> None:
        target.is_bound = False
        self._change_spec()

    def _change_usable(self, usable: int) -> None:
        self._simulation.note(f"usable: {self._world.usable} -> {usable}")
        self._world.usable = usable
        self._change_spec()

    def _change_workers(self, target: SimulatedTarget, workers: int) -> None:
        """The administrator says so first and rolls out then; the other way round nobody could know."""
        self._simulation.note(f"{target.model.name}: workers {target.bounds.workers} -> {workers}")
        target.bounds = replace(target.bounds, workers=workers)
        self._change_spec()
        self._simulation.after(BEFORE_ROLLOUT, lambda: self._kubernetes.roll_out(target))

    def _change_spec(self) -> None:
        self._world.change_spec()
        self._tell_operators()

    def _tell_operators(self) -> None:
        for operator in self._operators:
            operator.hear(None)

    def _churn(self) -> None:
        churn, simulation = self._scenario.churn, self._simulation
        if churn is None or not self._go_on:
            return
        for target in self._world.targets.values():
            if simulation.chance(churn.scaling):
                self._scale_at_random(target)
            if churn.load and simulation.chance(churn.load):
                self._change_load(target)
            if simulation.chance(churn.rollout):
                self.changes += 1
                self._kubernetes.roll_out(target)
            self._churn_pods(target, churn)
        simulation.after(churn.every, self._churn)

    def _churn_pods(self, target: SimulatedTarget, churn: Churn) -> None:
        for pod in self._world.pods_of(target.model.name):
            if self._simulation.chance(churn.crash):
                self.restarts += 1
                self._kubernetes.crash(pod)
            if self._simulation.chance(churn.delete):
                self._kubernetes.delete(pod)

    def _change_load(self, target: SimulatedTarget) -> None:
        self.changes += 1
        target.load = round(self._simulation.between((0.0, float(self._world.usable))), 1)
        self._simulation.note(f"{target.model.name}: {target.load} connections in use")
        self._tell_operators()

    def _scale_at_random(self, target: SimulatedTarget) -> None:
        """To any number within the autoscaler's bounds, upward as far as one step goes."""
        autoscaler = target.workload.autoscaler
        if autoscaler is not None:
            self.changes += 1
            wish = self._simulation.random.randint(autoscaler.min_replicas, autoscaler.max_replicas)
            self._kubernetes.scale(target, min(wish, next_step(autoscaler, target.desired)))

    def _accident(self) -> None:
        """Once a second: operators crash, start again or are stopped for a while."""
        if not self._go_on:
            return
        faults, simulation = self._scenario.faults, self._simulation
        for operator in self._operators:
            if simulation.chance(faults.crash_per_minute / 60):
                operator.crash()
                simulation.after(simulation.between(faults.restart), operator.start)
            elif simulation.chance(faults.stall_per_minute / 60):
                operator.stall(simulation.between((0.5, 20.0)))
        simulation.after(1.0, self._accident)
