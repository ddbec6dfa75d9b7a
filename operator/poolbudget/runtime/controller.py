"""The controller: gather, plan, apply, and say so."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from pathlib import Path

from poolbudget.capacity.consumers import Own
from poolbudget.capacity.reading import last_limits
from poolbudget.cluster import paths
from poolbudget.cluster.api import Api, ApiError, Object
from poolbudget.cluster.apply import Written
from poolbudget.cluster.facts import Facts
from poolbudget.cluster.gather import Context, gather, last_capacity, last_others
from poolbudget.cluster.observed import InvalidSpecError, Observed, parse_spec
from poolbudget.cluster.pod_records import PodRecord
from poolbudget.cluster.pods import PodCache
from poolbudget.cluster.status import (
    invalid_status,
    is_pressing,
    new_status,
    without_times,
    write_status,
)
from poolbudget.cluster.surroundings import ClusterSurroundings
from poolbudget.lint.checks import lint
from poolbudget.pace import (
    GROW_PACE,
    Pace,
    RaisePace,
    may_grow_at_once,
    pause_after_conflict,
    seconds_to_look_again,
)
from poolbudget.planning.charges import Assumptions
from poolbudget.planning.inputs import PodStage
from poolbudget.planning.plan import Plan, plan
from poolbudget.reconcile import Conflict, reconcile, target_of
from poolbudget.resource.times import timestamp
from poolbudget.runtime import clock
from poolbudget.runtime.announcer import Announcer
from poolbudget.runtime.index import BudgetEntry, BudgetIndex, BudgetKey
from poolbudget.runtime.metrics import Metrics
from poolbudget.runtime.own import own_of
from poolbudget.runtime.prober import Prober
from poolbudget.runtime.queue import WorkQueue

logger = logging.getLogger(__name__)

RESYNC = 60.0
"""Seconds after which every PoolBudget is looked at again, event or not."""

_LIST_RETRY = 2.0
"""Seconds after a failed list of PoolBudgets at the start."""

_COUNT_PACE = (2.0, 15.0)
"""Seconds for which a status that differs in mere counts must be stable, and after which it is written
anyhow: a burst of pods is one write and not hundreds."""

_LEAVING = (PodStage.TERMINATING, PodStage.ENDED)

_CONFLICTS_BEFORE_REPORT = 4


class BudgetGone(Exception):
    """The PoolBudget is deleted, or about to be."""


class Controller:
    """Keeps every PoolBudget's ConfigMaps and status as they should be."""

    def __init__(
        self,
        api: Api,
        namespaces: list[str],
        metrics: Metrics,
        assumptions: Assumptions,
        password_folder: Path,
    ) -> None:
        self._api = api
        self._assumptions = assumptions
        self._metrics = metrics
        self.index = BudgetIndex()
        self.queue: WorkQueue[BudgetKey] = WorkQueue(self.reconcile)
        self.prober = Prober(api, lambda key: self.queue.mark(key, urgent=True), self._own, password_folder)
        self._allocated: dict[BudgetKey, int] = {}
        self._announcer = Announcer(api, self.index)
        self.pods = PodCache(api, namespaces, self._pod_changed, assumptions.quarantine, clock.now)
        self._raises: RaisePace[BudgetKey] = RaisePace()
        self._grows: Pace[BudgetKey] = Pace(*GROW_PACE)
        self._acknowledged: dict[BudgetKey, dict[str, int]] = {}
        self._counts: Pace[BudgetKey] = Pace(*_COUNT_PACE)
        self._conflicts: dict[BudgetKey, int] = {}
        self._held_until: dict[BudgetKey, float] = {}
        self._own_writes: dict[tuple[str, str], str] = {}
        self._namespaces = namespaces
        self._indexed = asyncio.Event()

    async def run(self) -> None:
        """Follow pods and look at everything again from time to time, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._first_index())
            group.create_task(self.pods.run())
            group.create_task(self._resync())

    async def close(self) -> None:
        """Finish what is under way."""
        await self.queue.close()
        await self.prober.close()

    async def reconcile(self, key: BudgetKey) -> None:
        """One turn: gather -> plan -> apply -> status. Raises ApiError."""
        await self._indexed.wait()
        await self.pods.wait_until_listed()
        held = self._held_until.get(key, 0.0) - asyncio.get_running_loop().time()
        if held > 0:
            self.queue.mark_after(key, held)
            return
        with self._metrics.reconcile_seconds.time():
            try:
                outcome = await self._reconcile(key)
            except InvalidSpecError as error:
                outcome = "invalid"
                await self._tell_invalid(key, error)
            except Conflict as error:
                # Somebody wrote meanwhile: what was planned no longer counts.
                logger.debug("%s: planned anew: %s", key, error)
                outcome = "conflict"
                self._plan_anew(key)
            except ApiError:
                # Also where an event says to look at once: what could be written is such an event.
                self._hold_back(key)
                raise
            else:
                self._conflicts.pop(key, None)
                self._held_until.pop(key, None)
        self._metrics.reconciles.labels(outcome).inc()

    def _plan_anew(self, key: BudgetKey) -> None:
        """At once after the first conflict, then with growing pauses."""
        pause = self._hold_back(key)
        if pause:
            self.queue.mark_after(key, pause)
        else:
            self.queue.mark(key, urgent=True)

    def _hold_back(self, key: BudgetKey) -> float:
        """Longer with each failure in a row, whatever happens meanwhile: two operators hear of each other."""
        self._conflicts[key] = self._conflicts.get(key, 0) + 1
        pause = pause_after_conflict(self._conflicts[key], random.random())  # noqa: S311
        self._held_until[key] = asyncio.get_running_loop().time() + pause
        return pause

    async def _reconcile(self, key: BudgetKey) -> str:
        surroundings = ClusterSurroundings(
            self._api,
            look=lambda complete: self._look(key, complete),
            report=lambda seen, decided: self._report(key, seen, decided, surroundings),
            clock=clock.now,
        )
        try:
            await reconcile(surroundings, lambda seen, decided, wanted: self._due(key, seen, decided, wanted))
        except BudgetGone:
            self.forget(key)
            return "gone"
        finally:
            self._remember(key, surroundings.written)
            self._own_writes.update(
                {(key.namespace, name): item for name, item in surroundings.touched.items()}
            )
            await self._announcer.announce(key, surroundings)
        for error in (*surroundings.failed.values(), *surroundings.untold.values()):
            raise error
        return "changed" if surroundings.written or surroundings.told else "unchanged"

    async def _look(self, key: BudgetKey, complete: bool) -> Observed:
        """Read the PoolBudget, with the ledger in it, and only then everything else."""
        now = clock.now()
        manifest = await self._api.find(paths.budget(*key))
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            raise BudgetGone
        spec = parse_spec(manifest)
        self.index.put(key, BudgetEntry.of(manifest["metadata"], spec))
        status = last_capacity(manifest)
        self.prober.follow(key, spec, last_limits(spec, status), last_others(spec, manifest))
        context = Context(
            read_pods=lambda: self._read_pods(key.namespace, complete),
            is_complete=complete,
            reading=self.prober.reading(key),
            neighbours=self.index.neighbours(key),
            siblings=self.index.siblings(key),
            assumptions=self._assumptions,
            now=now,
            sighting=self.prober.sighting(key),
            acknowledged=self._acknowledged.get(key, {}),
            loads=self.prober.loads.loads(key),
        )
        observed = await gather(self._api, manifest, spec, context)
        self._acknowledged[key] = observed.acknowledged()
        self.prober.loads.planned(key, observed.demands)
        return observed

    def _own(self, key: BudgetKey) -> Own:
        """What tells the pods on a PoolBudget's server from others."""
        return own_of(self.index, self.pods, key, self._allocated)

    async def _read_pods(self, namespace: str, complete: bool) -> list[PodRecord]:
        if complete:
            return await self.pods.read_now(namespace)
        return list(self.pods.in_namespace(namespace))

    def _due(self, key: BudgetKey, seen: Observed, decided: Plan, wanted: frozenset[str]) -> frozenset[str]:
        """What to raise now; not always while conflict follows conflict, so that the status is written."""
        if self._conflicts.get(key, 0) % _CONFLICTS_BEFORE_REPORT == _CONFLICTS_BEFORE_REPORT - 1:
            return frozenset()
        unread, now = seen.readable_by_all - clock.now(), asyncio.get_running_loop().time()
        pods = frozenset(name for name in wanted if target_of(name) is not None)
        waits: dict[frozenset[str], float] = {}
        if wanted - pods:
            waits[wanted - pods] = self._raises.seconds_until_due(key, decided, unread, now)
        if pods:
            waits[pods] = max(unread, self._seconds_until_growth(key, seen, decided, now))
        for seconds in waits.values():
            if seconds > 0:
                self.queue.mark_after(key, seconds)
        return frozenset().union(*(names for names, seconds in waits.items() if seconds <= 0))

    def _seconds_until_growth(self, key: BudgetKey, seen: Observed, decided: Plan, now: float) -> float:
        if may_grow_at_once(seen.inputs, decided, plan(seen.inputs)):
            return 0.0
        return self._grows.seconds_until_due(key, None, now)

    async def _report(
        self, key: BudgetKey, seen: Observed, decided: Plan, surroundings: ClusterSurroundings
    ) -> None:
        if not decided.waits_to_raise:
            self._raises.forget(key)
        unread = seen.readable_by_all - clock.now()
        again = seconds_to_look_again(decided, unread, self._assumptions)
        if again is not None:
            self.queue.mark_after(key, again)
        if seen.changes_at is not None:
            self.queue.mark_after(key, seen.changes_at - clock.now())
        if surroundings.overdue_in is not None:
            self.queue.mark_after(key, surroundings.overdue_in)
        if not any(share.waits_to_grow for share in decided.shares):
            self._grows.forget(key)
        self.prober.attend(key, _needs_attention(seen, decided), has_told=bool(surroundings.told))
        self._allocated[key] = decided.allocated
        facts = Facts(seen, decided, surroundings.failed, surroundings.untold)
        findings = lint(facts)
        status = new_status(facts, [item.to_status() for item in findings], timestamp(seen.now))
        await self._tell(key, seen.manifest, status)
        await self._announcer.warn(key, seen.manifest, findings)

    async def _tell_invalid(self, key: BudgetKey, error: InvalidSpecError) -> None:
        manifest = await self._api.find(paths.budget(*key))
        if manifest is not None:
            await self._tell(key, manifest, invalid_status(manifest, str(error), timestamp(clock.now())))

    async def _tell(self, key: BudgetKey, manifest: Object, status: Object) -> None:
        """Write the status if it changed; mere counts not too often."""
        self._metrics.show(key, status)
        old = manifest.get("status") or {}
        if status == old:
            self._counts.forget(key)
            return
        if not is_pressing(old, status):
            now = asyncio.get_running_loop().time()
            wait = self._counts.seconds_until_due(key, without_times(status), now)
            if wait > 0:
                self.queue.mark_after(key, wait)
                return
        await write_status(self._api, manifest, status)
        self._counts.forget(key)
        self._metrics.status_writes.labels(*key).inc()

    def _remember(self, key: BudgetKey, written: list[Written]) -> None:
        if written:
            self._metrics.config_map_writes.labels(*key).inc(len(written))
        for item in written:
            self._own_writes[key.namespace, item.change.wanted.name] = item.version

    def is_own_write(self, namespace: str, name: str, version: str) -> bool:
        """Whether a ConfigMap's version is the one that we wrote last: then there is nothing to do."""
        return self._own_writes.get((namespace, name)) == version

    def forget(self, key: BudgetKey) -> None:
        """A PoolBudget is gone; its ConfigMaps stay or go by their owner reference."""
        entry = self.index.get(key)
        self.index.remove(key)
        self.prober.forget(key)
        self._raises.forget(key)
        self._grows.forget(key)
        self._acknowledged.pop(key, None)
        self._counts.forget(key)
        self._conflicts.pop(key, None)
        self._held_until.pop(key, None)
        self._allocated.pop(key, None)
        self._announcer.forget(key)
        names = () if entry is None else entry.config_maps
        for name in names:
            self._own_writes.pop((key.namespace, name), None)
        self._metrics.forget(key)
        if entry is not None:
            self.mark_servers(entry.servers)

    def mark_servers(self, servers: frozenset[str]) -> None:
        """Whoever shares a server has to say so, or no longer."""
        for key in self.index.on_servers(servers):
            self.queue.mark(key)

    def _pod_changed(self, pod: PodRecord) -> None:
        if pod.owner is None:
            concerned = self.index.in_namespace(pod.namespace)
        else:
            concerned = self.index.binding(pod.namespace, pod.owner)
        for key in concerned:
            self.queue.mark(key)

    async def _first_index(self) -> None:
        """Know all PoolBudgets before any is judged: whether it is alone depends on the others."""
        while not self._indexed.is_set():
            try:
                await self._list_budgets()
                self._indexed.set()
            except ApiError as error:
                logger.warning("Listing PoolBudgets failed, again in %.0f s: %s", _LIST_RETRY, error)
                await asyncio.sleep(_LIST_RETRY)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC)
            try:
                await self._list_budgets()
            except ApiError as error:
                logger.warning("Listing PoolBudgets failed: %s", error)
            for key in self.index.all():
                self.queue.mark(key)

    async def _list_budgets(self) -> None:
        """Put every PoolBudget that can be read into the index. Raises ApiError."""
        scopes: list[str | None] = list(self._namespaces) or [None]
        for scope in scopes:
            try:
                items = (await self._api.get(paths.budgets(scope)))["items"]
            except ApiError as error:
                if not error.is_not_found:
                    raise
                # The resource is not installed yet; kopf tells when it is.
                continue
            for manifest in items:
                with contextlib.suppress(InvalidSpecError):
                    key = BudgetKey(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
                    self.index.put(key, BudgetEntry.of(manifest["metadata"], parse_spec(manifest)))
                    self.queue.mark(key)


def _needs_attention(seen: Observed, decided: Plan) -> bool:
    """Whether a pod is to say something in the database, or its connections are to go from there."""
    if any(share.changes or not share.is_acknowledged for share in decided.shares):
        return True
    pods = (pod for target in seen.inputs.targets for pod in target.pods)
    return bool(decided.shares) and any(pod.stage in _LEAVING for pod in pods)
