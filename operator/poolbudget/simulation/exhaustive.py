"""All interleavings of a small world: two workloads, two operators, one crash.

What is explored is the order of reads and writes, with the operator's own steps, planner and charges.
Lags are not: every container reads what is published, and its start is known at once; a new one starts
as soon as a plan that counts its pod can be read. Time is counted in writes, ten seconds each.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from poolbudget import reconcile as steps
from poolbudget.planning.history import first_entry
from poolbudget.planning.inputs import PodCost, ReserveFor
from poolbudget.planning.ledger import Ledger
from poolbudget.planning.plan import plan
from poolbudget.planning.sizes import split_cap
from poolbudget.reconcile import Conflict, Surroundings
from poolbudget.simulation.engine import Simulation
from poolbudget.simulation.scenario import AutoscalerModel, Scenario, TargetModel
from poolbudget.simulation.small_world import (
    NO_LAGS,
    TICK,
    Answer,
    Log,
    Scope,
    SmallFacts,
    SmallPod,
    SmallSurroundings,
    State,
    Turn,
    difference,
)
from poolbudget.simulation.surroundings import SimulatedSurroundings
from poolbudget.simulation.view import PERCENT, Following, View
from poolbudget.simulation.world import EPOCH, ConfigMapModel, World, new_world

_cached_plan = lru_cache(maxsize=200_000)(plan)


@dataclass(frozen=True, slots=True)
class Explored:
    """How many states there are, and the shortest way to one above usable, None where there is none."""

    states: int
    trace: list[str] | None


class Explorer:
    """Breadth first, so that a trace that is found is a shortest one."""

    def __init__(
        self,
        scope: Scope,
        surround: Callable[[SimulatedSurroundings], Surroundings[View]] = lambda made: made,
        fence: bool = True,
    ) -> None:
        """`surround` and `fence` (resourceVersions) are for tests that switch a guard off."""
        self._scope = scope
        self._surround = surround
        self._fence = fence
        self._turns: dict[tuple[Answer, ...], Turn] = {}
        self._names = [name for name, _ in scope.pods]
        targets = [
            TargetModel(
                name=name,
                replicas=count,
                recreate=True,
                replaces_at_once=False,
                autoscaler=AutoscalerModel(max_replicas=scope.maximum),
            )
            for name, count in scope.pods
        ]
        self._scenario = Scenario(
            name="small", usable=scope.usable, reserve_for=ReserveFor.CURRENT_PODS, targets=targets
        )

    def explore(self, most: int = 5_000_000) -> Explored:
        """Visit every state that can be reached, or all until the first one above usable."""
        start = self._start()
        parents: dict[State, tuple[State | None, str]] = {start: (None, "")}
        queue = deque([start])
        with _remembered_plans():
            while queue:
                state = queue.popleft()
                for words, following in self._next(state):
                    if following in parents:
                        continue
                    parents[following] = (state, words)
                    if self._open(following) > self._scope.usable:
                        return Explored(len(parents), _way(parents, following))
                    if len(parents) > most:
                        raise RuntimeError(f"more than {most} states")
                    queue.append(following)
        return Explored(len(parents), None)

    def _start(self) -> State:
        scope, sizes = self._scope, split_cap(self._scope.published, PERCENT)
        config_maps = tuple(
            (name, ConfigMapModel(sizes, first_entry(1, sizes.cap, PodCost(1, 0), EPOCH), 1, EPOCH))
            for name in self._names
        )
        pods = tuple(
            SmallPod(name, number, 0, 1, sizes.cap) for name, count in scope.pods for number in range(count)
        )
        return State(
            time=2,
            config_maps=config_maps,
            ledger=Ledger(),
            version=1,
            versions=1,
            pods=pods,
            operators=(None, None),
            turns=(scope.reconciles, scope.reconciles),
            under_way=(),
            crashes=scope.crashes,
            creations=scope.creations,
            deletions=scope.deletions,
            created=tuple(count for _, count in scope.pods),
            counted=frozenset(pod.uid for pod in pods),
        )

    def _open(self, state: State) -> int:
        """What the pods may open without anybody writing anything: each may start again at once."""
        caps = {name: item.sizes.cap for name, item in state.config_maps}
        return sum(
            max(pod.cap or 0, caps[pod.target])
            for pod in state.pods
            if pod.cap is not None or pod.uid in state.counted
        )

    def _next(self, state: State) -> Iterator[tuple[str, State]]:
        yield from self._pods_move(state)
        for index, log in enumerate(state.operators):
            # The operators are alike: who begins first is called the first.
            first_has_begun = index == 0 or state.turns[0] < self._scope.reconciles
            if log is None and state.turns[index] and first_has_begun:
                begun = _replaced(state.operators, index, ())
                turns = _replaced(state.turns, index, state.turns[index] - 1)
                yield f"operator {index + 1} begins", replace(state, operators=begun, turns=turns)
            elif log is not None:
                yield self._operator_moves(state, index, log)
                if state.crashes:
                    yield self._operator_crashes(state, index, log)
        for index, log in enumerate(state.under_way):
            yield self._write_arrives(state, index, log)

    def _pods_move(self, state: State) -> Iterator[tuple[str, State]]:
        caps = {name: item.sizes.cap for name, item in state.config_maps}
        alike = set()
        for position, pod in enumerate(state.pods):
            like = (pod.target, pod.created, pod.started, pod.cap)
            if like in alike:
                continue
            alike.add(like)
            read = replace(pod, started=state.time, cap=caps[pod.target])
            if pod.cap is None and pod.uid in state.counted:
                yield (
                    f"{pod.uid} reads {read.cap}",
                    replace(state, pods=_replaced(state.pods, position, read)),
                )
            elif pod.cap is not None and state.deletions:
                left = state.pods[:position] + state.pods[position + 1 :]
                yield f"{pod.uid} ends", replace(state, pods=left, deletions=state.deletions - 1)
        if state.creations:
            for index, name in enumerate(self._names):
                if sum(pod.target == name for pod in state.pods) < self._scope.maximum:
                    number = state.created[index]
                    born = SmallPod(name, number, state.time)
                    yield (
                        f"{born.uid} is created",
                        replace(
                            state,
                            pods=(*state.pods, born),
                            creations=state.creations - 1,
                            created=_replaced(state.created, index, number + 1),
                        ),
                    )

    def _operator_moves(self, state: State, index: int, log: tuple[Answer, ...]) -> tuple[str, State]:
        """The next request of an operator reaches the API server and is answered."""
        value, after, what = self._perform(state, log)
        heard = (*log, Answer(after.time, value, repr(value)))
        turn = self._turn(heard)
        after = replace(after, counted=after.counted | turn.counted)
        grown: Log = heard
        if turn.request is None:
            what = f"{what}, done ({'finished' if turn.refusal is None else turn.refusal})"
            grown = None
        return f"operator {index + 1}: {what}", replace(
            after, operators=_replaced(after.operators, index, grown)
        )

    def _operator_crashes(self, state: State, index: int, log: tuple[Answer, ...]) -> tuple[str, State]:
        """What it was about to write may still arrive, at any time or never."""
        request = self._turn(log).request
        under_way = (*state.under_way, log) if request is not None and request.is_write else state.under_way
        return f"operator {index + 1} crashes", replace(
            state,
            operators=_replaced(state.operators, index, None),
            under_way=under_way,
            crashes=state.crashes - 1,
        )

    def _write_arrives(self, state: State, index: int, log: tuple[Answer, ...]) -> tuple[str, State]:
        _, after, what = self._perform(state, log)
        left = state.under_way[:index] + state.under_way[index + 1 :]
        return f"a late write arrives: {what}", replace(after, under_way=left)

    def _perform(self, state: State, log: tuple[Answer, ...]) -> tuple[Any, State, str]:
        turn, world = self._turn(log), self._thaw(state)
        request = turn.request
        if request is None:
            raise RuntimeError("an operator that has ended asks for nothing")
        turn.made.world = world
        try:
            value = request.action()
        except Exception as error:  # the answer may be a refusal
            value = error
        after = self._freeze(state, world)
        wrote = bool(world.config_map_writes + world.status_writes)
        what = "reads" if not request.is_write else difference(state, after) if wrote else "is refused"
        return value, after, what

    def _turn(self, log: tuple[Answer, ...]) -> Turn:
        """An operator that was told these answers. Remembered, since a turn is asked for many times."""
        if log not in self._turns:
            self._turns[log] = self._walk(log)
        return self._turns[log]

    def _walk(self, log: tuple[Answer, ...]) -> Turn:
        """Walk the steps with the answers so far, up to the request that has none yet."""
        simulation = Simulation(0)
        counted: list[frozenset[str]] = []
        made = SmallSurroundings(
            simulation,
            self._thaw(self._start()),
            lambda: EPOCH + simulation.now,
            dict,
            Following,
            NO_LAGS,
            lambda seen, _: counted.append(seen.counted),
            lambda _: None,
            most_age=float("inf"),
        )
        turn = steps.reconcile(self._surround(made), lambda _, __, wanted: wanted)
        request, refusal = None, None
        try:
            request = turn.send(None)
            for answer in log:
                request = None
                simulation.now = answer.time * TICK
                counted.clear()
                if isinstance(answer.value, Exception):
                    request = turn.throw(answer.value)
                else:
                    request = turn.send(answer.value)
        except StopIteration:
            pass
        except Conflict as error:
            refusal = str(error)
        return Turn(made, request, refusal, frozenset().union(*counted))

    def _thaw(self, state: State) -> World:
        world = new_world(self._scenario)
        world.now = lambda: state.time * TICK
        world.config_maps = dict(state.config_maps)
        world.published = {name: [] for name in self._names}
        world.ledger, world.ledger_version, world.versions = state.ledger, state.version, state.versions
        for name, target in world.targets.items():
            target.desired = sum(pod.target == name for pod in state.pods)
        pods = {pod.uid: SmallFacts(pod) for pod in state.pods}
        world.pods = pods  # type: ignore[assignment]
        if not self._fence:
            world.is_fenced = False
        return world

    def _freeze(self, state: State, world: World) -> State:
        writes = world.config_map_writes + world.status_writes
        return replace(
            state,
            time=state.time + writes,
            config_maps=tuple(sorted(world.config_maps.items())),
            ledger=world.ledger,
            version=world.ledger_version,
            versions=world.versions,
        )


@contextlib.contextmanager
def _remembered_plans() -> Iterator[None]:
    """The planner is pure: what it answered once it answers again."""
    vars(steps)["plan"] = _cached_plan
    try:
        yield
    finally:
        vars(steps)["plan"] = plan


def _replaced(items: tuple[Any, ...], index: int, item: Any) -> tuple[Any, ...]:
    return (*items[:index], item, *items[index + 1 :])


def _way(parents: dict[State, tuple[State | None, str]], last: State) -> list[str]:
    words = []
    state: State | None = last
    while state is not None:
        state, step = parents[state]
        words.append(step)
    return [step for step in reversed(words) if step]
